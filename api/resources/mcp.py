"""MCP servers: whose tools agents may be given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import g
from flask.views import MethodView

from api import etags
from api.audited import Entry, recorded
from api.blueprint import Blueprint, needs
from api.paging import decode, link
from api.resources import mcp_schemas as schemas
from api.resources.control_schemas import NothingSchema
from api.resources.skills import one_of
from models import config, database, mcp, mcp_views
from models.errors import DjinnBotError
from models.mcp import McpServer
from workers import mcp as commands

blueprint = Blueprint("mcp", "mcp", url_prefix="/v1", description="MCP servers and their tools")
CHANGES_BY_ITSELF = ("status", "status_reason", "tools", "discovered_tools", "restarts", "managed")
CHANGES_BY_ITSELF += ("last_checked_at", "next_retry_at", "last_call_at")


@blueprint.route("/mcp")
class McpServers(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.McpServerFilterSchema, location="query")
    @blueprint.response(200, schemas.McpServerSchema(many=True))
    def get(self, query):
        """MCP servers by name, with their tools"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        found = mcp_views.page(limit + 1, cursor, stdio=runs_programs(), **query)
        return link(found, limit, lambda server: f"{server['name']} {server['id']}")

    @needs("admin")
    @blueprint.arguments(schemas.McpCreateServerSchema, example=schemas.CREATE_EXAMPLE)
    @blueprint.response(201, schemas.McpServerSchema)
    @blueprint.errors(409)
    def post(self, body):
        """Register an MCP server; nothing is run before a program is approved"""
        server_id = commands.checked_id(body.pop("id", None), body["name"])
        with recorded("mcp.create", "mcp_server", server_id, fields=sorted(body)):
            commands.create(server_id, body)
        shown, headers = answered(server_id)
        return shown, headers | {"Location": f"/v1/mcp/{server_id}"}


@blueprint.route("/mcp/config.json")
class McpConfig(MethodView):
    @needs("read", beside="worker")
    @blueprint.response(200, schemas.McpGatewaySchema)
    @blueprint.errors(409)
    def get(self):
        """The enabled servers in the file format of mcpo and other gateways; real values for a worker's token"""
        if g.token.scope != "worker":
            return gateway_file(reveal=False)
        with recorded("mcp.read_config", "mcp_server"):
            return gateway_file(reveal=True)


@blueprint.route("/mcp/import")
class McpImport(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpImportSchema, example=schemas.IMPORT_EXAMPLE)
    @blueprint.response(200, schemas.McpImportedSchema(many=True))
    def post(self, body):
        """Register the servers of a gateway's file, each by itself; nothing is run"""
        return [imported(name, entry) for name, entry in body["mcpServers"].items()]


