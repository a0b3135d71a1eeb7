"""Aliases of the routes of MCP servers."""

from __future__ import annotations

from api.compat.blueprint import Aliases
from api.resources.mcp_grants import McpServerGrant, McpToolGrant
from api.resources.mcp_logs import McpLogs

blueprint = Aliases("alias_mcp", "alias_mcp", url_prefix="/v1", description="Aliases: MCP servers")


@blueprint.route("/mcp/logs/stream")
class AliasMcpLogs(McpLogs):
    """The same."""


@blueprint.route("/mcp/agents/<id:agent_id>/<id:server_id>/grant")
class AliasMcpServerGrant(McpServerGrant):
    """The same."""


@blueprint.route("/mcp/agents/<id:agent_id>/<id:server_id>/<tool:tool>/grant")
class AliasMcpToolGrant(McpToolGrant):
    """The same."""
