"""The ledger of LLM calls: what was asked, what it cost."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from flask.views import MethodView
from marshmallow import fields, validate

from api.blueprint import Blueprint, needs
from api.paging import PageSchema, decode, link
from api.schemas import AnswerSchema, PeriodSchema
from models import ledger
from models.errors import Invalid

blueprint = Blueprint("ledger", "ledger", url_prefix="/v1", description="LLM calls and what they cost")
STATUSES = ["ok", "error", "cancelled", "reserved"]


class CallFilterSchema(PeriodSchema):
    run_id = fields.Str()
    step_id = fields.Str()
    session_id = fields.Str(metadata={"description": "Of a chat, or the agent session of a step"})
    agent_id = fields.Str()
    pipeline_id = fields.Str()
    project_id = fields.Str()
    provider = fields.Str()
    model = fields.Str(metadata={"description": "Without the provider"})
    status = fields.Str(validate=validate.OneOf(STATUSES))


class CallPageSchema(CallFilterSchema, PageSchema):
    """The query of the ledger."""


class SummaryFilterSchema(CallFilterSchema):
    group_by = fields.Str(load_default="model", validate=validate.OneOf(list(ledger.GROUPS)))
    timezone = fields.Str(load_default="UTC", metadata={"description": "IANA name, where days begin"})


class CallSchema(AnswerSchema):
    """A call as the ledger has it."""

    id = fields.Str(required=True)
    run_id = fields.Str(required=True, allow_none=True)
    epoch = fields.Int(required=True, allow_none=True)
    step_id = fields.Str(required=True, allow_none=True)
    attempt = fields.Int(required=True, allow_none=True)
    turn = fields.Int(required=True, allow_none=True)
    session_id = fields.Str(required=True, allow_none=True)
    message_id = fields.Str(required=True, allow_none=True)
    agent_id = fields.Str(required=True, allow_none=True)
    provider = fields.Str(required=True)
    model = fields.Str(required=True)
    status = fields.Str(required=True, metadata={"enum": STATUSES})
    input_tokens = fields.Int(required=True)
    output_tokens = fields.Int(required=True)
    cache_read_tokens = fields.Int(required=True)
    cache_write_tokens = fields.Int(required=True)
    reasoning_tokens = fields.Int(required=True)
    cost_usd = fields.Float(required=True, allow_none=True, metadata={"description": "null: the price is not known"})
    price_id = fields.Str(required=True, allow_none=True)
    raw_usage = fields.Dict(required=True)
    finish_reason = fields.Str(required=True, allow_none=True)
    error = fields.Str(required=True, allow_none=True)
    http_status = fields.Int(required=True, allow_none=True)
    try_ = fields.Int(data_key="try", required=True)
    fallback_from = fields.Str(required=True, allow_none=True)
    duration_ms = fields.Int(required=True)
    first_token_ms = fields.Int(required=True, allow_none=True)
    created_at = fields.Int(required=True)


class SumsSchema(AnswerSchema):
    calls = fields.Int(required=True)
    errors = fields.Int(required=True)
    input_tokens = fields.Int(required=True)
    output_tokens = fields.Int(required=True)
    cache_read_tokens = fields.Int(required=True)
    cost_usd = fields.Float(required=True)
    unpriced_calls = fields.Int(required=True)
    avg_duration_ms = fields.Int(required=True, allow_none=True)


class GroupSchema(SumsSchema):
    key = fields.Str(required=True, allow_none=True)


class SummarySchema(AnswerSchema):
    total = fields.Nested(SumsSchema, required=True)
    groups = fields.List(fields.Nested(GroupSchema), required=True)


@blueprint.route("/llm-calls")
class LLMCalls(MethodView):
    @needs("read")
    @blueprint.arguments(CallPageSchema, location="query")
    @blueprint.response(200, CallSchema(many=True))
    def get(self, query):
        """Calls of language models, newest first"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        found = ledger.page(ledger.Filters(**query), limit + 1, cursor)
        return link(found, limit, ledger.place)


@blueprint.route("/llm-calls/summary")
class LLMCallSummary(MethodView):
    @needs("read")
    @blueprint.arguments(SummaryFilterSchema, location="query")
    @blueprint.response(200, SummarySchema)
    def get(self, query):
        """What calls used and cost, in all and by model, provider, agent, pipeline, run or day"""
        group_by, zone = query.pop("group_by"), zone_of(query.pop("timezone"))
        return ledger.summary(ledger.Filters(**query), group_by, zone)


def zone_of(name: str) -> ZoneInfo:
    """Raises Invalid."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        reason = {"timezone": ["not the name of a time zone"]}
        raise Invalid(f"There is no time zone {name!r}", "bad_timezone", reason) from None
