"""Events: what happened, in the order it happened, stored in the transaction of the change they describe.

A stream is a run or a chat session; `seq` counts 1, 2, 3 ... in it without holes. `position` numbers all events of
the platform; one publisher (the relay) assigns it after commit, so that a reader of positions skips no late commit.
Redis pub/sub carries each committed event as a hint; this table is the truth.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import peewee

from models import database
from models.base import Model, dumps, now_ms
from models.errors import Unavailable
from models.status import TERMINAL

TERMINAL_TYPES = frozenset({"run_complete", "run_failed", "run_cancelled"})
SEPARATORS = {0x2028: "\\u2028", 0x2029: "\\u2029", 0x85: "\\u0085"}  # line ends to some readers of a stream
PLATFORM = "platform"  # the stream of what belongs to no run
COLUMNS = ("stream", "seq", "type", "epoch", "step_key", "agent_id", "project_id", "timeline", "data", "created_at")
STEP_BY_STEP, SELDOM = 1, 2  # of the timeline: what every step has, and the rest
TIMELINE = {"step_started": STEP_BY_STEP, "step_complete": STEP_BY_STEP} | dict.fromkeys(
    (
        *("step_failed", "step_retrying", "step_cancelled", "approval_requested", "approval_decided"),
        *("chat_session_created", "chat_turn_end", "chat_session_ended", "agent_message"),
        *("task_claimed", "task_released", "task_completed", "agent_status_changed"),
    ),
    SELDOM,
)
IN_TIMELINE, IS_SELDOM = "timeline IS NOT NULL", f"timeline = {SELDOM}"  # word for word as in the indexes


class StoredEvent(Model):
    stream = peewee.TextField()
    seq = peewee.IntegerField()
    type = peewee.TextField()
    epoch = peewee.IntegerField(null=True)
    step_key = peewee.TextField(null=True)
    agent_id = peewee.TextField(null=True)
    project_id = peewee.TextField(null=True)
    timeline = peewee.SmallIntegerField(null=True)  # a value of TIMELINE; no other event pays for its indexes
    data = peewee.TextField()  # the whole `data` of its SSE frame, one line of JSON
    position = peewee.BigIntegerField(null=True, index=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "events"
        primary_key = peewee.CompositeKey("stream", "seq")
        without_rowid = True


def _index_timeline(name: str, *columns: str, where: str = IN_TIMELINE) -> None:
    fields = [StoredEvent._meta.fields[column] for column in columns]
    StoredEvent.add_index(StoredEvent.index(*fields, where=peewee.SQL(where), name=f"events_timeline_{name}"))


# The types of every step do not lead: their entries share a page, and a page is what an insert costs.
_index_timeline("time", "created_at", "stream", "seq")
_index_timeline("stream", "stream", "created_at", "seq")
for _owner in ("agent", "project"):
    _where = f"{IN_TIMELINE} AND {_owner}_id IS NOT NULL"
    _index_timeline(_owner, f"{_owner}_id", "created_at", "stream", "seq", where=_where)
_index_timeline("seldom", "type", "created_at", "stream", "seq", "agent_id", "project_id", where=IS_SELDOM)


@dataclass(slots=True)
class Event:
    """One event before it has a number. `payload` holds what is particular to its type."""

    type: str
    run_id: str | None = None
    epoch: int | None = None
    step_id: str | None = None
    visit: int | None = None
    attempt: int | None = None
    item_index: int | None = None
    session_id: str | None = None
    agent_id: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)
    timestamp: int = field(default_factory=now_ms)

    def encode(self, seq: int) -> str:
        """The `data` line: the envelope, then the payload."""
        envelope = {
            "type": self.type,
            "seq": seq,
            "timestamp": self.timestamp,
            "run_id": self.run_id,
            "epoch": self.epoch,
            "step_id": self.step_id,
            "visit": self.visit,
            "attempt": self.attempt,
            "item_index": self.item_index,
            "session_id": self.session_id,
            "agent_id": self.agent_id,
        }
        text = dumps(envelope | self.payload)
        return text if text.isascii() else text.translate(SEPARATORS)


def append(stream: str, last_seq: int, events: Sequence[Event], project_id: str | None = None) -> None:
    """Stores `events` as the numbers up to `last_seq`, which the caller has taken from the locked row."""
    first = last_seq - len(events) + 1
    insert([_row(stream, seq, event, project_id) for seq, event in enumerate(events, first)])


def _row(stream: str, seq: int, event: Event, project_id: str | None) -> tuple:
    owner = (event.epoch, event.step_id, event.agent_id, project_id)
    return (stream, seq, event.type, *owner, TIMELINE.get(event.type), event.encode(seq), event.timestamp)


def note(event: Event) -> None:
    """Stores an event of the platform itself, in the enclosing transaction."""
    database.serialize()
    append(PLATFORM, head_seq(PLATFORM) + 1, [event])


def insert(rows: Sequence[tuple]) -> None:
    """Rows of `COLUMNS`; readers hear of them at commit."""
    database.insert("events", COLUMNS, rows)
    frames = [(row[0], row[1], row[2], row[-2]) for row in rows]
    database.on_commit(lambda: announce(frames))


def announce(frames: Iterable[tuple[str, int, str, str]]) -> None:
    """Hints the live readers: (stream, seq, type, data) of committed events. Never fails, never waits."""
    for listener in listeners:
        listener(frames)


listeners: list = []  # the process's publisher to Redis; empty where nobody publishes (tests, tools)


def after(stream: str, seq: int, limit: int = 500) -> list[dict]:
    """`[{seq, type, data}]` of one stream beyond `seq`, oldest first."""
    return database.rows(
        "SELECT seq, type, data FROM events WHERE stream = ? AND seq > ? ORDER BY seq LIMIT ?", (stream, seq, limit)
    )


def page(
    stream: str,
    after_seq: int,
    limit: int,
    types: Sequence[str] = (),
    step_id: str | None = None,
    epoch: int | None = None,
) -> list[dict]:
    """As `after`, filtered: `types` are names, or prefixes that end in `*`."""
    where, params = ["stream = ?", "seq > ?"], [stream, after_seq]
    if types:
        where.append("(" + " OR ".join("type LIKE ? ESCAPE '\\'" for _ in types) + ")")
        params += [like_pattern(name) for name in types]
    if step_id:
        where.append("step_key = ?")
        params.append(step_id)
    if epoch is not None:
        where.append("epoch = ?")
        params.append(epoch)
    sql = f"SELECT seq, type, data FROM events WHERE {' AND '.join(where)} ORDER BY seq LIMIT ?"
    return database.rows(sql, (*params, limit))


def last(stream: str, limit: int, step_id: str | None = None, without: Sequence[str] = ()) -> list[dict]:
    """`[{seq, type, data}]` of the newest events of one stream, oldest first, those of types `without` left out."""
    where, params = ["stream = ?"], [stream]
    if step_id:
        where.append("step_key = ?")
        params.append(step_id)
    if without:
        where.append(f"type NOT IN ({', '.join('?' * len(without))})")
        params += without
    sql = f"SELECT seq, type, data FROM events WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
    return database.rows(sql, (*params, limit))[::-1]


def like_pattern(name: str) -> str:
    """`run_*` as a LIKE pattern."""
    return database.literal(name).replace("*", "%")


def numbered_after(position: int, limit: int = 500) -> list[dict]:
    """`[{position, stream, seq, type, data}]` of the whole platform beyond `position`, oldest first."""
    return database.rows(
        "SELECT position, stream, seq, type, data FROM events WHERE position > ? ORDER BY position LIMIT ?",
        (position, limit),
    )


def head_position() -> int:
    """The highest position assigned so far, 0 if none."""
    return database.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0]


def head_seq(stream: str) -> int:
    """The highest `seq` of a stream, 0 if it has no events."""
    return database.execute("SELECT coalesce(max(seq), 0) FROM events WHERE stream = ?", (stream,)).fetchone()[0]


def has_unnumbered() -> bool:
    """Whether any event waits for its position."""
    return database.execute("SELECT 1 FROM events WHERE position IS NULL LIMIT 1").fetchone() is not None


def assign_positions(limit: int = 1000) -> list[dict]:
    """Numbers the events that have no position yet and returns them as `numbered_after` does.

    Raises Unavailable if another caller numbers the same ones: a relay that was frozen has a successor.
    """
    found = database.rows(
        "SELECT stream, seq, type, data FROM events WHERE position IS NULL ORDER BY stream, seq LIMIT ?",
        (limit,),
    )
    head = head_position() if found else 0
    for position, row in enumerate(found, head + 1):
        row["position"] = position
        sql = "UPDATE events SET position = ? WHERE stream = ? AND seq = ? AND position IS NULL"
        if not database.execute(sql, (position, row["stream"], row["seq"])).rowcount:
            raise Unavailable("Another relay numbers the events", "relay_superseded")
    return found


def decode(data: str) -> dict:
    """The `data` line of a frame as an object."""
    return orjson.loads(data)


def trim(older_than: int, beyond: int, limit: int) -> int | None:
    """Removes, of the next `limit` events beyond that position, what is older (ms) and belongs to nothing that goes on.

    Returns the position to go on from, None at the end. The newest event of all and the newest of the platform's stay:
    positions and numbers count on from them.
    """
    found = database.execute(
        "SELECT e.position, e.created_at, e.stream, e.seq, r.status, c.status FROM events e"
        " LEFT JOIN runs r ON r.id = e.stream LEFT JOIN chat_sessions c ON c.id = e.stream"
        " WHERE e.position > ? AND e.position < (SELECT max(position) FROM events) ORDER BY e.position LIMIT ?",
        (beyond, limit),
    ).fetchall()
    old = list(itertools.takewhile(lambda row: row[1] < older_than, found))
    newest = head_seq(PLATFORM)
    gone = [row[0] for row in old if _is_over(*row[4:]) and (row[2], row[3]) != (PLATFORM, newest)]
    if gone:
        database.execute(f"DELETE FROM events WHERE position IN ({', '.join('?' * len(gone))})", gone)
    return old[-1][0] if len(old) == limit else None


def _is_over(run_status: str | None, chat_status: str | None) -> bool:
    """Whether what an event belongs to has ended; a board and the platform never do, their events may go."""
    return run_status in (None, *TERMINAL) and chat_status in (None, "ended")
