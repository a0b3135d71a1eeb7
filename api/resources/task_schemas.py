"""What requests about tasks say."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields, validate

from api.paging import PageSchema
from api.schemas import MAX_SAFE, EitherSpelling, Number, integer, query_integer, slug, text
from models.tasks import PRIORITIES, REVIEWS, WORK_TYPES

LONGEST_METADATA = 64 * 1024  # bytes of JSON
CREATE_EXAMPLE = {"title": "Add a login page", "priority": "P1", "tags": ["ui"]}
CLAIM_EXAMPLE = {"agent_id": "senior-engineer", "ttl_seconds": 1800}
TRANSITION_EXAMPLE = {"status": "review", "note": "Ready to be looked at"}
TYPES = ["blocks", "informs"]


class Blocker(fields.Field):
    """The id of a task, or `{task_id, type}`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": ["string", "object"]}, **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> dict[str, str]:
        if isinstance(value, str):
            return {"task_id": value, "type": "blocks"}
        if not isinstance(value, dict):
            raise ma.ValidationError("the id of a task, or {task_id, type}")
        return BlockerSchema().load(value)


class BlockerSchema(EitherSpelling):
    task_id = fields.Str(required=True)
    type = fields.Str(load_default="blocks", validate=validate.OneOf(TYPES))


class TaskFieldsSchema(EitherSpelling):
    """What a task can be given at its start and later."""

    description = fields.Str(allow_none=True, validate=validate.Length(max=262_144))
    priority = fields.Str(allow_none=True, validate=validate.OneOf(PRIORITIES))
    assigned_agent = fields.Str(allow_none=True, validate=validate.Regexp(r"^([a-z0-9][a-z0-9_-]{0,63})?\Z"))
    workflow_id = fields.Str(allow_none=True)
    pipeline_id = slug(allow_none=True)
    parent_task_id = fields.Str(allow_none=True)
    tags = fields.List(fields.Str(validate=validate.Length(1, 64)), allow_none=True, validate=validate.Length(max=32))
    estimated_hours = Number(allow_none=True, validate=validate.Range(0, 10_000))
    metadata = fields.Dict(keys=fields.Str(), allow_none=True)
    column_id = fields.Str(allow_none=True)
    status = fields.Str(allow_none=True, validate=validate.Length(1, 64))
    work_type = fields.Str(allow_none=True, validate=validate.OneOf(WORK_TYPES))

    @ma.validates("metadata")
    def _small(self, value: dict | None, data_key: str) -> None:
        if value is not None and len(orjson.dumps(value)) > LONGEST_METADATA:
            raise ma.ValidationError(f"more than {LONGEST_METADATA} bytes as JSON")


class CreateTaskSchema(TaskFieldsSchema):
    title = text(512, required=True)
    dependencies = fields.List(Blocker(), allow_none=True, validate=validate.Length(max=100))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ALIASES = {"depends_on": "dependencies", "dependsOn": "dependencies"} | self.ALIASES


class UpdateTaskSchema(TaskFieldsSchema):
    NULLABLE = frozenset(
        {
            *("assigned_agent", "workflow_id", "pipeline_id", "parent_task_id", "estimated_hours", "work_type"),
            *("spec_review_status", "spec_review_notes", "quality_review_status", "quality_review_notes"),
        }
    )

    title = text(512, allow_none=True)
    column_position = integer(0, 1_000_000, allow_none=True)
    spec_review_status = fields.Str(allow_none=True, validate=validate.OneOf(REVIEWS))
    spec_review_notes = fields.Str(allow_none=True, validate=validate.Length(max=20_000))
    quality_review_status = fields.Str(allow_none=True, validate=validate.OneOf(REVIEWS))
    quality_review_notes = fields.Str(allow_none=True, validate=validate.Length(max=20_000))
    force = fields.Bool(truthy={True}, falsy={False}, allow_none=True, load_default=False)


