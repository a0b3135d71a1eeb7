"""Logs: one line per fact, text on a terminal, JSON elsewhere."""

from __future__ import annotations

import io
import logging
import sys
from contextlib import suppress

import structlog

from models import config, redaction


class Stderr(io.TextIOBase):
    """Standard error, except that a line that cannot be written (its disk is full) is lost and harms nobody."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def configure_logs() -> None:
    """Sends structlog and the standard library's records to stderr in one form."""
    settings = config.get()
    text = settings.log_format == "text" or (not settings.log_format and sys.stderr.isatty())
    level = getattr(logging, settings.log_level.upper(), logging.INFO)
    shared = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    last = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if text
        else structlog.processors.JSONRenderer()
    )
    clean = redaction.log_processor()
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, last, clean],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(Stderr()),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last, clean]
    )
    handler = logging.StreamHandler(Stderr())
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
