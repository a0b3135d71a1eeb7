"""Chats: the commands on sessions and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import chats, database, outbox, text_search
from models.base import new_id, now_ms
from models.chats import ChatMessage, ChatSession, SessionStatus
from models.errors import Conflict, Invalid, NotFound, TooMany
from workers import chat_queue, workspaces
from workers.agent import settings
from workers.publisher import publisher

DAY_MS = 86_400_000


def start(agent_id: str, *, model: str | None = None, message: str | None = None, **columns: Any) -> dict[str, Any]:
    """Opens a session; `{session_id, first: the answer of `post`, or None}`. Raises NotFound, Conflict, TooMany.

    `columns`: system_prompt_supplement, thinking_level, title, project_id, metadata, created_by, tainted_by.
    """
    session_id, now, model = new_id(chats.PREFIX), now_ms(), model or settings.chat_model(agent_id)
    row = {"id": session_id, "agent_id": agent_id, "status": SessionStatus.READY, "model": model}
    with database.transaction():
        if chats.active_count() >= chats.MOST_ACTIVE:
            raise TooMany(f"{chats.MOST_ACTIVE} chats are open", "too_many_sessions", retry_after=30)
        given = {name: value for name, value in columns.items() if value is not None}
        ChatSession.add(row | {"created_at": now, "last_activity_at": now} | given)
        _created(session_id, columns.get("title"))
        first = post(session_id, message) if message is not None else None
    return {"session_id": session_id, "first": first}


def _created(session_id: str, title: str | None) -> None:
    session = chats.get(session_id)
    chats.write(session_id, [chats.event(session, "chat_session_created", model=session.model)])
    if title:
        text_search.CHATS.index(session_id, [title])


def post(
    session_id: str,
    message: str,
    *,
    model: str | None = None,
    attachments: Sequence[str] = (),
    if_busy: str = "queue",
) -> dict[str, Any]:
    """Queues a message of the user for an answer: `{user_message_id, assistant_message_id, position}`.

    `if_busy`: `queue`, `reject`, or `interrupt`: stop the answer that is being written and go first.
    Raises NotFound, Conflict, TooMany.
    """
    if attachments:
        raise NotFound(f"Attachment {attachments[0]} not found", "attachment_not_found")
    with database.transaction():
        session = _open(session_id)
        if if_busy == "reject" and session.status == SessionStatus.RUNNING:
            raise Conflict(f"{session_id} is answering", "turn_in_progress", allowed=["stop"])
        if session.queued_count >= chats.MOST_QUEUED:
            raise TooMany(f"{chats.MOST_QUEUED} messages wait for an answer already", "chat_queue_full", retry_after=5)
        interrupts = if_busy == "interrupt"
        stopped = _stop(session) if interrupts else None
        waited = session.queued_count
        queued = chat_queue.enqueue(session, message, model=model or session.model, first=interrupts)
        if stopped or not waited:
            chat_queue.ring(session)
    return {"session_id": session_id, "status": "queued", **queued}


def _open(session_id: str) -> ChatSession:
    session = chats.lock(session_id)
    if session.status == SessionStatus.ENDED:
        raise Conflict(f"{session_id} has ended", "session_ended", allowed=["fork"])
    return session


def _stop(session: ChatSession) -> str | None:
    stopped = chat_queue.stop(session)
    if stopped:
        outbox.withdraw("answer_chat", session.id)
        database.on_commit(lambda: publisher.nudge(session.id))
    return stopped


def stop(session_id: str, clear_queue: bool = False) -> dict[str, Any]:
    """Ends the running answer with the text it has; queued ones go on unless cleared. Raises NotFound, Conflict."""
    with database.transaction():
        session = _open(session_id)
        stopped = _stop(session)
        cleared = chat_queue.clear(session) if clear_queue else 0
        if stopped:
            chat_queue.ring(session)
    return {"session_id": session_id, "status": session.status, "stopped_message_id": stopped, "cleared": cleared}


def end(session_id: str) -> None:
    """Ends the session; it stays readable. Raises NotFound."""
    with database.transaction():
        session = chats.lock(session_id)
        if session.status == SessionStatus.ENDED:
            raise NotFound(f"{session_id} has ended already", "session_ended")
        _close(session, "deleted")


def _close(session: ChatSession, reason: str) -> None:
    _stop(session)
    chat_queue.clear(session)
    ended = chats.event(session, "chat_session_ended", reason=reason)
    now = now_ms()
    chats.write(session.id, [ended], status=SessionStatus.ENDED, completed_at=now, last_activity_at=now)


def purge(session_id: str) -> None:
    """Ends the session if it goes on, and removes all that was said in it. Raises NotFound."""
    with database.transaction():
        if chats.lock(session_id).status != SessionStatus.ENDED:
            end(session_id)
        for row in ChatMessage.fetch("session_id = ?", (session_id,)):
            text_search.CHATS.remove(row.id)
        text_search.CHATS.remove(session_id)
        chats.delete(session_id)
        database.on_commit(lambda: workspaces.remove(session_id))


def expire(idle_days: int) -> None:
    """Ends sessions in which nothing has happened for so long; 0: never."""
    if not idle_days:
        return
    moment = now_ms() - idle_days * DAY_MS
    with database.connection():
        idle = chats.idle_since(moment)
    for session_id in idle:
        with database.transaction():
            session = chats.lock(session_id)
            if session.status == SessionStatus.READY and session.last_activity_at < moment:
                _close(session, "expired")


def regenerate(
    session_id: str, *, message_id: str | None = None, message: str | None = None, model: str | None = None
) -> dict[str, Any]:
    """Answers a message of the user (default: the last) anew, with another text if `message` is given.

    What followed it is superseded: kept, but no longer part of the conversation. Raises NotFound, Conflict, Invalid.
    """
    with database.transaction():
        session = _open(session_id)
        if session.status == SessionStatus.RUNNING:
            raise Conflict(f"{session_id} is answering", "turn_in_progress", allowed=["stop"])
        said = _said(session_id, message_id)
        _supersede(session, said.seq + (message is None))
        model = model or session.model
        if message is None:
            queued = chat_queue.answer(session, said.id, model=model)
        else:
            queued = chat_queue.enqueue(session, message, model=model)
        chat_queue.ring(session)
    return {"session_id": session_id, "status": "queued", **queued}


def _said(session_id: str, message_id: str | None) -> ChatMessage:
    if message_id is None:
        condition = "session_id = ? AND role = 'user' AND NOT superseded ORDER BY seq DESC LIMIT 1"
        found = ChatMessage.fetch(condition, (session_id,))
        if not found:
            raise Conflict(f"Nothing has been said in {session_id}", "nothing_said", allowed=["message"])
        return found[0]
    row = chats.message(message_id, session_id)
    if row.role != "user" or row.superseded:
        raise Invalid(f"{message_id} cannot be answered", errors={"message_id": ["is no current message of the user"]})
    return row


def _supersede(session: ChatSession, from_seq: int) -> None:
    """Takes back what was said from there on, and what a summary may say of it."""
    place = (session.id, from_seq)
    sql = "UPDATE chat_messages SET superseded = ? WHERE session_id = ? AND seq >= ?"
    sql_first = "SELECT min(turn) FROM chat_messages WHERE session_id = ? AND seq >= ?"
    first = database.execute(sql_first, place).fetchone()[0]
    database.execute(sql, (True, *place))
    if first is not None and first <= session.summary_turn:
        chats.write(session.id, summary=None, summary_turn=0)


def fork(session_id: str, *, message_id: str | None = None, model: str | None = None, **columns: Any) -> str:
    """A new session that begins with what was said up to a message (default: the last). Raises NotFound, TooMany."""
    with database.transaction():
        source = chats.lock(session_id)
        last = chats.message(message_id, session_id) if message_id else None
        origin = {"session_id": session_id, "message_id": message_id}
        kept = ("system_prompt_supplement", "thinking_level", "project_id", "metadata", "title", "tainted_by")
        shared = {name: getattr(source, name) for name in kept}
        given = {name: value for name, value in columns.items() if value is not None}
        made = start(source.agent_id, model=model or source.model, **shared | given, forked_from=origin)["session_id"]
        _copy(source, made, last.seq if last else source.message_count)
    return made


def _copy(source: ChatSession, target_id: str, last_seq: int) -> None:
    condition = "session_id = ? AND seq <= ? AND NOT superseded AND status NOT IN ('queued', 'running') ORDER BY seq"
    rows = ChatMessage.fetch(condition, (source.id, last_seq))
    ids = {row.id: new_id("msg_") for row in rows}
    turns = {turn: n for n, turn in enumerate(sorted(row.turn for row in rows if row.turn), 1)}
    for seq, row in enumerate(rows, 1):
        same = {name: getattr(row, name) for name in _COPIED}
        places = {"id": ids[row.id], "session_id": target_id, "seq": seq, "turn": turns.get(row.turn)}
        ChatMessage.add(same | places | {"in_reply_to": ids.get(row.in_reply_to)})
        text_search.CHATS.index(ids[row.id], [row.content])
    chats.write(target_id, message_count=len(rows), turns=len(turns))


_COPIED = (
    *("role", "content", "status", "model", "thinking", "tool_calls", "attachments", "error", "error_code", "usage"),
    *("created_at", "started_at", "completed_at"),
)
