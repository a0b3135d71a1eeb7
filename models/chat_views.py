"""Sessions and messages as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import chats, cursors, database, events, text_search
from models.chats import ChatMessage, ChatSession, MessageStatus, SessionStatus
from models.run_views import COUNTED
from models.run_views import usage as as_usage

ACTIVE = (SessionStatus.READY, SessionStatus.RUNNING)
STREAMED = ("agent_output", "agent_thinking", "tool_call_start", "tool_call_end", "chat_turn_resumed")
SESSION = (
    *("id", "agent_id", "status", "title", "model", "system_prompt_supplement", "thinking_level", "project_id"),
    *("metadata", "forked_from", "message_count", "queued_count", "active_message_id", "error", "last_seq"),
    *("tainted_by", "created_by", "created_at", "started_at", "last_activity_at", "completed_at"),
)
MESSAGE = (
    *("id", "session_id", "seq", "role", "content", "status", "model", "thinking", "tool_calls", "attachments"),
    *("in_reply_to", "error", "error_code", "usage", "superseded", "created_at", "started_at", "completed_at"),
)


def session(row: ChatSession) -> dict[str, Any]:
    """The Session object."""
    return {name: getattr(row, name) for name in SESSION} | {"usage": as_usage(row.__data__)}


def message(row: ChatMessage) -> dict[str, Any]:
    """The Message object; of a running answer as far as it has got."""
    shown = {name: getattr(row, name) for name in MESSAGE}
    return shown | so_far(row) if row.status == MessageStatus.RUNNING else shown


def messages(
    session_id: str, limit: int, before_seq: int | None, superseded: bool
) -> tuple[list[dict[str, Any]], bool]:
    """(the last `limit` messages before `before_seq`, oldest first, whether there are earlier ones)."""
    shown = "" if superseded else " AND NOT superseded"
    condition = f"session_id = ? AND seq < ?{shown} ORDER BY seq DESC LIMIT ?"
    found = ChatMessage.fetch(condition, (session_id, before_seq or 2**31 - 1, limit + 1))
    return [message(row) for row in reversed(found[:limit])], len(found) > limit


def so_far(row: ChatMessage) -> dict[str, Any]:
    """`{content, thinking, tool_calls, usage}` of an answer that is being written, from its events."""
    texts: dict[str, dict[int, str]] = {"agent_output": {}, "agent_thinking": {}}
    calls: dict[str, dict[str, Any]] = {}
    for event in _streamed(row):
        if event["type"] == "chat_turn_resumed":
            texts = {kind: _before(parts, event["from_turn"]) for kind, parts in texts.items()}
        elif event["type"] in texts:
            parts = texts[event["type"]]
            parts[event["turn"]] = parts.get(event["turn"], "") + event["text"]
        else:
            calls.setdefault(event["tool_call_id"], {}).update(event)
    return {
        "content": joined(texts["agent_output"].values()),
        "thinking": joined(texts["agent_thinking"].values()) or None,
        "tool_calls": [tool_call(**call) for call in calls.values()],
        "usage": usage(row),
    }


def _streamed(row: ChatMessage) -> list[dict[str, Any]]:
    found = events.page(row.session_id, (row.first_seq or 1) - 1, 100_000, STREAMED)
    return [event for item in found if (event := events.decode(item["data"]))["message_id"] == row.id]


def _before(parts: dict[int, str], turn: int) -> dict[int, str]:
    """A worker that took over says the later turns again."""
    return {number: text for number, text in parts.items() if number < turn}


def joined(texts: Sequence[str]) -> str:
    """What an agent said between its tool calls, and at the end, as one text."""
    return "\n\n".join(text.strip("\n") for text in texts if text.strip())


def tool_call(
    *,
    tool_call_id: str,
    tool_name: str,
    arguments: dict[str, Any],
    result: str | None = None,
    is_error: bool | None = None,
    duration_ms: int | None = None,
    **_: Any,
) -> dict[str, Any]:
    """A tool call of a Message."""
    call = {"tool_call_id": tool_call_id, "tool_name": tool_name, "arguments": arguments}
    return call | {"result": result, "is_error": is_error, "duration_ms": duration_ms}


def usage(row: ChatMessage) -> dict[str, float]:
    """What the calls of a message have used, those that are stored."""
    sums = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in COUNTED[:4])
    sql = f"SELECT {sums}, count(*) AS llm_calls FROM llm_calls WHERE session_id = ? AND message_id = ?"
    found = database.rows(sql, (row.session_id, row.id))[0]
    calls = "SELECT count(*) FROM tool_uses WHERE session_id = ? AND message_id = ? AND status = 'done'"
    found["tool_calls"] = database.execute(calls, (row.session_id, row.id)).fetchone()[0]
    return as_usage({name: float(value) if name == "cost_usd" else int(value) for name, value in found.items()})


# --- lists ---


def page(
    limit: int,
    cursor: str | None,
    *,
    status: str,
    agent_id: str | None = None,
    project_id: str | None = None,
    q: str | None = None,
) -> list[ChatSession]:
    """Up to `limit` sessions, those with the latest activity first; `status` may be `active` or `all`."""
    where, params = _conditions(status, agent_id, project_id, q)
    if cursor is not None:
        where.append("(last_activity_at, id) < (?, ?)")
        params += cursors.moment_and_id(cursor, chats.PREFIX)
    condition = " AND ".join(where or ["1 = 1"])
    return ChatSession.fetch(f"{condition} ORDER BY last_activity_at DESC, id DESC LIMIT ?", (*params, limit))


def count(**filters: Any) -> int:
    """How many sessions match. Counts them all: only for who asks."""
    where, params = _conditions(**filters)
    sql = f"SELECT count(*) FROM chat_sessions WHERE {' AND '.join(where or ['1 = 1'])}"
    return database.execute(sql, params).fetchone()[0]


def _conditions(
    status: str, agent_id: str | None = None, project_id: str | None = None, q: str | None = None
) -> tuple[list[str], list[Any]]:
    statuses = {"active": ACTIVE, "all": ()}.get(status, (status,))
    where, params = [], []
    if statuses:
        where.append(f"status IN ({', '.join('?' * len(statuses))})")
        params += [str(one) for one in statuses]
    for name, value in (("agent_id", agent_id), ("project_id", project_id)):
        if value is not None:
            where.append(f"{name} = ?")
            params.append(value)
    if q is not None:
        condition, values = text_search.CHATS.ids(q)
        where.append(f"(id IN ({condition}) OR id IN (SELECT session_id FROM chat_messages WHERE id IN ({condition})))")
        params += [*values, *values]
    return where, params


def key(row: ChatSession) -> str:
    """The cursor of a session."""
    return f"{row.last_activity_at}.{row.id}"
