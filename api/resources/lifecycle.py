"""What agents do and did: a timeline, and their sessions."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from flask.views import MethodView
from marshmallow import fields, validate

from api import definitions
from api.blueprint import Blueprint, needs
from api.paging import PageSchema, decode, link
from api.resources.step_schemas import UsageSchema
from api.schemas import MAX_SAFE, AnswerSchema, CommaList, query_integer
from models import agent_chats, agent_sessions, lifecycle, lifecycle_views

blueprint = Blueprint("lifecycle", "lifecycle", url_prefix="/v1", description="What agents do and did")
STATUSES = list(dict.fromkeys([*agent_sessions.LIVE, *agent_sessions.OVER, *map(str, agent_chats.STATUSES)]))


class TimelineFilterSchema(PageSchema):
    agent_id = fields.Str()
    run_id = fields.Str()
    session_id = fields.Str(metadata={"description": "Of a chat, or the agent session of a step"})
    project_id = fields.Str()
    type = CommaList(one_of=list(lifecycle.TYPES))
    since = query_integer(0, MAX_SAFE, metadata={"description": "ms, inclusive"})
    before = query_integer(0, MAX_SAFE, metadata={"description": "ms, exclusive"})

    @ma.validates_schema
    def _ordered(self, data: dict[str, Any], **_: Any) -> None:
        if "since" in data and "before" in data and data["since"] >= data["before"]:
            raise ma.ValidationError("must be later than since", "before")


class EntrySchema(AnswerSchema):
    """An entry of the timeline."""

    id = fields.Str(required=True)
    timestamp = fields.Int(required=True)
    type = fields.Str(required=True, metadata={"enum": list(lifecycle.TYPES)})
    agent_id = fields.Str(required=True, allow_none=True)
    run_id = fields.Str(required=True, allow_none=True)
    step_id = fields.Str(required=True, allow_none=True)
    session_id = fields.Str(required=True, allow_none=True)
    project_id = fields.Str(required=True, allow_none=True)
    task_id = fields.Str(required=True, allow_none=True)
    title = fields.Str(required=True)
    data = fields.Dict(required=True, metadata={"description": "What is particular to the type"})


class SessionFilterSchema(PageSchema):
    agent_id = fields.Str()
    kind = fields.Str(load_default=None, validate=validate.OneOf(["step", "chat"]))
    project_id = fields.Str()
    status = fields.Str(load_default="active", validate=validate.OneOf(STATUSES))
    since = query_integer(0, MAX_SAFE, metadata={"description": "ms of the last activity, inclusive"})


class AgentSessionSchema(AnswerSchema):
    """A session of an agent."""

    id = fields.Str(required=True, metadata={"description": "Opens its events: `session_id` of the stream"})
    kind = fields.Str(required=True, metadata={"enum": ["step", "chat"]})
    agent_id = fields.Str(required=True)
    status = fields.Str(required=True, metadata={"enum": [name for name in STATUSES if name not in ("active", "all")]})
    run_id = fields.Str(required=True, allow_none=True)
    step_id = fields.Str(required=True, allow_none=True)
    pipeline_id = fields.Str(required=True, allow_none=True)
    project_id = fields.Str(required=True, allow_none=True)
    prompt = fields.Str(required=True, allow_none=True, metadata={"description": "Its beginning"})
    model = fields.Str(required=True, allow_none=True)
    attempt = fields.Int(required=True, allow_none=True)
    turn_count = fields.Int(required=True)
    tool_call_count = fields.Int(required=True)
    usage = fields.Nested(UsageSchema, required=True)
    current_tool = fields.Str(required=True, allow_none=True)
    worker = fields.Str(required=True, allow_none=True)
    error = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)
    started_at = fields.Int(required=True, allow_none=True)
    last_activity_at = fields.Int(required=True)
    completed_at = fields.Int(required=True, allow_none=True)


@blueprint.route("/lifecycle/timeline")
class Timeline(MethodView):
    @needs("read")
    @blueprint.arguments(TimelineFilterSchema, location="query")
    @blueprint.response(200, EntrySchema(many=True))
    def get(self, query):
        """What happened, newest first"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        page, headers = link(lifecycle.page(lifecycle.Filters(**query), limit + 1, cursor), limit, lifecycle.place)
        return entries(page), headers


@blueprint.route("/lifecycle/sessions")
class AgentSessions(MethodView):
    @needs("read")
    @blueprint.arguments(SessionFilterSchema, location="query")
    @blueprint.response(200, AgentSessionSchema(many=True))
    def get(self, query):
        """What each agent is at or was: steps of runs and chats, the last active first"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        found = agent_sessions.page(agent_sessions.Filters(**query), limit + 1, cursor)
        page, headers = link(found, limit, agent_sessions.place)
        return agent_sessions.shown(page), headers


def entries(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of a page, with what only runs and chats know."""
    runs, chats = lifecycle.runs_of(rows), agent_chats.facts(rows)
    return [lifecycle_views.entry(row, facts(row, runs) | chats.get((row["stream"], row["seq"]), {})) for row in rows]


def facts(row: dict[str, Any], runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    run = runs.get(row["stream"])
    if run is None:
        return {}
    types = {step.key: step.type for step in definitions.pinned(run["pipeline_hash"])}
    return run | {"step_type": types.get(row["step_key"])}
