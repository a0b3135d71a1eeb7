"""The tools of MCP servers: trying them out, approving what has changed, finding one."""

from __future__ import annotations

from typing import Any

from flask import g
from flask.views import MethodView

from api import agent_views
from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import mcp_schemas as schemas
from api.resources.mcp import changing, runs_programs
from models import database, mcp, mcp_calls, mcp_configs, mcp_search, mcp_views
from models.errors import Conflict, Invalid
from models.mcp import ACTIVE, McpServer, McpTool
from pipelines import arguments
from workers import mcp as commands
from workers import mcp_calls as calls

blueprint = Blueprint("mcp_tools", "mcp_tools", url_prefix="/v1", description="The tools of MCP servers")


@blueprint.route("/mcp/tools/search")
class McpToolSearch(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.McpSearchSchema, location="query")
    @blueprint.response(200, schemas.McpFoundToolSchema(many=True))
    @blueprint.errors(404)
    def get(self, query):
        """Tools that fit the words best, of all servers or of what an agent may call"""
        agent_id = query["agent_id"] and agent_views.find(query["agent_id"]).id
        return mcp_search.best(query["query"], query["limit"], agent_id)


@blueprint.route("/mcp/<id:server_id>/calls")
class McpCalls(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.McpLedgerSchema, location="query")
    @blueprint.response(200, schemas.McpLedgerLineSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, server_id):
        """The calls of a server's tools, newest first"""
        mcp.find(server_id)
        found = mcp_calls.page(server_id, query["limit"] + 1, decode(query["cursor"]))
        return link(found, query["limit"], lambda call: call["id"])


@blueprint.route("/mcp/<id:server_id>/tools/<tool:tool>")
class McpToolByName(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpToolChangesSchema, example={"enabled": True})
    @blueprint.response(200, schemas.McpToolSchema)
    @blueprint.errors(404)
    def patch(self, body, server_id, tool):
        """Let a tool be used or not, or describe it in other words"""
        with changing(server_id, "mcp.tool", tool=tool, fields=sorted(body)) as (server, entry):
            entry.changed = commands.set_tool(server, mcp.tool(server_id, tool), body)
        return mcp_views.tool_object(mcp.tool(server_id, tool), server)


@blueprint.route("/mcp/<id:server_id>/tools/<tool:tool>/drift")
class McpToolDrift(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.McpDriftSchema)
    @blueprint.errors(404)
    def get(self, server_id, tool):
        """What a tool was approved as, and what it is now"""
        mcp.find(server_id)
        return mcp_views.drift(mcp.tool(server_id, tool))


@blueprint.route("/mcp/<id:server_id>/tools/<tool:tool>/approve")
class McpToolApprove(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpApproveToolSchema, example={"schema_hash": "9f2c" * 16})
    @blueprint.response(200, schemas.McpToolSchema)
    @blueprint.errors(404, 409)
    def post(self, body, server_id, tool):
        """Let exactly the tool that was shown be called"""
        with changing(server_id, "mcp.approve_tool", tool=tool, **body) as (server, entry):
            entry.changed = commands.approve_tool(server, mcp.tool(server_id, tool), body["schema_hash"])
        return mcp_views.tool_object(mcp.tool(server_id, tool), server)


@blueprint.route("/mcp/<id:server_id>/tools/<tool:tool>/call")
class McpToolCall(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpCallSchema, example=schemas.CALL_EXAMPLE)
    @blueprint.response(200, schemas.McpCallResultSchema)
    @blueprint.errors(404, 409, 502, 503, 504)
    def post(self, body, server_id, tool):
        """Try a tool out"""
        server, found = callable_tool(server_id, tool)
        check_arguments(found, body["arguments"])
        facts = {"tool": tool, "arguments_hash": mcp_calls.arguments_hash(body["arguments"])}
        with recorded("mcp.call", "mcp_server", server_id, **facts):
            seconds = body["timeout"] or mcp_configs.timeout(server.config)
        database.release()
        answer = calls.call(server_id, tool, body["arguments"], seconds, caller=g.token.name)
        return {"ok": not answer["is_error"]} | answer


def callable_tool(server_id: str, name: str) -> tuple[McpServer, McpTool]:
    """Raises NotFound, Conflict."""
    server, tool = mcp.find(server_id), mcp.tool(server_id, name)
    if why := commands.why_idle(server):
        raise Conflict(f"{server_id} does not run: {why}", "server_not_running")
    if not mcp_views.is_managed(server, runs_programs()) or server.status != "running":
        raise Conflict(f"{server_id} is {server.status}", "server_not_running")
    if (state := tool.state(server.config)) != ACTIVE:
        raise Conflict(f"{name} is {state}", "tool_not_active")
    return server, tool


def check_arguments(tool: McpTool, given: dict[str, Any]) -> None:
    """Raises Invalid."""
    if problems := arguments.problems(tool.input_schema, given):
        raise Invalid("; ".join(problems), errors={"arguments": problems})
