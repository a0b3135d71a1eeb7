"""Events: a run's log, live streams, and the tickets that let a browser open one."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
from flask import Response, g, request
from flask.views import MethodView
from marshmallow import fields

from api import selection
from api.blueprint import Blueprint, needs
from api.paging import PageSchema, decode, link
from api.schemas import MAX_SAFE, AnswerSchema, CommaList, RequestSchema, query_integer
from api.sse import hub
from api.streams import Stream
from models import cursors, events, run_views, tokens
from models.errors import Invalid

blueprint = Blueprint("events", "events", url_prefix="/v1", description="What happened and what happens")
TYPES = CommaList(load_default=list, metadata={"description": "Names, `*` at the end allowed: run_*,step_*"})
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
TICKET_EXAMPLE = {"ticket": "pX2c...", "expires_at": 1790000060000}
FRAME_EXAMPLE = 'id: 1\nevent: run_created\ndata: {"type":"run_created","seq":1}\n\n'


class EventSchema(AnswerSchema):
    """An event: the envelope, then what is particular to its type."""

    class Meta:
        unknown = ma.INCLUDE

    type = fields.Str(required=True)
    seq = fields.Int(required=True)
    timestamp = fields.Int(required=True)
    run_id = fields.Str(required=True, allow_none=True)
    epoch = fields.Int(required=True, allow_none=True)
    step_id = fields.Str(required=True, allow_none=True)
    visit = fields.Int(required=True, allow_none=True)
    attempt = fields.Int(required=True, allow_none=True)
    item_index = fields.Int(required=True, allow_none=True)
    session_id = fields.Str(required=True, allow_none=True)
    agent_id = fields.Str(required=True, allow_none=True)


class LogSchema(PageSchema):
    after_seq = query_integer(0, MAX_SAFE, load_default=0)
    types = TYPES
    step_id = fields.Str(load_default=None)
    epoch = query_integer(1, 2**31 - 1, load_default=None)


class StreamSchema(ma.Schema):
    run_id = fields.Str(load_default=None)
    session_id = fields.Str(load_default=None)
    project_id = fields.Str(load_default=None)
    pipeline_id = fields.Str(load_default=None)
    agent_id = fields.Str(load_default=None)
    tag = fields.Str(load_default=None)
    types = TYPES
    last_event_id = fields.Str(load_default="", metadata={"description": "As the Last-Event-ID header, which wins"})
    history = fields.Str(load_default=None, metadata={"description": "all, none, or how many of the last: 1..1000"})
    ticket = fields.Str(load_default=None, metadata={"description": "Instead of the Authorization header"})


class TicketRequestSchema(RequestSchema):
    run_id = fields.Str(allow_none=True, load_default=None)
    session_id = fields.Str(allow_none=True, load_default=None)


class TicketSchema(AnswerSchema):
    ticket = fields.Str(required=True)
    expires_at = fields.Int(required=True)


@blueprint.route("/runs/<id:run_id>/events")
class RunEvents(MethodView):
    @needs("read")
    @blueprint.arguments(LogSchema, location="query")
    @blueprint.response(200, EventSchema(many=True))
    @blueprint.errors(404)
    def get(self, query, run_id):
        """The log of a run, oldest first: the `data` objects of its stream"""
        run_views.fetch(run_id)
        after = max(query["after_seq"], number(decode(query["cursor"])))
        filters = {name: query[name] for name in ("types", "step_id", "epoch")}
        page, headers = link(
            events.page(run_id, after, query["limit"] + 1, **filters), query["limit"], lambda row: row["seq"]
        )
        return Response(f"[{','.join(row['data'] for row in page)}]", 200, headers, content_type="application/json")


@blueprint.route("/events/stream")
class EventStream(MethodView):
    @needs("read")
    @blueprint.arguments(StreamSchema, location="query")
    @blueprint.response(200, {"type": "string"}, content_type="text/event-stream", example=FRAME_EXAMPLE)
    @blueprint.errors(404, 429)
    def get(self, query):
        """Events as they happen (server-sent events), of one run or of the whole platform"""
        feed, wants = selection.select(query)
        hub.check_limits(g.holder)
        resume = last_event_id(query)
        if resume is not None and feed.end(resume) is not None and resume == feed.head():
            return Response(status=204)
        start = selection.start(feed, query["history"]) if resume is None else resume
        stream = Stream(feed, start, g.holder, wants, request.environ.get("gunicorn.socket"))
        return Response(iter(stream), 200, STREAM_HEADERS, content_type="text/event-stream; charset=utf-8")


@blueprint.route("/events/tickets")
class EventTickets(MethodView):
    @needs("read")
    @blueprint.arguments(TicketRequestSchema, required=False, example={"run_id": "run_01k2x8m4t6v9q3w5y7z1a2b3c4"})
    @blueprint.response(201, TicketSchema, example=TICKET_EXAMPLE)
    @blueprint.errors(404)
    def post(self, body):
        """A ticket that opens one event stream within a minute, for clients that cannot send headers"""
        selection.check(body["run_id"], body["session_id"])
        ticket, expires_at = tokens.issue_ticket(g.token, body["run_id"], body["session_id"])
        return {"ticket": ticket, "expires_at": expires_at}


def number(key: str | None) -> int:
    """The number in a cursor. Raises Invalid."""
    if key and not re.fullmatch(r"\d{1,15}", key):
        raise cursors.bad()
    return int(key or 0)


def last_event_id(query: dict[str, Any]) -> int | None:
    """The number of the last event the client has seen; the header wins. Raises Invalid."""
    given = request.headers.get("Last-Event-ID") or query["last_event_id"]
    if not given:
        return None
    if not re.fullmatch(r"[0-9]+", given):
        raise Invalid("Last-Event-ID must be digits", "bad_last_event_id", {"last_event_id": ["must be digits"]})
    return min(int(given[:20]), MAX_SAFE)
