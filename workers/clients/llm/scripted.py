"""The `scripted` provider: answers written beforehand (architecture, "Scripted replies")."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from models import config
from models.errors import ConfigError, ContextTooLong, ProviderRejected, ProviderTransient, Refused, StepError
from workers.clients.llm.base import Done, Piece, Request, Script, Text, Thinking, ToolCall, Usage

ERRORS = {error.code: error for error in (ProviderTransient, ProviderRejected, ContextTooLong, Refused)}
PIECE_CHARS = 4  # about one token
DEFAULT_REPLY = "ok"


class Scripted:
    """`replies` is `{KEY: [reply, ...]}`; without it the file named by SCRIPTED_REPLIES is read."""

    def __init__(self, replies: dict[str, Any] | None = None) -> None:
        self._replies = replies

    def stream(self, request: Request) -> Iterator[Piece]:
        reply = _as_mapping(_choose(self._table(), request.script))
        time.sleep(reply.get("delay_ms", 0) / 1000)
        if "error" in reply:
            raise _error(reply["error"])
        rate = reply.get("chars_per_second")
        yield from _spoken(Thinking, reply.get("thinking", ""), rate)
        yield from _spoken(Text, reply.get("text", ""), rate)
        calls = _tool_calls(reply, request.script)
        yield from calls
        yield _usage(request, reply)
        yield Done("tool_calls" if calls else "stop", request.model)

    def _table(self) -> dict[str, Any]:
        if self._replies is not None:
            return self._replies
        path = config.get().scripted_replies
        return _load(path, Path(path).stat().st_mtime_ns) if path else {}


@functools.lru_cache(maxsize=4)
def _load(path: str, mtime_ns: int) -> dict[str, Any]:
    """The file's table; a new `mtime_ns` is a new entry, so an edit counts from the next call."""
    table = yaml.safe_load(Path(path).read_text("utf-8"))
    if not isinstance(table, dict) or not all(isinstance(replies, list) for replies in table.values()):
        raise ConfigError(f"{path} must map each key to a list of replies")
    return table


def _choose(table: dict[str, Any], script: Script | None) -> Any:
    """The reply for one call: the opening picks the attempt, the turn picks within it, the last one repeats."""
    if script is None:
        return DEFAULT_REPLY
    of_item = table.get(f"{script.key}[{script.item_index}]")
    replies, opening = (of_item, script.item_opening) if of_item else (table.get(script.key), script.opening)
    if not replies:
        return DEFAULT_REPLY
    attempt = replies[min(opening, len(replies) - 1)]
    if not isinstance(attempt, list):
        return attempt
    return attempt[min(script.turn, len(attempt) - 1)] if attempt else DEFAULT_REPLY


def _as_mapping(reply: Any) -> dict[str, Any]:
    return reply if isinstance(reply, dict) else {"text": str(reply)}


def _error(entry: dict[str, Any]) -> StepError:
    kind = ERRORS.get(entry["class"])
    if kind is None:
        raise ConfigError(f"scripted error class {entry['class']!r} is none of {', '.join(ERRORS)}")
    message = entry.get("message", f"scripted {entry['class']}")
    if kind is ProviderTransient:
        return ProviderTransient(message, retry_after=entry.get("retry_after"))
    return kind(message)


def _spoken(kind: type[Text] | type[Thinking], text: str, rate: float | None) -> Iterator[Piece]:
    """`text` at `rate` characters a second, without a rate as one piece."""
    size = PIECE_CHARS if rate else max(len(text), 1)
    for start in range(0, len(text), size):
        part = text[start : start + size]
        if rate:
            time.sleep(len(part) / rate)
        yield kind(part)


def _tool_calls(reply: dict[str, Any], script: Script | None) -> list[ToolCall]:
    place = f"{script.opening}_{script.turn}" if script else "0_0"
    calls = reply.get("tool_calls") or []
    return [
        ToolCall(f"call_{place}_{index}", call["name"], call.get("arguments") or {}) for index, call in enumerate(calls)
    ]


def _usage(request: Request, reply: dict[str, Any]) -> Usage:
    """The reply's own figures, else one token per four characters."""
    said = len(reply.get("text", "")) + len(str(reply.get("tool_calls", "")))
    heard = len(request.system) + sum(len(message.content) for message in request.messages)
    figures = {"input_tokens": max(heard // 4, 1), "output_tokens": max(said // 4, 1), **reply.get("usage", {})}
    return Usage(**figures, raw=dict(figures))
