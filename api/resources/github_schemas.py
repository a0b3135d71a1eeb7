"""Schemas of GitHub's routes."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import PageSchema
from api.schemas import AnswerSchema, Flag, RequestSchema, integer, query_integer, text
from models import deliveries, github_approvals

DELIVERED_EXAMPLE = {
    "received": True,
    "duplicate": False,
    "id": "dlv_01k00000000000000000000000",
    "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "event": "issues",
    "action": "labeled",
    "status": "queued",
}
RESOLVE_EXAMPLE = {"repo": "octo/hello", "number": 7}


class PayloadSchema(AnswerSchema):
    """Whatever GitHub sends."""

    class Meta:
        unknown = ma.INCLUDE


class DeliveredSchema(AnswerSchema):
    received = fields.Bool(required=True)
    duplicate = fields.Bool(required=True)
    id = fields.Str(required=True)
    delivery_id = fields.Str(required=True)
    event = fields.Str(required=True)
    action = fields.Str(required=True, allow_none=True)
    status = fields.Str(required=True, metadata={"enum": list(deliveries.STATUSES)})


class DeliveryFilterSchema(PageSchema):
    event = fields.Str(load_default=None)
    repository = fields.Str(load_default=None)
    status = fields.Str(load_default=None, validate=validate.OneOf(deliveries.STATUSES))


class EffectSchema(AnswerSchema):
    kind = fields.Str(required=True)
    ref = fields.Str(required=True, allow_none=True)


class DeliverySchema(AnswerSchema):
    """A delivery without its body."""

    id = fields.Str(required=True)
    delivery_id = fields.Str(required=True)
    body_sha256 = fields.Str(required=True)
    hook_id = fields.Str(required=True, allow_none=True)
    event = fields.Str(required=True)
    action = fields.Str(required=True, allow_none=True)
    repository = fields.Str(required=True, allow_none=True)
    installation_id = fields.Int(required=True, allow_none=True)
    sender = fields.Str(required=True, allow_none=True)
    status = fields.Str(required=True, metadata={"enum": list(deliveries.STATUSES)})
    attempts = fields.Int(required=True)
    error = fields.Str(required=True, allow_none=True)
    effects = fields.List(fields.Nested(EffectSchema), required=True)
    received_at = fields.Int(required=True)
    processed_at = fields.Int(required=True, allow_none=True)


class ReplaySchema(RequestSchema):
    force = Flag(load_default=False, metadata={"description": "Also what was done already"})


class GitHubApprovalFilterSchema(PageSchema):
    status = fields.Str(load_default=None, validate=validate.OneOf(github_approvals.STATUSES))


class DecisionSchema(RequestSchema):
    comment = text(10_000, allow_none=True, load_default=None)


class GitHubApprovalSchema(AnswerSchema):
    id = fields.Str(required=True)
    status = fields.Str(required=True, metadata={"enum": list(github_approvals.STATUSES)})
    delivery_id = fields.Str(required=True)
    trigger_id = fields.Str(required=True)
    repository = fields.Str(required=True, allow_none=True)
    number = fields.Int(required=True, allow_none=True)
    sender = fields.Str(required=True, allow_none=True)
    association = fields.Str(required=True)
    title = fields.Str(required=True)
    html_url = fields.Str(required=True, allow_none=True)
    decided_by = fields.Str(required=True, allow_none=True)
    comment = fields.Str(required=True, allow_none=True)
    result = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)
    decided_at = fields.Int(required=True, allow_none=True)


class RepoFilterSchema(PageSchema):
    q = fields.Str(load_default=None)
    installation_id = query_integer(1, 2**53, load_default=None)
    refresh = fields.Bool(load_default=False)


class RepoSchema(AnswerSchema):
    full_name = fields.Str(required=True)
    owner = fields.Str(required=True)
    name = fields.Str(required=True)
    description = fields.Str(required=True, allow_none=True)
    private = fields.Bool(required=True)
    archived = fields.Bool(required=True)
    default_branch = fields.Str(required=True, allow_none=True)
    html_url = fields.Str(required=True, allow_none=True)
    installation_id = fields.Int(required=True, allow_none=True)
    source = fields.Str(required=True, metadata={"enum": ["app", "pat"]})
    project_ids = fields.List(fields.Str(), required=True)


class RefreshSchema(ma.Schema):
    refresh = fields.Bool(load_default=False)


class RateLimitSchema(AnswerSchema):
    remaining = fields.Int(required=True)
    limit = fields.Int(required=True)
    reset_at = fields.Int(required=True)


class AppStatusSchema(AnswerSchema):
    configured = fields.Bool(required=True)
    is_configured = fields.Bool(required=True)
    healthy = fields.Bool(required=True)
    message = fields.Str(required=True)
    missing = fields.List(fields.Str(), required=True)
    mode = fields.Str(required=True, metadata={"enum": ["app", "pat", "none"]})
    app_id = fields.Int(required=True, allow_none=True)
    app_slug = fields.Str(required=True, allow_none=True)
    app_name = fields.Str(required=True, allow_none=True)
    installation_url = fields.Str(required=True, allow_none=True)
    webhook_secret_configured = fields.Bool(required=True)
    installations = fields.Int(required=True, allow_none=True)
    rate_limit = fields.Nested(RateLimitSchema, required=True, allow_none=True)
    last_delivery_at = fields.Int(required=True, allow_none=True)
    failed_deliveries = fields.Int(required=True)
    last_reconcile_at = fields.Int(required=True, allow_none=True)
    checked_at = fields.Int(required=True, allow_none=True)
    cached = fields.Bool(required=True)


class InstallationSchema(AnswerSchema):
    installation_id = fields.Int(required=True)
    account_login = fields.Str(required=True, allow_none=True)
    account_type = fields.Str(required=True, allow_none=True)
    account_avatar_url = fields.Str(required=True, allow_none=True)
    app_id = fields.Int(required=True, allow_none=True)
    app_slug = fields.Str(required=True, allow_none=True)
    repository_selection = fields.Str(required=True, allow_none=True)
    installed_at = fields.Int(required=True, allow_none=True)


class ReconcileSchema(AnswerSchema):
    status = fields.Str(required=True)
    last_reconcile_at = fields.Int(required=True, allow_none=True)


class ResolveSchema(RequestSchema):
    ALIASES = {"issueUrl": "issue_url", "projectId": "project_id"}

    issue_url = text(500, metadata={"description": "Its address, or OWNER/NAME#N; or `repo` and `number`"})
    repo = text(201, metadata={"description": "OWNER/NAME"})
    number = integer(1, 2**31 - 1)
    model = text(200)
    project_id = text(64)


class ResolvedSchema(AnswerSchema):
    run_id = fields.Str(required=True)
    issue_title = fields.Str(required=True)
    repo_full_name = fields.Str(required=True)
    status = fields.Str(required=True)


class AppManifestSchema(AnswerSchema):
    url = fields.Str(required=True, metadata={"description": "Where a browser posts `manifest` as a form field"})
    manifest = fields.Dict(required=True)
    state = fields.Str(required=True)
    expires_at = fields.Int(required=True)


class ManifestQuerySchema(ma.Schema):
    organization = fields.Str(load_default=None, validate=validate.Regexp(r"^[A-Za-z0-9-]{1,39}\Z"))


class CallbackSchema(ma.Schema):
    code = fields.Str(required=True, validate=validate.Length(1, 200))
    state = fields.Str(required=True, validate=validate.Length(1, 200))


class MadeAppSchema(AnswerSchema):
    app_id = fields.Str(required=True)
    app_slug = fields.Str(required=True)
    app_name = fields.Str(required=True)
    installation_url = fields.Str(required=True)
