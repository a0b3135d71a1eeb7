"""Event streams with the frames of the older clients."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import marshmallow as ma
from flask import Response, g, request
from flask.views import MethodView
from marshmallow import fields

from api.blueprint import needs
from api.compat import frames
from api.compat.blueprint import Aliases
from api.feeds import Frame, GlobalFeed, StreamFeed
from api.resources.events import STREAM_HEADERS, last_event_id
from api.sse import hub
from api.streams import Stream
from models import chats, run_views
from models.base import now_ms
from models.errors import Invalid

blueprint = Aliases("alias_streams", "alias_streams", url_prefix="/v1", description="Aliases: event streams")
EXAMPLE = 'id: 1\ndata: {"type":"RUN_CREATED","seq":1}\n\n'


class SinceSchema(ma.Schema):
    since = fields.Str(load_default=None, metadata={"description": "A number; `0`: all there is; `$`: only what comes"})
    last_event_id = fields.Str(load_default="")
    token = fields.Str(load_default=None, metadata={"description": "Ignored beside an Authorization header"})


@dataclass(slots=True)
class Unnamed(Stream):
    """A stream whose frames have no names; `encode` makes the objects of an event."""

    encode: Callable[[dict[str, Any]], list[dict[str, Any]]] = frames.of_run
    hello: str | None = None  # the chat that says `connected` when history is done

    def chunk(self, frame: Frame) -> bytes:
        return frames.lines(self.encode(frame.event), frame.id)

    def control(self, type: str, **_: Any) -> bytes:
        if type == "gap":
            return frames.line({"type": "GAP"})
        if type == "ready" and self.hello:
            return frames.line({"type": "connected", "session_id": self.hello, "timestamp": now_ms()})
        return b""


def opened(feed: StreamFeed | GlobalFeed, start: int, resumed: bool, **options: Any) -> Response:
    """The stream from event `start` on. Raises TooMany."""
    hub.check_limits(g.holder)
    if resumed and feed.end(start) is not None and start == feed.head():
        return Response(status=204)
    stream = Unnamed(feed, start, g.holder, connection=request.environ.get("gunicorn.socket"), **options)
    return Response(iter(stream), 200, STREAM_HEADERS, content_type="text/event-stream; charset=utf-8")


def place(query: dict[str, Any], feed: StreamFeed | GlobalFeed, default: int) -> tuple[int, bool]:
    """(after which event to begin, whether a client comes back to it). Raises Invalid."""
    resume = last_event_id(query)
    if resume is not None:
        return resume, True
    since = query["since"]
    if since is None:
        return default, False
    if since == "$":
        return feed.head(), False
    if not re.fullmatch(r"[0-9]{1,15}", since):
        raise Invalid("`since` is a number, or $", errors={"since": ["a number, or $"]})
    return int(since), since != "0"


def streamed(view: Callable) -> Callable:
    """A stream that these clients open with a token in the query beside the header."""
    view.ignores_token = True
    return view


@blueprint.route("/events/stream/<id:run_id>")
class AliasRunStream(MethodView):
    @streamed
    @needs("read")
    @blueprint.arguments(SinceSchema, location="query")
    @blueprint.response(200, {"type": "string"}, content_type="text/event-stream", example=EXAMPLE)
    @blueprint.errors(404, 429)
    def get(self, query, run_id):
        """As GET /events/stream?run_id="""
        feed = StreamFeed(run_views.fetch(run_id)["id"])
        return opened(feed, *place(query, feed, 0))


@blueprint.route("/events/chat-sessions")
class AliasChatsStream(MethodView):
    @streamed
    @needs("read")
    @blueprint.arguments(SinceSchema, location="query")
    @blueprint.response(200, {"type": "string"}, content_type="text/event-stream", example=EXAMPLE)
    @blueprint.errors(429)
    def get(self, query):
        """As GET /events/stream?types=chat_*"""
        feed = GlobalFeed()
        start, resumed = place(query, feed, feed.head())
        return opened(feed, start, resumed, wants=lambda frame: frame.type.startswith("chat_"))


@blueprint.route("/agents/sessions/<id:session_id>/events")
class AliasChatStream(MethodView):
    @streamed
    @needs("read")
    @blueprint.arguments(SinceSchema, location="query")
    @blueprint.response(200, {"type": "string"}, content_type="text/event-stream", example=EXAMPLE)
    @blueprint.errors(404, 429)
    def get(self, query, session_id):
        """As GET /events/stream?session_id="""
        feed = StreamFeed(session_id)
        start, resumed = place(query, feed, in_flight(session_id))
        return opened(feed, start, resumed, encode=frames.of_chat, hello=session_id)


@blueprint.route("/events/sessions/<id:session_id>/events")
class AliasChatEvents(AliasChatStream):
    """The same under another path."""


def in_flight(session_id: str) -> int:
    """The number before the answer that is being written, or of the last event. Raises NotFound."""
    session = chats.get(session_id)
    if session.active_message_id is None:
        return session.last_seq
    begun = chats.message(session.active_message_id, session_id).first_seq
    return begun - 1 if begun else session.last_seq
