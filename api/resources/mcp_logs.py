"""What MCP servers write, as it comes."""

from __future__ import annotations

from flask import Response, current_app, g, request
from flask.views import MethodView

from api.blueprint import Blueprint, needs
from api.mcp_log_stream import LogStream
from api.resources import mcp_schemas as schemas
from api.resources.events import STREAM_HEADERS
from api.sse import hub
from models.errors import Invalid
from workers.mcp_logs import ID, Ring

blueprint = Blueprint("mcp_logs", "mcp_logs", url_prefix="/v1", description="What MCP servers write")
FRAME_EXAMPLE = 'id: 1767225600000-0\nevent: log\ndata: {"line": "listening", "level": "info"}\n\n'


@blueprint.route("/mcp/logs")
class McpLogs(MethodView):
    @needs("read")
    @blueprint.arguments(schemas.McpLogQuerySchema, location="query")
    @blueprint.response(200, {"type": "string"}, content_type="text/event-stream", example=FRAME_EXAMPLE)
    @blueprint.errors(429, 503)
    def get(self, query):
        """The lines of servers (server-sent events); the backlog alone as an array for `Accept: application/json`"""
        ring = Ring(query["server_id"], query["level"])
        if request.accept_mimetypes.best_match(["text/event-stream", "application/json"]) == "application/json":
            return current_app.json.response(backlog(ring, query["tail"]))
        hub.check_limits(g.holder)
        last = last_id()
        ring.ends()  # 503 while Redis is away
        stream = LogStream(ring, last, query["tail"], g.holder, request.environ.get("gunicorn.socket"))
        return Response(iter(stream), 200, STREAM_HEADERS, content_type="text/event-stream; charset=utf-8")


def backlog(ring: Ring, count: int) -> list:
    try:
        return ring.tail(count)
    finally:
        ring.close()


def last_id() -> str | None:
    """Raises Invalid."""
    given = request.headers.get("Last-Event-ID")
    if given and not ID.fullmatch(given):
        raise Invalid("Last-Event-ID must be an id of this log", "bad_last_event_id", {"last_event_id": ["not an id"]})
    return given or None