class TaskFilterSchema(PageSchema):
    limit = query_integer(1, 200, load_default=200)
    status = fields.List(fields.Str(), load_default=list, validate=validate.Length(max=50))
    priority = fields.Str(load_default=None, validate=validate.OneOf(PRIORITIES))
    agent = fields.Str(load_default=None, metadata={"description": "Who has it, or for whom it is reserved"})
    tag = fields.Str(load_default=None)
    work_type = fields.Str(load_default=None, validate=validate.OneOf(WORK_TYPES))
    parent = fields.Str(load_default=None, metadata={"description": "none: without a parent"})
    q = fields.Str(load_default=None, validate=validate.Length(1, 200), metadata={"description": "Part of the title"})


def ttl() -> fields.Int:
    """Seconds of a claim; 0: no end."""
    rule = validate.And(validate.Range(0, 604_800), _not_too_short)
    return fields.Int(strict=True, allow_none=True, load_default=None, validate=rule)


def _not_too_short(value: int) -> None:
    if 0 < value < 30:
        raise ma.ValidationError("0, or at least 30")


class ClaimSchema(EitherSpelling):
    agent_id = slug(required=True)
    holder = text(128, allow_none=True, load_default=None)
    ttl_seconds = ttl()


class ClaimNextSchema(ClaimSchema):
    work_type = fields.Str(allow_none=True, load_default=None, validate=validate.OneOf(WORK_TYPES))
    tags = fields.List(fields.Str(validate=validate.Length(1, 64)), allow_none=True, load_default=list)


class HeartbeatSchema(ClaimSchema):
    fence = integer(0, MAX_SAFE, required=True)


class ReleaseSchema(EitherSpelling):
    agent_id = fields.Str(load_default=None)
    holder = fields.Str(load_default=None)
    fence = query_integer(0, MAX_SAFE, load_default=None)


class TransitionSchema(EitherSpelling):
    status = fields.Str(required=True, validate=validate.Length(1, 64))
    note = fields.Str(allow_none=True, load_default=None, validate=validate.Length(max=4_000))
    agent_id = fields.Str(allow_none=True, load_default=None)
    holder = fields.Str(allow_none=True, load_default=None)
    fence = integer(0, MAX_SAFE, allow_none=True, load_default=None)
    force = fields.Bool(truthy={True}, falsy={False}, allow_none=True, load_default=False)


class BulkItemSchema(EitherSpelling):
    task_id = fields.Str(required=True)
    status = fields.Str(required=True, validate=validate.Length(1, 64))
    note = fields.Str(allow_none=True, validate=validate.Length(max=4_000))


class BulkTransitionSchema(EitherSpelling):
    items = fields.List(fields.Nested(BulkItemSchema), required=True, validate=validate.Length(1, 200))


class MoveSchema(EitherSpelling):
    column_id = fields.Str(required=True)
    position = integer(0, 1_000_000, allow_none=True, load_default=None)


class DependencyEntrySchema(EitherSpelling):
    from_task_id = fields.Str(required=True)
    type = fields.Str(allow_none=True, load_default="blocks", validate=validate.OneOf(TYPES))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ALIASES = {"depends_on": "from_task_id", "dependsOn": "from_task_id"} | self.ALIASES


class ExecuteSchema(EitherSpelling):
    pipeline_id = slug(allow_none=True, load_default=None)
    agent_id = slug(allow_none=True, load_default=None)
    human_context = text(1 << 20, allow_none=True, load_default=None)
    model = fields.Str(
        allow_none=True,
        load_default=None,
        validate=[validate.Length(max=200), validate.Regexp(r"^[^/\s]+/\S+\Z", error="provider/model")],
    )


class CommentSchema(EitherSpelling):
    text = text(20_000, required=True)


class ReadyFilterSchema(EitherSpelling):
    agent_id = fields.Str(load_default=None)
    limit = query_integer(1, 200, load_default=20)
