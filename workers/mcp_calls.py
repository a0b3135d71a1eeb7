"""Calling a tool of an MCP server, and its line in the ledger: for agents, and for people who try it out."""

from __future__ import annotations

import time
from typing import Any

from models import database, mcp, mcp_calls
from models.errors import DjinnBotError, OutsideTimeout
from workers import mcp_wire


def call(server_id: str, tool: str, arguments: dict[str, Any], seconds: float, **who: Any) -> dict[str, Any]:
    """`{content, structured, is_error, duration_ms}`. `who`: run_id, session_id, step_id, agent_id or caller.

    Raises OutsideError, OutsideTimeout, or Unavailable without Redis.
    """
    started = time.monotonic()
    patience = seconds + mcp_wire.START_SECONDS + mcp_wire.SLACK_SECONDS
    try:
        answer = mcp_wire.ask("call", server_id, patience, tool=tool, arguments=arguments, timeout=seconds)
    except DjinnBotError as error:
        outcome = "timeout" if isinstance(error, OutsideTimeout) else "error"
        _record(server_id, tool, arguments, started, outcome=outcome, error=error.message[:500], **who)
        raise
    size = sum(len(part.get("text", "")) for part in answer["content"])
    outcome = "tool_error" if answer["is_error"] else "ok"
    duration_ms = _record(server_id, tool, arguments, started, outcome=outcome, result_chars=size, **who)
    return answer | {"duration_ms": duration_ms}


def _record(server_id: str, tool: str, arguments: dict[str, Any], started: float, **facts: Any) -> int:
    duration_ms = round((time.monotonic() - started) * 1000)
    with database.transaction():
        mcp_calls.record(server_id, tool, arguments, duration_ms=duration_ms, **facts)
        mcp.called(server_id)
    return duration_ms
