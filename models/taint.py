"""Taint: what from outside (the web, issues, an MCP server) has been read in a run or a chat.

From there on to its end, what it wants to tell all others waits for a person.
"""

from __future__ import annotations

from models import chats, database


def mark(holder: str, why: str) -> None:
    """`holder`: id of the run or session. The first reason stays."""
    sql = f"UPDATE {_table(holder)} SET tainted_by = ? WHERE id = ? AND tainted_by IS NULL"
    database.execute(sql, (why, holder))


def reason(holder: str) -> str | None:
    """None if it is trusted, or does not exist."""
    row = database.execute(f"SELECT tainted_by FROM {_table(holder)} WHERE id = ?", (holder,)).fetchone()
    return row and row[0]


def _table(holder: str) -> str:
    return "chat_sessions" if holder.startswith(chats.PREFIX) else "runs"
