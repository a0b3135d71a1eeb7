"""What can be streamed: the log of one run, or the numbered log of the whole platform. SQL is the truth of both."""

from __future__ import annotations

import functools
from typing import Any

import orjson

from models import database, events
from models.status import TERMINAL


class Frame:
    """One event ready to send; encoded once, shared by all its readers."""

    __slots__ = ("_event", "chunk", "data", "id", "type")

    def __init__(self, id: int, type: str, data: str) -> None:
        self.id = id
        self.type = type
        self.data = data
        self.chunk = f"id: {id}\nevent: {type}\ndata: {data}\n\n".encode()
        self._event: dict[str, Any] | None = None

    @property
    def event(self) -> dict[str, Any]:
        """The event as an object; decoded at most once however many readers filter by it."""
        if self._event is None:
            self._event = orjson.loads(self.data)
        return self._event


class RunFeed:
    """The events of one run, numbered by `seq`."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.key = run_id

    def head(self) -> int:
        return heads([self.key]).get(self.key, 0)

    def after(self, seq: int, limit: int) -> list[Frame]:
        with database.connection():
            return [Frame(row["seq"], row["type"], row["data"]) for row in events.after(self.run_id, seq, limit)]

    @staticmethod
    def announced(row: list) -> Frame:
        """The frame of a row that was published."""
        return Frame(*row)

    def end(self, seq: int) -> str | None:
        """The status in which the run ended, if `seq` was its last event and it has not begun again."""
        with database.connection():
            sql = "SELECT status, last_seq FROM runs WHERE id = ?"
            status, last_seq = database.execute(sql, (self.run_id,)).fetchone() or ("deleted", 0)
        return status if status in (*TERMINAL, "deleted") and last_seq <= seq else None


class GlobalFeed:
    """The events of everything, numbered by `position`."""

    key = "*all"

    def head(self) -> int:
        return heads([self.key])[self.key]

    def after(self, position: int, limit: int) -> list[Frame]:
        with database.connection():
            rows = events.numbered_after(position, limit)
        return [Frame(row["position"], row["type"], row["data"]) for row in rows]

    @staticmethod
    def announced(row: list) -> Frame:
        position, _, _, type, data = row
        return Frame(position, type, data)

    def end(self, position: int) -> None:
        """Never."""


def heads(keys: list[str]) -> dict[str, int]:
    """`{key: highest number stored}` of many feeds in one statement (two with the global one)."""
    runs = [key for key in keys if key != GlobalFeed.key]
    found: dict[str, int] = {}
    with database.connection():
        if runs:
            sql = f"SELECT id, last_seq FROM runs WHERE id IN ({', '.join('?' * len(runs))})"
            found.update(database.execute(sql, runs).fetchall())
        if len(runs) < len(keys):
            found[GlobalFeed.key] = events.head_position()
    return found


@functools.lru_cache(maxsize=4096)
def belonging(run_id: str) -> dict[str, Any]:
    """`{pipeline_id, project_id, tags}` of a run, which never change."""
    with database.connection():
        found = database.rows("SELECT pipeline_id, project_id, tags FROM runs WHERE id = ?", (run_id,))
    return {**found[0], "tags": orjson.loads(found[0]["tags"])} if found else {"tags": []}
