"""A session's queue of turns: how one is asked for, begun, ended and given back.

Everything here is called in a transaction that has locked the session (`chats.lock`), and keeps the caller's copy true.
An idle session with queued turns, and a turn without an owner, always have a doorbell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import chat_views, chats, outbox, text_search
from models.base import new_id, now_ms
from models.chats import ChatMessage, ChatSession, MessageStatus, SessionStatus
from models.events import Event
from workers.broker import doorbell

MAX_LOSSES = 3  # workers that may die in one turn


def enqueue(
    session: ChatSession, text: str, *, model: str, attachments: Sequence[str] = (), first: bool = False
) -> dict[str, Any]:
    """A message of the user, to be answered. `first`: before what waits already. The caller rings."""
    said_id, seq = new_id("msg_"), session.message_count + 1
    said = {"id": said_id, "session_id": session.id, "seq": seq, "role": "user", "content": text}
    times = {"created_at": now_ms(), "completed_at": now_ms()}
    ChatMessage.add(said | times | {"status": MessageStatus.COMPLETED, "attachments": list(attachments)})
    text_search.CHATS.index(said_id, [text])
    session.message_count += 1
    return answer(session, said_id, model=model, first=first)


def answer(session: ChatSession, said_id: str, *, model: str, first: bool = False) -> dict[str, Any]:
    """Queues an answer to a message of the user: `{user_message_id, assistant_message_id, position}`."""
    seq = session.message_count + 1
    row = {"id": new_id("msg_"), "session_id": session.id, "seq": seq, "role": "assistant", "in_reply_to": said_id}
    facts = {"status": MessageStatus.QUEUED, "model": model, "rank": -seq if first else 0, "created_at": now_ms()}
    ChatMessage.add(row | facts)
    position = int(session.active_message_id is not None) + (0 if first else session.queued_count)
    session.message_count, session.queued_count = seq, session.queued_count + 1
    queued = {"user_message_id": said_id, "assistant_message_id": row["id"], "position": position}
    _store(session, [chats.event(session, "chat_message_queued", **queued)], model=model)
    return queued


def take(session: ChatSession, worker_id: str) -> ChatMessage | None:
    """The turn that waits for a worker, now held by this one; None if there is none."""
    if session.active_message_id:
        message = chats.message(session.active_message_id, session.id)
        return None if message.owner else _take_over(session, message, worker_id)
    message = chats.next_queued(session.id)
    return _begin(session, message, worker_id) if message else None


def _begin(session: ChatSession, message: ChatMessage, worker_id: str) -> ChatMessage:
    now = now_ms()
    session.turns, session.queued_count, session.active_message_id = (
        session.turns + 1,
        session.queued_count - 1,
        message.id,
    )
    session.started_at = session.started_at or now
    began = chats.event(session, "chat_turn_started", message_id=message.id)
    seq = _store(session, [began], turns=session.turns, started_at=session.started_at)
    changes = {"status": MessageStatus.RUNNING, "turn": session.turns, "started_at": now, "first_seq": seq}
    return _hold(message, worker_id, **changes)


def _take_over(session: ChatSession, message: ChatMessage, worker_id: str) -> ChatMessage:
    turns = chats.recorded_turns(session.id, message.id)
    reason = message.interrupted
    resumed = chats.event(session, "chat_turn_resumed", message_id=message.id, from_turn=turns, reason=reason)
    _store(session, [resumed])
    return _hold(message, worker_id)


def _hold(message: ChatMessage, worker_id: str, **changes: Any) -> ChatMessage:
    chats.update(message.id, token=message.token + 1, owner=worker_id, **changes)
    return chats.message(message.id, message.session_id)


def finish(
    session: ChatSession,
    message: ChatMessage,
    status: str,
    recorded: Sequence[Event] = (),
    *,
    fence: tuple[str, tuple] | None = None,
    add: dict[str, float] | None = None,
    **columns: Any,
) -> None:
    """Ends the running turn. `columns`: content, thinking, tool_calls, usage, error, error_code, model.

    Raises LeaseLost if `fence` does not hold any more.
    """
    session.active_message_id, session.error = None, columns.get("error")
    ended = _ended(session, message, status, columns["usage"], session.error)
    _store(session, [*recorded, ended], fence=fence, add=add, error=session.error)
    over = {"status": status, "owner": None, "token": message.token + 1, "completed_at": now_ms()}
    chats.update(message.id, **over, **columns)
    text_search.CHATS.index(message.id, [columns["content"]])


def stop(session: ChatSession) -> str | None:
    """Ends the running turn with the text it has; the id of its message, None if there was none."""
    if session.active_message_id is None:
        return None
    message = chats.message(session.active_message_id, session.id)
    finish(session, message, MessageStatus.STOPPED, **chat_views.so_far(message))
    return message.id


def clear(session: ChatSession) -> int:
    """Ends every queued turn, unanswered; how many there were."""
    waiting = chats.queued(session.id)
    for message in waiting:
        chats.update(message.id, status=MessageStatus.STOPPED, completed_at=now_ms())
    session.queued_count = 0
    if waiting:
        outbox.withdraw("answer_chat", session.id)
        _store(session, [_ended(session, message, MessageStatus.STOPPED, None, None) for message in waiting])
    return len(waiting)


def ring(session: ChatSession) -> None:
    """Lets the next turn begin, if there is one."""
    if session.active_message_id is None and session.queued_count:
        doorbell("answer_chat", session.id)


def give_back(session: ChatSession, message: ChatMessage, why: str) -> None:
    """The running turn needs another worker; one that kills its workers is failed.

    `why`: worker_lost, deploy or database_away.
    """
    losses = message.losses + (why == "worker_lost")
    if losses >= MAX_LOSSES:
        error = {"error": f"The answer lost its worker {losses} times", "error_code": "worker_lost"}
        finish(session, message, MessageStatus.FAILED, **chat_views.so_far(message), **error)
        ring(session)
        return
    chats.update(message.id, token=message.token + 1, owner=None, interrupted=why, losses=losses)
    doorbell("answer_chat", session.id)


def _ended(session: ChatSession, message: ChatMessage, status: str, usage: dict | None, error: str | None) -> Event:
    facts = {"message_id": message.id, "status": str(status), "usage": usage, "error": error}
    return chats.event(session, "chat_turn_end", **facts)


def _store(session: ChatSession, recorded: Sequence[Event], **changes: Any) -> int:
    busy = session.active_message_id is not None or session.queued_count > 0
    session.status = SessionStatus.RUNNING if busy else SessionStatus.READY
    counted = {name: getattr(session, name) for name in ("status", "active_message_id", "queued_count")}
    times = {"message_count": session.message_count, "last_activity_at": now_ms()}
    session.last_seq = chats.write(session.id, recorded, **counted, **times, **changes)
    return session.last_seq
