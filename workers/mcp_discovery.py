"""What MCP servers are found to be: whether they answer, which tools they have, and when to look again.

Whatever is found is stored only if the server still is what was asked (compare-and-set on its generation).
"""

from __future__ import annotations

import random
from typing import Any

import structlog

from models import database, mcp, mcp_configs, mcp_grants, outbox, redaction, settings
from models.base import new_id, now_ms
from models.errors import DjinnBotError
from models.mcp import CONFIGURING, ERROR, RUNNING, STOPPED, McpServer
from workers import mcp as commands
from workers import mcp_wire
from workers.broker import actor, later

log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 2.0, 300.0
JITTER = 0.2  # of a retry's time, either way
TOLD_DRIFTS = 20  # events for one discovery


@actor
def mcp_discover(server_id: str) -> None:
    """Opens the server if it is not open, and brings its row up to what it answers."""
    _look(server_id, "list")


@actor
def mcp_check(server_id: str) -> None:
    """The same for a server that should be open; a program that was sent to sleep sleeps on."""
    _look(server_id, "check")


def _look(server_id: str, op: str) -> None:
    net = new_id("mcp_")  # the doorbell that rings if this worker dies over it
    with database.transaction():
        server = _begin(server_id, net)
    if server is None:
        return
    answer, failure = None, None
    try:
        answer = mcp_wire.ask(op, server_id, _patience(server), key=[server.generation, server.restart_wanted])
    except DjinnBotError as error:
        failure = redaction.server().clean(error.message)[:500]
        log.warning("mcp_server_failed", server=server_id, error=failure)
    with database.transaction():
        _settle(server, net, op, answer, failure)


def _patience(server: McpServer) -> float:
    return 2 * mcp_configs.timeout(server.config) + mcp_wire.START_SECONDS + mcp_wire.SLACK_SECONDS


def _begin(server_id: str, net: str) -> McpServer | None:
    """The server, if it is to run."""
    server = mcp.known(server_id)
    commands.silence(server_id)
    if server is None:
        return None
    if why := commands.why_idle(server):
        commands.settle(server, CONFIGURING if server.enabled and not server.paused else STOPPED, why)
        return None
    later("mcp_discover", server_id, net, int(1000 * (_patience(server) + mcp_wire.START_SECONDS)))
    return server


def _settle(asked: McpServer, net: str, op: str, answer: dict[str, Any] | None, failure: str | None) -> None:
    """Stores what was found and sets the time of the next look."""
    database.serialize()
    outbox.answered(asked.id, net)
    server = mcp.known(asked.id)
    if server is None or server.generation != asked.generation or commands.why_idle(server):
        return
    if failure is not None:
        _failed(server, failure)
        return
    if answer.get("asleep"):
        _observe(server, RUNNING, server.status_reason if server.status == RUNNING else None, next_retry_at=None)
    else:
        _found(server, answer, recovered=op == "check")
    _again("mcp_check", server, settings.get("mcpHealthIntervalSec"))


def _failed(server: McpServer, why: str) -> None:
    failures = server.failures + 1
    seconds = min(FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 20), LONGEST_RETRY_SECONDS)
    seconds *= random.uniform(1 - JITTER, 1 + JITTER)
    _observe(server, ERROR, why, failures=failures, next_retry_at=now_ms() + int(seconds * 1000))
    _again("mcp_discover", server, seconds)


def _found(server: McpServer, answer: dict[str, Any], recovered: bool) -> None:
    """`recovered`: it stayed alive between two looks, so an earlier failure is over."""
    first = server.pinned_generation != server.generation
    changed, drifted = mcp.found_tools(server, answer["tools"], settings.get("mcpAutoEnableNewTools"))
    columns: dict[str, Any] = {"next_retry_at": None, "pinned_generation": server.generation}
    if recovered:
        columns["failures"] = 0
    if answer["opened"] and not first:
        columns["restarts"] = server.restarts + 1
    _observe(server, RUNNING, "; ".join(answer["left_out"])[:500] or None, **columns)
    if changed:
        mcp_grants.changed()
        commands.tell(server, "mcp_tools_changed", tools=len(answer["tools"]))
    for name in drifted[:TOLD_DRIFTS]:
        commands.tell(server, "mcp_tool_drifted", tool=name)


def _observe(server: McpServer, status: str, reason: str | None, **columns: Any) -> None:
    if mcp.observe(server, status, reason, **columns):
        commands.tell(server, "mcp_status_changed", status=status, reason=reason)


def _again(actor_name: str, server: McpServer, seconds: float) -> None:
    """Unless somebody has rung meanwhile."""
    if not outbox.stands(server.id, ""):
        later(actor_name, server.id, "", int(seconds * 1000))
