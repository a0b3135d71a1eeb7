"""What can be streamed: the log of a run or a chat, or the numbered log of everything. SQL is the truth of all."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import orjson

from models import chats, database, events
from models.status import TERMINAL

OVER = frozenset({*TERMINAL, chats.SessionStatus.ENDED, "deleted"})
CLOSING_TYPES = events.TERMINAL_TYPES | {"chat_session_ended"}  # after these the stream may be over


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


class StreamFeed:
    """The events of one run or chat session, numbered by `seq`; `key` is its id."""

    def __init__(self, key: str) -> None:
        self.key = key

    def head(self) -> int:
        return heads([self.key]).get(self.key, 0)

    def after(self, seq: int, limit: int) -> list[Frame]:
        with database.connection():
            return [Frame(row["seq"], row["type"], row["data"]) for row in events.after(self.key, seq, limit)]

    @staticmethod
    def announced(row: list) -> Frame:
        """The frame of a row that was published."""
        return Frame(*row)

    def end(self, seq: int) -> str | None:
        """The status in which it ended, if `seq` was its last event and it has not begun again."""
        with database.connection():
            sql = f"SELECT status, last_seq FROM {_table(self.key)} WHERE id = ?"
            status, last_seq = database.execute(sql, (self.key,)).fetchone() or ("deleted", 0)
        return status if status in OVER and last_seq <= seq else None


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
    """`{key: highest number stored}` of many feeds in one statement per kind."""
    streams = [key for key in keys if key != GlobalFeed.key]
    found: dict[str, int] = {}
    with database.connection():
        for table, group in itertools.groupby(sorted(streams, key=_table), _table):
            ids = list(group)
            sql = f"SELECT id, last_seq FROM {table} WHERE id IN ({', '.join('?' * len(ids))})"
            found.update(database.execute(sql, ids).fetchall())
        if len(streams) < len(keys):
            found[GlobalFeed.key] = events.head_position()
    return found


def _table(key: str) -> str:
    return "chat_sessions" if key.startswith(chats.PREFIX) else "runs"


@functools.lru_cache(maxsize=4096)
def belonging(run_id: str) -> dict[str, Any]:
    """`{pipeline_id, project_id, tags}` of a run, which never change."""
    with database.connection():
        found = database.rows("SELECT pipeline_id, project_id, tags FROM runs WHERE id = ?", (run_id,))
    return {**found[0], "tags": orjson.loads(found[0]["tags"])} if found else {"tags": []}
