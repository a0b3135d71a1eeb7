"""Approvals: what waits for a person, and the person's decision."""

from __future__ import annotations

from flask import g
from flask.views import MethodView
from marshmallow import fields, validate

from api.audited import recorded
from api.blueprint import Blueprint, needs
from api.paging import PageSchema, decode, link
from api.schemas import MAX_SAFE, AnswerSchema, Number, RequestSchema, integer, text
from models import approvals
from workers import approvals as commands

blueprint = Blueprint("approvals", "approvals", url_prefix="/v1", description="What waits for a person")
STATUSES = ["pending", "decided", "expired", "withdrawn"]
KINDS = list(approvals.REASONS)
DECIDE_EXAMPLE = {"decision": "approve", "comment": "Looks good"}


class ApprovalFilterSchema(PageSchema):
    status = fields.Str(load_default="pending", validate=validate.OneOf([*STATUSES, "all"]))
    run_id = fields.Str(load_default=None)
    kind = fields.Str(load_default=None, validate=validate.OneOf(KINDS))


class DecisionDataSchema(RequestSchema):
    """What goes with a decision: how far to raise a budget, or the result of a tool call as a person knows it."""

    add_cost_usd = Number(allow_none=True, validate=validate.Range(0, 100_000, min_inclusive=False))
    add_tokens = integer(1, MAX_SAFE, allow_none=True)
    result = text(100_000, allow_none=True)


class DecideSchema(RequestSchema):
    decision = fields.Str(
        required=True, validate=validate.Length(1, 200), metadata={"description": "One of the approval's options"}
    )
    comment = fields.Str(allow_none=True, load_default=None, validate=validate.Length(max=10_000))
    data = fields.Nested(DecisionDataSchema, allow_none=True, load_default=dict)


class ApprovalSchema(AnswerSchema):
    """An Approval object."""

    id = fields.Str(required=True)
    kind = fields.Str(required=True, metadata={"enum": KINDS})
    status = fields.Str(required=True, metadata={"enum": STATUSES})
    run_id = fields.Str(required=True)
    step_id = fields.Str(required=True, allow_none=True)
    prompt = fields.Str(required=True)
    options = fields.List(fields.Str(), required=True)
    decision = fields.Str(required=True, allow_none=True)
    comment = fields.Str(required=True, allow_none=True)
    decided_by = fields.Str(required=True, allow_none=True)
    data = fields.Dict(required=True)
    created_at = fields.Int(required=True)
    expires_at = fields.Int(required=True, allow_none=True)
    decided_at = fields.Int(required=True, allow_none=True)


@blueprint.route("/approvals")
class Approvals(MethodView):
    @needs("read")
    @blueprint.arguments(ApprovalFilterSchema, location="query")
    @blueprint.response(200, ApprovalSchema(many=True))
    def get(self, query):
        """What waits for a person, oldest first"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        page, headers = link(approvals.page(limit + 1, cursor, **query), limit, lambda approval: approval.id)
        return [approval.as_dict() for approval in page], headers


@blueprint.route("/approvals/<id:approval_id>")
class ApprovalById(MethodView):
    @needs("read")
    @blueprint.response(200, ApprovalSchema)
    @blueprint.errors(404)
    def get(self, approval_id):
        """One approval"""
        return approvals.get(approval_id).as_dict()

    @needs("run")
    @blueprint.arguments(DecideSchema, example=DECIDE_EXAMPLE)
    @blueprint.response(200, ApprovalSchema)
    @blueprint.errors(404, 409)
    def post(self, body, approval_id):
        """Decide, once; the run goes on at that moment"""
        with recorded("approval.decide", "approval", approval_id, decision=body["decision"]):
            return commands.decide(approval_id, **body, by=g.token.name).as_dict()
