"""Logging in at MCP servers that want it (OAuth 2.1)."""

from __future__ import annotations

from flask import Blueprint as Plain
from flask import Response, request
from flask.views import MethodView

from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.resources import mcp_schemas as schemas
from api.resources.control_schemas import NothingSchema
from models import database, mcp
from models.errors import Invalid
from workers import mcp as commands
from workers import mcp_wire

blueprint = Blueprint("mcp_oauth", "mcp_oauth", url_prefix="/v1", description="Logging in at MCP servers")
landing = Plain("mcp_landing", __name__, url_prefix="/v1")
SECONDS = 60.0  # that the supervisor may take
LONGEST = 4096  # characters of what comes back
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
        return {"authorization_url": answer["url"], "expires_in": answer["expires_in"]}


@landing.get("/mcp/oauth/callback")
@needs("public")
def mcp_oauth_callback():
    """Where the server sends the browser back to; the state proves that it was sent away from here"""
    given = {name: request.args.get(name, "")[:LONGEST] for name in ("code", "state", "iss", "error")}
    if not given["state"] or not (given["code"] or given["error"]):
        raise Invalid("state and code are needed", errors={"state": ["required"], "code": ["required"]})
    answer = mcp_wire.ask("authorized", "", SECONDS, **given | {"iss": given["iss"] or None})
    with database.transaction():
        commands.ring(mcp.find(answer["server_id"]))
    return Response(DONE, content_type="text/plain; charset=utf-8")


mcp_oauth_callback.takes_query = True
mcp_oauth_callback.lands = True
