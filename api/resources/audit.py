"""The audit log: who did what to which object, when and from where."""

from __future__ import annotations

from flask.views import MethodView
from marshmallow import fields, validate

from api.blueprint import Blueprint, needs
from api.paging import PageSchema, decode, link
from api.resources.events import number
from api.schemas import MAX_SAFE, AnswerSchema, query_integer
from models import audit

blueprint = Blueprint("audit", "audit", url_prefix="/v1", description="Who did what")
OUTCOMES = ["ok", "denied", "error"]


class AuditFilterSchema(PageSchema):
    actor = fields.Str(load_default=None, metadata={"description": "The name of a token"})
    action = fields.Str(load_default=None)
    object_type = fields.Str(load_default=None)
    object_id = fields.Str(load_default=None)
    outcome = fields.Str(load_default=None, validate=validate.OneOf(OUTCOMES))
    since = query_integer(0, MAX_SAFE, load_default=None, metadata={"description": "ms, inclusive"})
    until = query_integer(0, MAX_SAFE, load_default=None, metadata={"description": "ms, exclusive"})


class ActorSchema(AnswerSchema):
    token_id = fields.Str(required=True, allow_none=True)
    name = fields.Str(required=True)
    scope = fields.Str(required=True, allow_none=True)
    kind = fields.Str(required=True, metadata={"enum": ["token", "system", "github", "anonymous"]})


class AuditEntrySchema(AnswerSchema):
    """A line of the audit log."""

    id = fields.Str(required=True)
    at = fields.Int(required=True)
    actor = fields.Nested(ActorSchema, required=True)
    ip = fields.Str(required=True, allow_none=True)
    action = fields.Str(required=True)
    object_type = fields.Str(required=True)
    object_id = fields.Str(required=True)
    outcome = fields.Str(required=True, metadata={"enum": OUTCOMES})
    detail = fields.Dict(required=True)
    request_id = fields.Str(required=True, allow_none=True)
    hash = fields.Str(required=True)


class VerifiedSchema(AnswerSchema):
    ok = fields.Bool(required=True)
    rows = fields.Int(required=True, metadata={"description": "How many are as they were written"})
    first_bad = fields.Str(required=True, allow_none=True)


@blueprint.route("/audit")
class Audit(MethodView):
    @needs("admin")
    @blueprint.arguments(AuditFilterSchema, location="query")
    @blueprint.response(200, AuditEntrySchema(many=True))
    def get(self, query):
        """Who did what, newest first"""
        cursor, limit = decode(query.pop("cursor")), query.pop("limit")
        found = audit.page(limit + 1, number(cursor) if cursor else None, **query)
        page, headers = link(found, limit, lambda row: row.seq)
        return [row.as_dict() for row in page], headers


@blueprint.route("/audit/verify")
class AuditVerify(MethodView):
    @needs("admin")
    @blueprint.response(200, VerifiedSchema)
    def get(self):
        """Whether the log is as it was written"""
        return audit.verify()
