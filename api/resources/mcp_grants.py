"""Which agents may call which tools of MCP servers."""

from __future__ import annotations

from flask import g
from flask.views import MethodView

from api import agent_views
from api.blueprint import Blueprint, needs
from api.resources import mcp_schemas as schemas
from api.resources.control_schemas import NothingSchema
from api.resources.mcp import changing
from models import mcp_grants
from models.mcp_grants import EVERY
from workers import mcp as commands

blueprint = Blueprint("mcp_grants", "mcp_grants", url_prefix="/v1", description="Which agents may call which tools")


@blueprint.route("/mcp/agents/<id:agent_id>/tools")
class McpToolsOfAgent(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.McpGrantSchema(many=True))
    @blueprint.errors(404)
    def get(self, agent_id):
        """What an agent has been granted: tools, or `*` for all of a server"""
        return mcp_grants.of_agent(agent_views.find(agent_id).id)


@blueprint.route("/mcp/agents/<id:agent_id>/manifest")
class McpManifest(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.McpManifestSchema)
    @blueprint.errors(404)
    def get(self, agent_id):
        """What an agent may call, in words"""
        return mcp_grants.manifest(agent_views.find(agent_id).id)


def granted(agent_id: str, server_id: str, tool: str) -> dict:
    """Grants, and answers the grant."""
    agent_views.find(agent_id)
    with changing(server_id, "mcp.grant", agent_id=agent_id, tool=tool) as (server, entry):
        entry.changed = commands.grant(server, agent_id, tool, g.token.name)
    listed = mcp_grants.of_agent(agent_id)
    return next(grant for grant in listed if (grant["server_id"], grant["tool_name"]) == (server_id, tool))


def revoke(agent_id: str, server_id: str, tool: str | None) -> None:
    agent_views.find(agent_id)
    with changing(server_id, "mcp.revoke", agent_id=agent_id, tool=tool):
        mcp_grants.revoke(agent_id, server_id, tool)


@blueprint.route("/mcp/agents/<id:agent_id>/<id:server_id>")
class McpServerGrant(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.McpGrantSchema)
    @blueprint.errors(404)
    def post(self, _, agent_id, server_id):
        """Let an agent call every tool of a server"""
        return granted(agent_id, server_id, EVERY)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, agent_id, server_id):
        """Take everything of a server from an agent"""
        revoke(agent_id, server_id, None)


@blueprint.route("/mcp/agents/<id:agent_id>/<id:server_id>/<tool:tool>")
class McpToolGrant(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.McpGrantSchema)
    @blueprint.errors(404)
    def post(self, _, agent_id, server_id, tool):
        """Let an agent call one tool"""
        return granted(agent_id, server_id, tool)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404)
    def delete(self, agent_id, server_id, tool):
        """Take a tool from an agent"""
        revoke(agent_id, server_id, tool)