@blueprint.route("/mcp/restart")
class McpRestart(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(202, schemas.McpRestartSchema)
    def post(self, _):
        """End every session and begin it anew"""
        with recorded("mcp.restart", "mcp_server", "*"):
            for server in mcp.wanted():
                commands.restart(server)
        return {"status": "restart_requested"}


@blueprint.route("/mcp/<id:server_id>")
class McpServerById(MethodView):
    @needs("read")
    @blueprint.response(200, schemas.McpServerSchema)
    @blueprint.errors(404)
    def get(self, server_id):
        """One MCP server"""
        return answered(server_id)

    @needs("admin")
    @blueprint.arguments(schemas.McpUpdateServerSchema, example={"description": "The files of the team"})
    @blueprint.response(200, schemas.McpServerSchema)
    @blueprint.errors(404, 409, 412)
    def put(self, body, server_id):
        """Change a server; another program, folder, variable or sandbox waits for approval again"""
        with changing(server_id, "mcp.update", fields=sorted(body)) as (server, entry):
            entry.changed = commands.update(server, body)
        return answered(server_id)

    @needs("admin")
    @blueprint.response(204)
    @blueprint.errors(404, 412)
    def delete(self, server_id):
        """Remove a server with its tools and grants; its program ends"""
        with changing(server_id, "mcp.delete") as (server, _):
            commands.remove(server)


@blueprint.route("/mcp/<id:server_id>/status")
class McpServerStatus(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpStatusSchema, example={"status": "stopped", "reason": "maintenance"})
    @blueprint.response(200, schemas.McpServerSchema)
    @blueprint.errors(404, 412)
    def patch(self, body, server_id):
        """Report a server's status; one of our own is stopped or resumed by it"""
        with changing(server_id, "mcp.status", status=body["status"]) as (server, _):
            managed = mcp_views.is_managed(server, runs_programs())
            commands.report_status(server, body["status"], body["reason"], managed)
        return answered(server_id)


@blueprint.route("/mcp/<id:server_id>/tools")
class McpServerTools(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpReportToolsSchema, example={"tools": ["read_file", {"name": "write_file"}]})
    @blueprint.response(200, schemas.McpServerSchema)
    @blueprint.errors(404, 412)
    def patch(self, body, server_id):
        """Report a server's tools, for gateways that discover for us; they replace those that were known"""
        with changing(server_id, "mcp.tools", tools=len(body["tools"])) as (server, _):
            commands.report_tools(server, body["tools"])
        return answered(server_id)


@blueprint.route("/mcp/<id:server_id>/enabled")
class McpServerEnabled(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpEnabledQuerySchema, location="query")
    @blueprint.arguments(schemas.McpEnabledSchema, required=False, example={"enabled": False})
    @blueprint.response(200, schemas.McpServerSchema)
    @blueprint.errors(404, 412)
    def patch(self, query, body, server_id):
        """Let a server run, or not"""
        enabled = one_of(query["enabled"], (body or {}).get("enabled"))
        with changing(server_id, "mcp.enable", enabled=enabled) as (server, entry):
            entry.changed = commands.update(server, {"enabled": enabled})
        return answered(server_id)


@blueprint.route("/mcp/<id:server_id>/approve")
class McpServerApprove(MethodView):
    @needs("admin")
    @blueprint.arguments(schemas.McpApproveSchema, example={"sha256": "9f2c" * 16})
    @blueprint.response(200, schemas.McpServerSchema)
    @blueprint.errors(404, 409, 412)
    def post(self, body, server_id):
        """Let exactly the program that was shown run"""
        with changing(server_id, "mcp.approve", sha256=body["sha256"]) as (server, entry):
            commands.approve(server, body["sha256"], g.token.name)
            entry.detail |= server.approved
        return answered(server_id)


@blueprint.route("/mcp/<id:server_id>/discover")
class McpServerDiscover(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(202, schemas.McpServerSchema)
    @blueprint.errors(404)
    def post(self, _, server_id):
        """Have the server's tools looked at now"""
        with changing(server_id, "mcp.discover") as (server, _):
            commands.ring(server)
        return answered(server_id)


@blueprint.route("/mcp/<id:server_id>/restart")
class McpServerRestart(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(202, schemas.McpRestartSchema)
    @blueprint.errors(404)
    def post(self, _, server_id):
        """End the server's session and begin it anew"""
        with changing(server_id, "mcp.restart") as (server, _):
            commands.restart(server)
        return {"status": "restart_requested"}


def runs_programs() -> bool:
    return config.get().runs_mcp_programs


def gateway_file(reveal: bool) -> Any:
    found = {"mcpServers": mcp_views.entries(reveal)}
    return etags.answer(found, etags.of(found))


def imported(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What became of one entry."""
    try:
        server_id = commands.checked_id(None, name)
        with recorded("mcp.create", "mcp_server", server_id, imported=True):
            server = commands.create(server_id, {"name": name, "config": entry})
    except DjinnBotError as error:
        return {
            "id": None,
            "name": name,
            "status": "failed",
            "code": error.code,
            "detail": error.message,
            "server": None,
        }
    shown = mcp_views.one(server, runs_programs())
    return {"id": server_id, "name": name, "status": "created", "code": None, "detail": None, "server": shown}


@contextmanager
def changing(server_id: str, action: str, **detail: Any) -> Iterator[tuple[McpServer, Entry]]:
    """The server and its entry for the audit log: one transaction, in which nobody else changes servers.

    Raises NotFound, PreconditionFailed.
    """
    with recorded(action, "mcp_server", server_id, **detail) as entry:
        database.serialize()
        server = mcp.find(server_id)
        etags.check(etags.of(mcp_views.one(server, runs_programs()), CHANGES_BY_ITSELF))
        yield server, entry


def answered(server_id: str) -> Any:
    shown = mcp_views.one(mcp.find(server_id), runs_programs())
    return etags.answer(shown, etags.of(shown, CHANGES_BY_ITSELF))
