"""Which agents may call which tools of MCP servers: nothing unless it was granted, a server as `*` or tool by tool."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import peewee

from models import database, mcp_configs
from models.base import Model, now_ms
from models.errors import NotFound
from models.mcp import McpTool
from models.versions import Kept, bump

EVERY = "*"
VERSION = "mcp"


class McpGrant(Model):
    agent_id = peewee.TextField()
    server_id = peewee.TextField(index=True)
    tool = peewee.TextField()  # its name, or * for every tool of the server
    granted_at = peewee.BigIntegerField()
    granted_by = peewee.TextField(null=True)

    class Meta:
        table_name = "mcp_grants"
        primary_key = peewee.CompositeKey("agent_id", "server_id", "tool")


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that an agent may call. `by_name`: it was granted itself, not only with all of its server."""

    server_id: str
    server_name: str
    name: str
    description: str
    input_schema: dict[str, Any]
    annotations: dict[str, Any]
    schema_hash: str
    timeout: int  # seconds
    by_name: bool


# --- reading ---


def offers(agent_id: str) -> list[Offer]:
    """What the agent may call, by server and name; at most a second old. Raises Unavailable."""
    return _kept.get().get(agent_id, [])


def look_again() -> None:
    """What `offers` knows is not old enough for who begins."""
    _kept.forget()


def load() -> dict[str, list[Offer]]:
    """{agent: offers} as stored now."""
    sql = (
        "SELECT g.agent_id, g.tool AS granted_as, s.name AS server_name, s.config, t.* FROM mcp_grants g"
        " JOIN mcp_servers s ON s.id = g.server_id AND s.enabled AND NOT s.paused"
        " JOIN mcp_tools t ON t.server_id = s.id AND (g.tool = '*' OR g.tool = t.name)"
        " WHERE t.present AND t.enabled AND t.drift IS NULL ORDER BY t.server_id, t.name, g.tool"
    )
    found: dict[str, dict[tuple[str, str], Offer]] = defaultdict(dict)
    for row in database.rows(sql):
        config = McpTool.input_schema.python_value(row["config"])
        if row["name"] not in config.get("disabledTools", ()):
            found[row["agent_id"]][row["server_id"], row["name"]] = _offer(row, config)  # `*` sorts before a name
    return {agent_id: list(by_tool.values()) for agent_id, by_tool in found.items()}


_kept: Kept[dict[str, list[Offer]]] = Kept(VERSION, load)


def _offer(row: dict[str, Any], config: dict[str, Any]) -> Offer:
    return Offer(
        server_id=row["server_id"],
        server_name=row["server_name"],
        name=row["name"],
        description=row["description_override"] or row["description"],
        input_schema=McpTool.input_schema.python_value(row["input_schema"]),
        annotations=McpTool.annotations.python_value(row["annotations"]) or {},
        schema_hash=row["schema_hash"] or "",
        timeout=mcp_configs.timeout(config),
        by_name=row["granted_as"] != EVERY,
    )


def of_agent(agent_id: str) -> list[dict[str, Any]]:
    """`[{server_id, server_name, server_status, tool_name, base_url, granted_at, granted_by}]`, by server and tool."""
    sql = (
        "SELECT g.server_id, s.name AS server_name, s.status AS server_status, g.tool AS tool_name, g.granted_at,"
        " g.granted_by FROM mcp_grants g JOIN mcp_servers s ON s.id = g.server_id WHERE g.agent_id = ?"
        " ORDER BY g.server_id, g.tool"
    )
    return [row | {"base_url": None} for row in database.rows(sql, (agent_id,))]


def servers_of(agent_id: str) -> list[str]:
    """The servers that the agent has anything of, by id."""
    sql = "SELECT DISTINCT server_id FROM mcp_grants WHERE agent_id = ? ORDER BY server_id"
    return [row[0] for row in database.execute(sql, (agent_id,)).fetchall()]


def manifest(agent_id: str) -> dict[str, Any]:
    """The agent's grants, and a line for each tool that it may call now."""
    listed = load().get(agent_id, [])
    text = "\n".join(f"- {offer.server_id}/{offer.name}: {' '.join(offer.description.split())}" for offer in listed)
    return {"agent_id": agent_id, "grants": of_agent(agent_id), "manifest_text": text}


# --- writing, all in the caller's transaction ---


def grant(agent_id: str, server_id: str, tool: str, by: str | None) -> bool:
    """Whether that changed anything."""
    key = {"agent_id": agent_id, "server_id": server_id, "tool": tool}
    if McpGrant.fetch("agent_id = ? AND server_id = ? AND tool = ?", tuple(key.values())):
        return False
    McpGrant.add(key | {"granted_at": now_ms(), "granted_by": by})
    changed()
    return True


def revoke(agent_id: str, server_id: str, tool: str | None) -> int:
    """How many grants that took; None takes all of the server. Raises NotFound if there was none."""
    where = (McpGrant.agent_id == agent_id) & (McpGrant.server_id == server_id)
    if tool is not None:
        where &= McpGrant.tool == tool
    taken = McpGrant.delete().where(where).execute()
    if not taken:
        raise NotFound(f"{agent_id} has not been granted {tool or 'anything'} of {server_id}", "grant_not_found")
    changed()
    return taken


def forget(server_id: str) -> None:
    McpGrant.delete().where(McpGrant.server_id == server_id).execute()


def changed() -> None:
    """What agents may call is another from the commit on."""
    bump(VERSION)
    database.on_commit(_kept.forget)
