"""The ledger of calls of MCP tools: by whom, how long, and how it ended; never what was said."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
import peewee

from models import database
from models.base import Model, new_id, now_ms

OUTCOMES = ("ok", "tool_error", "error", "timeout")  # tool_error: the tool itself says that it failed


class McpCall(Model):
    id = peewee.TextField(primary_key=True)
    server_id = peewee.TextField()
    tool = peewee.TextField()
    run_id = peewee.TextField(null=True)
    session_id = peewee.TextField(null=True)
    step_id = peewee.TextField(null=True)
    agent_id = peewee.TextField(null=True)
    caller = peewee.TextField(null=True)  # the token of a person who tried it out
    arguments_hash = peewee.TextField()
    outcome = peewee.TextField()
    error = peewee.TextField(null=True)
    result_chars = peewee.IntegerField(null=True)
    duration_ms = peewee.IntegerField()
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "mcp_calls"
        indexes = ((("server_id", "id"), False), (("created_at",), False))


SHOWN = ("id", "server_id", "tool", "run_id", "session_id", "step_id", "agent_id", "caller", "arguments_hash")
SHOWN += ("outcome", "error", "result_chars", "duration_ms", "created_at")


def arguments_hash(arguments: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS)).hexdigest()


def record(server_id: str, tool: str, arguments: dict[str, Any], **facts: Any) -> None:
    """One more line, in the enclosing transaction."""
    named = {"id": new_id("mcc_"), "server_id": server_id, "tool": tool, "created_at": now_ms()}
    McpCall.add(named | {"arguments_hash": arguments_hash(arguments)} | facts)


def page(server_id: str, limit: int, before: str | None) -> list[dict[str, Any]]:
    """Up to `limit` calls of the server, newest first, older than the id `before`."""
    condition, params = "server_id = ?", [server_id]
    if before:
        condition, params = condition + " AND id < ?", [*params, before]
    sql = f"SELECT {', '.join(SHOWN)} FROM mcp_calls WHERE {condition} ORDER BY id DESC LIMIT ?"
    return database.rows(sql, [*params, limit])


def prune(older_than: int, limit: int) -> int:
    """Forgets up to `limit` of the oldest lines if they are from before that time (ms); returns how many."""
    oldest = "SELECT id FROM mcp_calls WHERE created_at < ? ORDER BY created_at LIMIT ?"
    return database.execute(f"DELETE FROM mcp_calls WHERE id IN ({oldest})", (older_than, limit)).rowcount
