"""MCP servers as the API shows them: never a literal secret, never what only its name hides."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from models import database, mcp, mcp_configs
from models.mcp import ACTIVE, McpServer, McpTool
from models.mcp_configs import STDIO

COPIED = ("id", "name", "description", "config", "transport", "enabled", "status", "status_reason", "setup_agent_id")
TIMES = ("generation", "restarts", "last_checked_at", "next_retry_at", "last_call_at", "version", "created_at")
OF_TOOL = ("name", "title", "input_schema", "annotations", "schema_hash")


def page(
    limit: int, after: str | None, *, stdio: bool, enabled: bool | None = None, status: str | None = None
) -> list[dict[str, Any]]:
    """Up to `limit` Server objects by name and id, beyond the `name id` of `after`. `stdio`: such servers are run."""
    where, params = ["1 = 1"], []
    if after:
        name, _, server_id = after.rpartition(" ")
        where.append("(name, id) > (?, ?)")
        params += [name, server_id]
    if enabled is not None:
        where.append("enabled" if enabled else "NOT enabled")
    if status:
        where.append("status = ?")
        params.append(status)
    found = McpServer.fetch(f"{' AND '.join(where)} ORDER BY name, id LIMIT ?", [*params, limit])
    tools = _tools([server.id for server in found])
    return [_object(server, tools[server.id], stdio) for server in found]


def one(server: McpServer, stdio: bool) -> dict[str, Any]:
    """The Server object."""
    return _object(server, mcp.tools(server.id), stdio)


def _tools(server_ids: list[str]) -> dict[str, list[McpTool]]:
    found: dict[str, list[McpTool]] = defaultdict(list)
    if server_ids:
        marks = ", ".join("?" * len(server_ids))
        for tool in McpTool.fetch(f"server_id IN ({marks}) ORDER BY name", server_ids):
            found[tool.server_id].append(tool)
    return found


def is_managed(server: McpServer, stdio: bool) -> bool:
    """Whether our own supervisor runs it."""
    return server.transport != STDIO or (stdio and server.is_approved)


def _object(server: McpServer, tools: list[McpTool], stdio: bool) -> dict[str, Any]:
    shown = {name: getattr(server, name) for name in COPIED}
    shown["discovered_tools"] = [tool.name for tool in tools if tool.state(server.config) == ACTIVE]
    shown["tools"] = [tool_object(tool, server) for tool in tools]
    shown |= {"managed": is_managed(server, stdio), "sandbox": server.sandbox, "approval": approval(server)}
    return shown | {name: getattr(server, name) for name in (*TIMES, "updated_at")}


def tool_object(tool: McpTool, server: McpServer) -> dict[str, Any]:
    shown = {name: getattr(tool, name) for name in OF_TOOL}
    return shown | {"description": tool.description_override or tool.description, "state": tool.state(server.config)}


def drift(tool: McpTool) -> dict[str, Any]:
    """What was pinned and what it is now, side by side."""
    pinned = {name: getattr(tool, name) for name in (*mcp.PINNED, "schema_hash")}
    return {"name": tool.name, "drifted": tool.drift is not None, "pinned": pinned, "found": tool.drift}


def approval(server: McpServer) -> dict[str, Any]:
    needed = server.approval
    nothing = {"argv": None, "cwd": None, "env_names": None, "sandbox": None, "sha256": None}
    by = {"approved_by": server.approved_by, "approved_at": server.approved_at}
    if needed is None:
        return {"state": "not_needed", **nothing, "approved_by": None, "approved_at": None}
    if server.is_approved:
        return {"state": "approved", **needed, **by}
    return {"state": "pending", **needed, "approved_by": None, "approved_at": None}


def entries(reveal: bool) -> dict[str, Any]:
    """`{id: entry}` of the enabled servers, as gateways read it; `reveal`: with the literals. Raises Unreadable."""
    found = McpServer.fetch("enabled ORDER BY id", ())
    if not reveal:
        return {server.id: server.config for server in found}
    return {server.id: mcp_configs.reveal(server.config, mcp.literals(server)) for server in found}


def usable() -> list[dict[str, Any]]:
    """`[{server_id, server_name, name, title, description}]` of every tool that could be granted and called."""
    sql = (
        "SELECT t.server_id, s.name AS server_name, t.name, t.title,"
        " coalesce(t.description_override, t.description) AS description, s.config FROM mcp_tools t"
        " JOIN mcp_servers s ON s.id = t.server_id AND s.enabled AND NOT s.paused"
        " WHERE t.present AND t.enabled AND t.drift IS NULL ORDER BY t.server_id, t.name"
    )
    found = [row | {"config": McpServer.config.python_value(row["config"])} for row in database.rows(sql)]
    return [row for row in found if row["name"] not in row.pop("config").get("disabledTools", ())]
