"""Chats: a session with an agent, and its messages.

The session's row is the lock and the event counter of everything in the chat. An assistant message is a turn: it waits
in the session's queue, is written by one worker under a fencing `token`, and ends as completed, stopped or failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import peewee

from models import database, events
from models.base import JSONField, Model
from models.errors import LeaseLost, NotFound
from models.events import Event

MOST_QUEUED = 20  # turns of a session
MOST_ACTIVE = 1_000  # sessions that have not ended
PREFIX = "chat_"


class SessionStatus(StrEnum):
    READY = "ready"  # takes messages
    RUNNING = "running"  # a turn is in flight or queued
    ENDED = "ended"


class MessageStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"  # by a person; keeps the text it had
    FAILED = "failed"


class ChatSession(Model):
    id = peewee.TextField(primary_key=True)
    agent_id = peewee.TextField()
    status = peewee.TextField()
    title = peewee.TextField(null=True)
    model = peewee.TextField()
    system_prompt_supplement = peewee.TextField(null=True)
    thinking_level = peewee.TextField(null=True)
    project_id = peewee.TextField(null=True)
    metadata = JSONField(default=dict)
    forked_from = JSONField(null=True)  # {session_id, message_id}
    message_count = peewee.IntegerField(default=0)
    queued_count = peewee.IntegerField(default=0)
    active_message_id = peewee.TextField(null=True)
    error = peewee.TextField(null=True)  # of the last turn
    input_tokens = peewee.BigIntegerField(default=0)
    output_tokens = peewee.BigIntegerField(default=0)
    cache_read_tokens = peewee.BigIntegerField(default=0)
    cost_usd = peewee.DoubleField(default=0)
    llm_calls = peewee.IntegerField(default=0)
    tool_calls = peewee.IntegerField(default=0)
    turns = peewee.IntegerField(default=0)  # begun so far
    summary = peewee.TextField(null=True)  # of the turns up to `summary_turn`, which no longer fit the model's context
    summary_turn = peewee.IntegerField(default=0)
    last_seq = peewee.IntegerField(default=0)
    tainted_by = peewee.TextField(null=True)  # as of runs
    created_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    started_at = peewee.BigIntegerField(null=True)
    last_activity_at = peewee.BigIntegerField()
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "chat_sessions"
        indexes = (
            (("last_activity_at", "id"), False),
            (("status", "last_activity_at", "id"), False),
            (("agent_id", "last_activity_at", "id"), False),
            (("project_id", "last_activity_at", "id"), False),
        )


class ChatMessage(Model):
    id = peewee.TextField(primary_key=True)
    session_id = peewee.TextField()
    seq = peewee.IntegerField()  # 1, 2, 3 ... in the session
    role = peewee.TextField()  # user, assistant
    content = peewee.TextField(default="")
    status = peewee.TextField()
    model = peewee.TextField(null=True)
    thinking = peewee.TextField(null=True)
    tool_calls = JSONField(default=list)
    attachments = JSONField(default=list)
    in_reply_to = peewee.TextField(null=True)  # of an answer: the user's message
    error = peewee.TextField(null=True)
    error_code = peewee.TextField(null=True)
    usage = JSONField(null=True)
    superseded = peewee.BooleanField(default=False)  # another version took its place; the model does not see it
    rank = peewee.IntegerField(default=0)  # in the queue, before `seq`: an interruption goes first
    turn = peewee.IntegerField(null=True)  # 1, 2, 3 ... in the order in which answers were begun
    token = peewee.IntegerField(default=0)
    owner = peewee.TextField(null=True)
    losses = peewee.IntegerField(default=0)  # workers that died in this turn
    interrupted = peewee.TextField(null=True)  # why a running turn has no owner: worker_lost, deploy, database_away
    first_seq = peewee.IntegerField(null=True)  # number of its chat_turn_started event
    created_at = peewee.BigIntegerField()
    started_at = peewee.BigIntegerField(null=True)
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "chat_messages"
        indexes = ((("session_id", "seq"), True),)


def _index_some(name: str, where: str, *columns: peewee.Field) -> None:
    ChatMessage.add_index(ChatMessage.index(*columns, where=peewee.SQL(where), name=name))


_index_some("chat_messages_held", "status = 'running'", ChatMessage.owner)
_index_some("chat_messages_waiting", "status = 'queued'", ChatMessage.session_id, ChatMessage.rank, ChatMessage.seq)


def get(session_id: str) -> ChatSession:
    """Raises NotFound."""
    return _only(ChatSession.fetch("id = ?", (session_id,)), session_id)


def lock(session_id: str) -> ChatSession:
    """The session, which nobody else changes before the enclosing transaction ends. Raises NotFound."""
    found = database.execute("UPDATE chat_sessions SET last_seq = last_seq WHERE id = ?", (session_id,)).rowcount
    return _only(ChatSession.fetch("id = ?", (session_id,)) if found else [], session_id)


def _only(found: list[ChatSession], session_id: str) -> ChatSession:
    if not found:
        raise NotFound(f"Chat session {session_id} not found", "session_not_found")
    return found[0]


def message(message_id: str, session_id: str) -> ChatMessage:
    """Raises NotFound."""
    found = ChatMessage.fetch("id = ? AND session_id = ?", (message_id, session_id))
    if not found:
        raise NotFound(f"Message {message_id} not found in {session_id}", "message_not_found")
    return found[0]


def next_queued(session_id: str) -> ChatMessage | None:
    """The turn whose time it is."""
    condition = "session_id = ? AND status = 'queued' ORDER BY rank, seq LIMIT 1"
    return next(iter(ChatMessage.fetch(condition, (session_id,))), None)


def queued(session_id: str) -> list[ChatMessage]:
    return ChatMessage.fetch("session_id = ? AND status = 'queued' ORDER BY rank, seq", (session_id,))


def exchanges(session_id: str, after_turn: int, before_turn: int) -> list[tuple[ChatMessage, ChatMessage]]:
    """(what the user said, the answer) of the finished turns in between that still count, in order."""
    condition = "session_id = ? AND turn > ? AND turn < ? AND NOT superseded ORDER BY turn"
    answers = ChatMessage.fetch(condition, (session_id, after_turn, before_turn))
    if not answers:
        return []
    marks = ", ".join("?" * len(answers))
    asked = {row.id: row for row in ChatMessage.fetch(f"id IN ({marks})", [row.in_reply_to for row in answers])}
    return [(asked[answer.in_reply_to], answer) for answer in answers]


def recorded_turns(session_id: str, message_id: str) -> int:
    """How many turns of the model have been stored of an answer."""
    sql = "SELECT count(*) FROM llm_calls WHERE session_id = ? AND message_id = ? AND status = 'ok' AND turn >= 0"
    return database.execute(sql, (session_id, message_id)).fetchone()[0]


def fence(session_id: str, seq: int, token: int) -> tuple[str, tuple]:
    """The condition that the turn is still held under `token`."""
    held = "EXISTS (SELECT 1 FROM chat_messages WHERE session_id = ? AND seq = ? AND token = ? AND status = 'running')"
    return held, (session_id, seq, token)


def event(session: ChatSession, type: str, **payload: Any) -> Event:
    """An event of the session."""
    return Event(type, session_id=session.id, agent_id=session.agent_id, payload=payload)


def write(
    session_id: str,
    recorded: Sequence[Event] = (),
    *,
    fence: tuple[str, tuple] | None = None,
    add: dict[str, float] | None = None,
    **changes: Any,
) -> int:
    """Changes the session's row and stores `recorded` as its next events; returns its new `last_seq`.

    Raises LeaseLost if the session has ended or the `fence` does not hold.
    """
    sets, params = ["last_seq = last_seq + ?"], [len(recorded)]
    for name, value in (add or {}).items():
        sets.append(f"{name} = {name} + ?")
        params.append(value)
    for name, value in changes.items():
        sets.append(f"{name} = ?")
        params.append(getattr(ChatSession, name).db_value(value))
    held, values = fence or ("1 = 1", ())
    sql = f"UPDATE chat_sessions SET {', '.join(sets)} WHERE id = ? AND status <> 'ended' AND {held}"
    row = database.execute(f"{sql} RETURNING last_seq, project_id", (*params, session_id, *values)).fetchone()
    if row is None:
        raise LeaseLost(f"Chat session {session_id} has moved on")
    if recorded:
        events.append(session_id, row[0], recorded, row[1])
    return row[0]


def update(message_id: str, **changes: Any) -> None:
    """Changes one message in the enclosing transaction, whose session the caller has locked."""
    names = ", ".join(f"{name} = ?" for name in changes)
    values = [getattr(ChatMessage, name).db_value(value) for name, value in changes.items()]
    database.execute(f"UPDATE chat_messages SET {names} WHERE id = ?", (*values, message_id))


def active_count() -> int:
    """Sessions that have not ended, counted up to the cap."""
    sql = "SELECT count(*) FROM (SELECT 1 FROM chat_sessions WHERE status IN ('ready', 'running') LIMIT ?) AS active"
    return database.execute(sql, (MOST_ACTIVE,)).fetchone()[0]


def idle_since(moment: int, limit: int = 100) -> list[str]:
    """Sessions in which nothing has happened since `moment` (ms)."""
    where = "status = 'ready' AND last_activity_at < ? ORDER BY last_activity_at LIMIT ?"
    found = database.execute(f"SELECT id FROM chat_sessions WHERE {where}", (moment, limit)).fetchall()
    return [row[0] for row in found]


# What a purge removes beside the session itself, by the column that names it.
OWNED = {"chat_messages": "session_id", "tool_uses": "session_id", "secret_uses": "run_id", "events": "stream"}


def delete(session_id: str) -> None:
    """Removes every row of one session in the enclosing transaction; of its LLM calls only what was said."""
    for table, column in OWNED.items():
        database.execute(f"DELETE FROM {table} WHERE {column} = ?", (session_id,))
    database.execute("UPDATE llm_calls SET reply = NULL WHERE session_id = ?", (session_id,))
    database.execute("DELETE FROM chat_sessions WHERE id = ?", (session_id,))
