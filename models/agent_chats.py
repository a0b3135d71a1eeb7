"""Chats beside the steps of runs: as sessions of their agents, and what the timeline says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import chat_views, database
from models.chats import ChatSession, SessionStatus
from models.events import decode
from models.run_views import duration, usage

LONGEST_PROMPT = 500  # characters
STATUSES = ("active", "all", *SessionStatus)
COPIED = ("agent_id", "status", "project_id", "model", "error", "created_at", "started_at", "last_activity_at")


def page(filters: Any, limit: int, after: str | None) -> list[dict[str, Any]]:
    """Up to `limit` chats as `{id, last_activity_at, chat}`; `filters` are those of `agent_sessions`."""
    if filters.status not in STATUSES:
        return []
    owner = {"agent_id": filters.agent_id, "project_id": filters.project_id}
    found = chat_views.page(limit, after, status=filters.status, **owner)
    rows = [{"id": chat.id, "last_activity_at": chat.last_activity_at, "chat": chat} for chat in found]
    return [row for row in rows if row["last_activity_at"] >= (filters.since or 0)]


def shown(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """`{id: Session object}` of a page."""
    ids = [row["id"] for row in rows]
    said, at_work, tools = prompts(ids), _workers(ids), _tools(ids)
    return {row["id"]: _session(row["chat"], said, at_work, tools) for row in rows}


def _session(chat: ChatSession, said: dict, at_work: dict, tools: dict) -> dict[str, Any]:
    return {name: getattr(chat, name) for name in COPIED} | {
        "id": chat.id,
        "kind": "chat",
        **dict.fromkeys(("run_id", "step_id", "pipeline_id", "attempt")),
        "prompt": said.get(chat.id),
        "turn_count": chat.llm_calls,
        "tool_call_count": chat.tool_calls,
        "usage": usage(chat.__data__),
        "current_tool": tools.get(chat.id),
        "worker": at_work.get(chat.id),
        "completed_at": chat.completed_at,
    }


def prompts(session_ids: Sequence[str]) -> dict[str, str]:
    """`{session id: the beginning of what was said first}`."""
    text = f"substr(content, 1, {LONGEST_PROMPT})"
    return _pairs(f"SELECT session_id, {text} FROM chat_messages WHERE seq = 1 AND session_id", session_ids)


def facts(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """`{(stream, seq): {prompt, duration_ms}}` of the events among `rows` that begin a chat or end an answer."""
    begun = [row for row in rows if row["type"] == "chat_session_created"]
    said = prompts([row["stream"] for row in begun])
    answers = {_place(row): decode(row["data"])["message_id"] for row in rows if row["type"] == "chat_turn_end"}
    times = _rows("SELECT id, started_at, completed_at FROM chat_messages WHERE id", list(answers.values()))
    took = {row[0]: duration(*row[1:]) for row in times}
    return {_place(row): {"prompt": said.get(row["stream"], "")[:200] or None} for row in begun} | {
        place: {"duration_ms": took.get(message_id)} for place, message_id in answers.items()
    }


def _place(row: dict[str, Any]) -> tuple[str, int]:
    return row["stream"], row["seq"]


def _workers(session_ids: Sequence[str]) -> dict[str, str]:
    return _pairs("SELECT session_id, owner FROM chat_messages WHERE status = 'running' AND session_id", session_ids)


def _tools(session_ids: Sequence[str]) -> dict[str, str]:
    sql = "SELECT u.session_id, u.tool_name FROM tool_uses u JOIN chat_sessions s ON s.active_message_id = u.message_id"
    return _pairs(f"{sql} AND s.id = u.session_id WHERE u.status = 'intended' AND u.session_id", session_ids)


def _pairs(sql: str, ids: Sequence[str]) -> dict[str, Any]:
    return dict(_rows(sql, ids))


def _rows(sql: str, ids: Sequence[str]) -> list[tuple]:
    """What `sql`, which ends in the name of a column, finds for these ids."""
    return database.execute(f"{sql} IN ({', '.join('?' * len(ids))})", ids).fetchall() if ids else []
