"""What requests to pause, fork and sweep runs say."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.resources.run_schemas import MEGABYTE, STEP_KEY, TAG, WishesSchema
from api.schemas import MAX_SAFE, AnswerSchema, RequestSchema, integer, slug
from models.status import RunStatus

OUTPUT_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z"
MOST_RUNS = 1_000
FORK_EXAMPLE = {"from_step": "TEST", "changes": {"outputs": {"review_result": "APPROVED"}}}
BULK_EXAMPLE = {"action": "restart", "filter": {"status": ["failed"], "pipeline_id": "bugfix"}, "from": "failed"}


class NothingSchema(RequestSchema):
    """A body that says nothing."""


class ChangesSchema(WishesSchema):
    """What a fork has that its source has not."""

    pipeline = fields.Str(allow_none=True, validate=validate.OneOf(["pinned", "latest"]))
    outputs = fields.Dict(
        keys=fields.Str(validate=validate.Regexp(OUTPUT_NAME)),
        values=fields.Str(validate=validate.Length(max=MEGABYTE)),
        allow_none=True,
        metadata={"description": "Outputs that the fork begins with, over those it takes from the source"},
    )


class ForkSchema(RequestSchema):
    from_step = fields.Str(required=True, validate=validate.Regexp(STEP_KEY))
    changes = fields.Nested(ChangesSchema, allow_none=True, load_default=dict)


class BulkFilterSchema(RequestSchema):
    """Joined by AND. Without `status` and `ids`: only runs that the action can be applied to."""

    status = fields.List(fields.Str(validate=validate.OneOf([str(status) for status in RunStatus])), allow_none=True)
    pipeline_id = slug(allow_none=True)
    project_id = fields.Str(allow_none=True, metadata={"description": "none: without a project"})
    tag = fields.Str(allow_none=True, validate=validate.Regexp(TAG))
    q = fields.Str(allow_none=True, validate=validate.Length(2, 200))
    created_after = integer(0, MAX_SAFE, allow_none=True)
    created_before = integer(0, MAX_SAFE, allow_none=True)
    ids = fields.List(
        fields.Str(validate=validate.Length(1, 64)), allow_none=True, validate=validate.Length(max=MOST_RUNS)
    )

    @ma.validates_schema
    def _not_empty(self, data: dict, **_: Any) -> None:
        if not any(value not in (None, []) for value in data.values()):
            raise ma.ValidationError("must say at least one thing")


class BulkSchema(RequestSchema):
    action = fields.Str(required=True, validate=validate.OneOf(["cancel", "restart"]))
    filter = fields.Nested(BulkFilterSchema, required=True)
    max = integer(1, MOST_RUNS, allow_none=True, load_default=100)
    from_ = fields.Str(
        data_key="from",
        allow_none=True,
        load_default="start",
        validate=validate.Regexp(STEP_KEY),
        metadata={"description": "Of a restart: start, failed, or a step key"},
    )
    dry_run = fields.Bool(allow_none=True, load_default=False, metadata={"description": "Only list what would be done"})


class BulkResultSchema(AnswerSchema):
    run_id = fields.Str(required=True)
    ok = fields.Bool(required=True)
    status = fields.Str(required=True, allow_none=True)
    code = fields.Str(required=True, allow_none=True)


class BulkDoneSchema(AnswerSchema):
    matched = fields.Int(required=True, metadata={"description": "Of them, at most `max`"})
    done = fields.Int(required=True)
    failed = fields.Int(required=True)
    more = fields.Bool(required=True, metadata={"description": "More runs match than `max`"})
    results = fields.List(fields.Nested(BulkResultSchema), required=True)
