"""Changes with their line in the audit log, and the log of what was refused."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flask import g, request

from models import audit, database, tokens
from models.base import new_id
from models.errors import Unavailable

REFUSALS_PER_MINUTE = 30  # that one process records; an attack must not fill the log
ROWLESS = {tokens.NOBODY: "anonymous"}


@dataclass(slots=True)
class Entry:
    """What will be recorded; `changed` False: nothing."""

    object_id: str
    detail: dict[str, Any] = field(default_factory=dict)
    changed: bool = True


@contextlib.contextmanager
def recorded(action: str, object_type: str, object_id: str = "", **detail: Any) -> Iterator[Entry]:
    """One transaction for the block and its line in the log; the block may complete the entry."""
    with database.transaction():
        entry = Entry(object_id, detail)
        yield entry
        if entry.changed:
            audit.record(action, object_type, entry.object_id, caller(), detail=entry.detail)


def caller() -> audit.Actor:
    token = g.get("token")
    place = {"ip": request.remote_addr, "request_id": request_id()}
    if token is None:
        return audit.Actor("anonymous", "anonymous", **place)
    return audit.Actor(token.name, ROWLESS.get(token.id, "token"), token.id, token.scope, **place)


def request_id() -> str:
    """The name of this request in the log and in its answer."""
    if "request_id" not in g:
        g.request_id = new_id("req_")
    return g.request_id


class Refusals:
    """Records what the gate refused, the first ones of each minute."""

    def __init__(self) -> None:
        self._minute, self._count = 0, 0

    def note(self, error: Exception) -> None:
        """Never fails the answer: without a database there is nothing to be refused."""
        if not self._has_room():
            return
        detail = {"method": request.method, "path": request.path[:500], "code": error.code}
        with contextlib.suppress(Unavailable), database.transaction():
            audit.record("request.refused", "route", request.endpoint or "", caller(), outcome="denied", detail=detail)

    def _has_room(self) -> bool:
        minute = int(time.monotonic() / 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        return self._count <= REFUSALS_PER_MINUTE


refusals = Refusals()
