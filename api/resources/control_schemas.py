"""What requests to pause, fork and sweep runs say."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.resources.run_schemas import MEGABYTE, STEP_KEY, TAG, RunSchema, WishesSchema
from api.schemas import MAX_SAFE, AnswerSchema, RequestSchema, integer, slug
from models import run_diff
from models.status import RunStatus

OUTPUT_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z"
MOST_RUNS = 1_000
CODES = [
    *("no_worker", "workers_busy", "retry_backoff", "provider_limited", "provider_down", "approval", "budget"),
    *("attention", "paused_by_user", "child_run", "join", "agent_limit", "worker_lost", "queue_unreachable"),
    "finished",
]
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

    @ma.post_load
    def _fold(self, data: dict, **_: Any) -> dict:
        """Outputs are stored under lower-case names."""
        return data | {"outputs": {name.lower(): value for name, value in data.get("outputs", {}).items()}}


class ForkSchema(RequestSchema):
    from_step = fields.Str(required=True, validate=validate.Regexp(STEP_KEY))
    changes = fields.Nested(ChangesSchema, allow_none=True, load_default=dict)


class BulkFilterSchema(RequestSchema):
    """Joined by AND. Without `status` and `ids`: only runs that the action can be applied to."""

    status = fields.List(fields.Str(validate=validate.OneOf([str(status) for status in RunStatus])), allow_none=True)
    pipeline_id = slug(allow_none=True)
    project_id = fields.Str(allow_none=True, metadata={"description": "none: without a project"})
    error_code = fields.Str(allow_none=True, metadata={"description": "Why they failed, such as worker_lost"})
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


class ReasonOfWaitSchema(AnswerSchema):
    code = fields.Str(required=True, metadata={"enum": CODES})
    message = fields.Str(required=True)
    step_id = fields.Str(required=True, allow_none=True)
    since = fields.Int(required=True, allow_none=True)
    until = fields.Int(required=True, allow_none=True)
    refs = fields.Dict(required=True)


class WhySchema(AnswerSchema):
    """Why a run does not go on."""

    run_id = fields.Str(required=True)
    status = fields.Str(required=True)
    waiting = fields.Bool(required=True, metadata={"description": "Nothing of the run is worked on"})
    summary = fields.Str(required=True)
    reasons = fields.List(fields.Nested(ReasonOfWaitSchema), required=True)


class DiffQuerySchema(ma.Schema):
    step_id = fields.Str(load_default=None, metadata={"description": "Only this step"})


class PairSchema(AnswerSchema):
    left = fields.Raw(allow_none=True)
    right = fields.Raw(allow_none=True)


class OutputPairSchema(AnswerSchema):
    left = fields.Str(allow_none=True)
    right = fields.Str(allow_none=True)
    same = fields.Bool()


class StepDiffSchema(AnswerSchema):
    step_id = fields.Str(required=True)
    in_ = fields.Str(data_key="in", required=True, metadata={"enum": ["both", "left", "right"]})
    differs = fields.List(fields.Str(metadata={"enum": list(run_diff.FACTS)}), required=True)
    status = fields.Nested(PairSchema, required=True)
    model = fields.Nested(PairSchema, required=True)
    prompt_diff = fields.Str(required=True, allow_none=True)
    outputs = fields.Dict(keys=fields.Str(), values=fields.Nested(OutputPairSchema), required=True)
    usage = fields.Nested(PairSchema, required=True)
    tool_calls = fields.Nested(PairSchema, required=True)


class DiffSchema(AnswerSchema):
    """Two runs side by side."""

    left = fields.Nested(RunSchema, required=True)
    right = fields.Nested(RunSchema, required=True)
    same_pipeline = fields.Bool(required=True)
    inputs = fields.Dict(keys=fields.Str(), values=fields.Nested(PairSchema), required=True)
    totals = fields.Dict(keys=fields.Str(), values=fields.Nested(PairSchema), required=True)
    steps = fields.List(fields.Nested(StepDiffSchema), required=True)
