"""Forgetting what is older than the settings say, in small transactions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from models import audit, database, deliveries, events, mcp_calls, settings
from models.audit import Actor
from models.base import now_ms

DAY_MS = 86_400_000
BATCH = 500  # rows per transaction
MOST_BATCHES = 40  # per round: a sweep must not take long
AGAIN_SECONDS = 3600.0  # until what had to stay at the beginning of the events is looked at again


@dataclass
class Retention:
    beyond: int = 0  # the position up to which events were looked at
    began: float = 0.0

    def prune(self) -> None:
        """One round: events of what is over, calls of MCP servers, deliveries, lines of the audit log."""
        older_than = now_ms() - settings.get("eventRetentionDays") * DAY_MS
        self._trim_events(older_than)
        _in_batches(mcp_calls.prune, older_than)
        _in_batches(deliveries.prune, now_ms() - settings.get("webhookRetentionDays") * DAY_MS)
        if (days := settings.get("auditRetentionDays")) is not None:
            prune_audit(now_ms() - days * DAY_MS)

    def _trim_events(self, older_than: int) -> None:
        if time.monotonic() - self.began > AGAIN_SECONDS:
            self.beyond, self.began = 0, time.monotonic()
        for _ in range(MOST_BATCHES):
            with database.transaction():
                reached = events.trim(older_than, self.beyond, BATCH)
            if reached is None:
                return
            self.beyond = reached


def _in_batches(prune: Callable[[int, int], int], older_than: int) -> int:
    """Forgets what is older, a part at a time; returns how many rows."""
    gone = 0
    for _ in range(MOST_BATCHES):
        with database.transaction():
            part = prune(older_than, BATCH)
        gone += part
        if part < BATCH:
            break
    return gone


def prune_audit(older_than: int) -> int:
    """Shortens the log at its beginning, and records that; returns by how many rows."""
    gone = _in_batches(audit.prune, older_than)
    if gone:
        with database.transaction():
            audit.record(
                "audit.prune", "audit", "audit", Actor("retention"), detail={"rows": gone, "until": older_than}
            )
    return gone
