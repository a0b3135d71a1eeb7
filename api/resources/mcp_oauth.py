"""Logging in at MCP servers that want it (OAuth 2.1)."""

from __future__ import annotations

from flask import Response, request
from flask.views import MethodView

from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.resources import mcp_login_schemas as schemas
from api.resources.control_schemas import NothingSchema
from models import database, mcp
from workers import mcp as commands
from workers import mcp_wire

blueprint = Blueprint("mcp_oauth", "mcp_oauth", url_prefix="/v1", description="Logging in at MCP servers")
SECONDS = 60.0  # that the supervisor may take
DONE = "You are logged in. You can close this window.\n"


@blueprint.route("/mcp/<id:server_id>/oauth/start")
class McpOauthStart(MethodView):
    @needs("admin")
    @blueprint.arguments(NothingSchema, required=False, example={})
    @blueprint.response(200, schemas.McpLoginSchema)
    @blueprint.errors(404, 409, 502, 503, 504)
    def post(self, _, server_id):
        """Where to log in at the server; it sends the browser back here"""
        with recorded("mcp.login", "mcp_server", server_id):
            mcp.find(server_id)
        database.release()
        callback = f"{request.host_url.rstrip('/')}/v1/mcp/oauth/callback"
        answer = mcp_wire.ask("authorize", server_id, SECONDS, redirect_uri=callback)
        with database.transaction():
            mcp.begin_login(server_id, answer["state"])
        return {"authorization_url": answer["url"], "expires_in": answer["expires_in"]}


@blueprint.route("/mcp/oauth/callback")
class McpOauthCallback(MethodView):
    @needs("public")
    @blueprint.arguments(schemas.McpLandingSchema, location="query")
    @blueprint.response(200, description="You are logged in")
    @blueprint.errors(409, 502, 503, 504)
    def get(self, query):
        """Where the server sends the browser back to; the state proves that it was sent away from here"""
        mcp.end_login(query["state"])
        answer = mcp_wire.ask("authorized", "", SECONDS, **query | {"iss": query["iss"] or None})
        with database.transaction():
            commands.ring(mcp.find(answer["server_id"]))
        return Response(DONE, content_type="text/plain; charset=utf-8")

    get.lands = True
