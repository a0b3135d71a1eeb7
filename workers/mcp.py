"""MCP servers: the commands that change them. Nothing runs here: a doorbell has a worker look at the row."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from models import addresses, config, database, events, mcp, mcp_configs, mcp_grants, mcp_logins, outbox
from models.base import now_ms
from models.errors import Conflict, Forbidden, Invalid
from models.events import Event
from models.mcp import CONFIGURING, RUNNING, STOPPED, McpServer, McpTool
from models.mcp_configs import STDIO
from workers.broker import doorbell
from workers.clients import egress

RESERVED = frozenset(("config.json", "logs", "agents", "restart", "status", "tools", "configure", "extract")) | {
    *("import", "enabled", "approvals", "oauth")
}
ACTORS = ("mcp_discover", "mcp_check")
APPROVAL_REQUIRED = "approval required"
STDIO_DISABLED = "programs are not run on this server (MCP_STDIO_ENABLED)"
NO_SANDBOX = {"network": False, "read_paths": [], "write_paths": []}


def why_idle(server: McpServer) -> str | None:
    """Why the supervisor must not run it; None if it is to run."""
    if not server.enabled:
        return "disabled"
    if server.paused:
        return "stopped by a person"
    if server.transport == STDIO and not config.get().runs_mcp_programs:
        return STDIO_DISABLED
    return None if server.is_approved else APPROVAL_REQUIRED


def ring(server: McpServer) -> None:
    """Has a worker look at the server now, in the enclosing transaction."""
    silence(server.id)
    doorbell("mcp_discover", server.id)


def silence(server_id: str) -> None:
    """Nothing of the server waits any more, in the enclosing transaction."""
    for actor in ACTORS:
        outbox.withdraw(actor, server_id)


def tell(server: McpServer, type: str, **payload: Any) -> None:
    """An event of the platform, in the enclosing transaction."""
    events.note(Event(type, payload={"server_id": server.id} | payload))


# --- servers ---


def checked_id(given: str | None, name: str) -> str:
    """The id that was given, or one made of the name. Raises Invalid."""
    server_id = given or re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:64]
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", server_id):
        raise Invalid(f"No id can be made of {name[:80]!r}: give one", errors={"id": ["required"]})
    if server_id in RESERVED:
        raise Invalid(f"{server_id} is reserved", "reserved_id", {"id": ["reserved"]})
    return server_id


def create(server_id: str, given: dict[str, Any]) -> McpServer:
    """A new server, not running yet. Raises Conflict, Invalid."""
    database.serialize()
    if mcp.known(server_id):
        raise Conflict(f"There is an MCP server {server_id} already", "mcp_server_exists")
    now = now_ms()
    server = McpServer(id=server_id, created_at=now, updated_at=now, sandbox=_box(given), status=CONFIGURING)
    for name in ("name", "description", "enabled", "setup_agent_id"):
        setattr(server, name, given.get(name, getattr(server, name)))
    _configure(server, given["config"], None)
    server.status = CONFIGURING if server.enabled else STOPPED
    server.status_reason = why_idle(server)
    server.save(force_insert=True)
    ring(server)
    tell(server, "mcp_status_changed", status=server.status, reason=server.status_reason)
    return server


def _box(given: dict[str, Any]) -> dict[str, Any]:
    """The sandbox as stored. Raises Invalid."""
    box = NO_SANDBOX | (given.get("sandbox") or {})
    for name in ("read_paths", "write_paths"):
        for path in box[name]:
            _check_path(name, path)
    return box


def _check_path(name: str, path: str) -> None:
    if (
        not path.startswith("/")
        or {"..", "."} & set(path.split("/"))
        or path.rstrip("/") in ("", "/proc", "/sys", "/dev")
    ):
        why = "must be an absolute path without dots, and not the root or a system's own folder"
        raise Invalid(f"{path[:200]!r} {why}", "invalid_mcp_config", {f"sandbox.{name}": [why]})


def _configure(server: McpServer, given: Any, before: dict[str, Any] | None) -> None:
    """Stores the entry; its secret literals are encrypted, `***` keeps those that are. Raises Invalid."""
    entry = mcp_configs.checked(given)
    _check_egress(entry)
    kept = mcp_configs.kept(entry, before, mcp.literals(server) if before else {})
    shown, literals = mcp_configs.hide(entry)
    server.config, server.transport = shown, mcp_configs.transport(entry)
    mcp.seal(server, kept | literals)


def _check_egress(entry: dict[str, Any]) -> None:
    if "url" not in entry:
        return
    target = urlsplit(entry["url"])
    try:
        egress.resolve(target.hostname, target.port or addresses.PORTS[target.scheme], ())
    except OSError:  # a name that has no address now may have one later
        return
    except Forbidden as error:
        raise Invalid(error.message, "egress_refused", {"config.url": [error.message]}) from error


def update(server: McpServer, given: dict[str, Any]) -> bool:
    """Changes what differs; whether anything did. Raises Invalid."""
    columns = {name: given[name] for name in ("name", "description", "enabled", "setup_agent_id") if name in given}
    changed = {name: value for name, value in columns.items() if getattr(server, name) != value}
    moved = _reconfigure(server, given)
    if not changed and not moved:
        return False
    if moved:
        server.generation += 1
        mcp.unpin(server.id)
    mcp.touch(server, **changed)
    if moved or "enabled" in changed:
        _resettle(server)
    mcp_grants.changed()
    return True


def _reconfigure(server: McpServer, given: dict[str, Any]) -> bool:
    """Whether the entry or the sandbox became another one."""
    before = (server.config, mcp.literals(server), server.sandbox)
    if "sandbox" in given:
        server.sandbox = _box({"sandbox": server.sandbox | (given["sandbox"] or NO_SANDBOX)})
    if "config" in given:
        _configure(server, given["config"], server.config)
    return (server.config, mcp.literals(server), server.sandbox) != before


def _resettle(server: McpServer) -> None:
    """What it is now depends on what a worker finds, or on a person."""
    settle(server, CONFIGURING if server.enabled else STOPPED, why_idle(server))
    ring(server)


def settle(server: McpServer, status: str, reason: str | None) -> None:
    """Stores a status that a person, or a row, decides."""
    columns = {"failures": 0, "next_retry_at": None}
    if (server.status, server.status_reason) != (status, reason):
        tell(server, "mcp_status_changed", status=status, reason=reason)
    McpServer.update(status=status, status_reason=reason, **columns).where(McpServer.id == server.id).execute()


def remove(server: McpServer) -> None:
    """With its tools and grants; its process ends as soon as the supervisor looks."""
    silence(server.id)
    mcp_grants.forget(server.id)
    mcp_logins.forget(server.id)
    mcp.forget(server)
    mcp_grants.changed()
    tell(server, "mcp_status_changed", status="deleted", reason=None)


def approve(server: McpServer, sha256: str, by: str) -> None:
    """Lets the supervisor run exactly this. Raises Conflict."""
    needed = server.approval
    if needed is None or server.is_approved:
        raise Conflict(f"{server.id} waits for no approval", "approval_not_needed")
    if not config.get().runs_mcp_programs:
        raise Conflict(STDIO_DISABLED, "stdio_disabled")
    if needed["sha256"] != sha256:
        raise Conflict(f"{server.id} is not what was shown any more: look again", "approval_changed")
    mcp.touch(server, approved=needed, approved_by=by, approved_at=now_ms())
    _resettle(server)


def restart(server: McpServer) -> None:
    """Its session ends and a new one begins."""
    McpServer.update(restart_wanted=McpServer.restart_wanted + 1).where(McpServer.id == server.id).execute()
    ring(server)


# --- reports from outside, and decisions of people ---


def report_status(server: McpServer, status: str, reason: str | None, managed: bool) -> None:
    """Exactly that status; of a managed server also what follows from it."""
    mcp.touch(server, paused=managed and status == STOPPED)
    mcp_grants.changed()
    settle(server, status, reason)
    silence(server.id)
    if managed and status in (CONFIGURING, RUNNING):
        doorbell("mcp_check", server.id)


def report_tools(server: McpServer, tools: list[dict[str, Any]]) -> None:
    mcp.replace_tools(server.id, tools)
    mcp_grants.changed()
    tell(server, "mcp_tools_changed", tools=len(tools))


def set_tool(server: McpServer, tool: McpTool, columns: dict[str, Any]) -> bool:
    """Whether that changed anything."""
    changed = {name: value for name, value in columns.items() if getattr(tool, name) != value}
    if changed:
        mcp.set_tool(tool, **changed)
        _tools_changed(server)
    return bool(changed)


def approve_tool(server: McpServer, tool: McpTool, schema_hash: str) -> bool:
    """The tool as it was shown may be called; False if it could be before. Raises Conflict."""
    waits = tool.drift["schema_hash"] if tool.drift else tool.schema_hash
    if waits != schema_hash:
        raise Conflict(f"{tool.name} is not what was shown any more: look again", "approval_changed")
    if tool.drift is None and tool.enabled:
        return False
    if tool.drift is not None:
        mcp.accept_drift(tool)
    else:
        mcp.set_tool(tool, enabled=True)
    _tools_changed(server)
    return True


def _tools_changed(server: McpServer) -> None:
    mcp_grants.changed()
    tell(server, "mcp_tools_changed", tools=len(mcp.tools(server.id)))


def grant(server: McpServer, agent_id: str, tool: str, by: str) -> bool:
    """Whether that changed anything. Raises NotFound."""
    if tool != mcp_grants.EVERY:
        mcp.tool(server.id, tool)
    return mcp_grants.grant(agent_id, server.id, tool, by)
