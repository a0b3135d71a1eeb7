"""What answers about tasks look like."""

from __future__ import annotations

from marshmallow import fields, validate

from api.resources.task_schemas import TYPES
from api.schemas import AnswerSchema
from models.tasks import PRIORITIES


class ClaimStateSchema(AnswerSchema):
    agent_id = fields.Str(allow_none=True)
    holder = fields.Str(allow_none=True)
    fence = fields.Int()
    claimed_at = fields.Int(allow_none=True)
    until = fields.Int(allow_none=True)


class TaskSchema(AnswerSchema):
    id = fields.Str()
    project_id = fields.Str()
    title = fields.Str()
    description = fields.Str()
    status = fields.Str()
    priority = fields.Str(validate=validate.OneOf(PRIORITIES))
    assigned_agent = fields.Str(allow_none=True)
    workflow_id = fields.Str(allow_none=True)
    pipeline_id = fields.Str(allow_none=True)
    run_id = fields.Str(allow_none=True)
    last_run_id = fields.Str(allow_none=True)
    parent_task_id = fields.Str(allow_none=True)
    tags = fields.List(fields.Str())
    estimated_hours = fields.Float(allow_none=True)
    column_id = fields.Str()
    column_position = fields.Int()
    metadata = fields.Dict()
    work_type = fields.Str(allow_none=True)
    completed_stages = fields.List(fields.Str())
    spec_review_status = fields.Str(allow_none=True)
    spec_review_notes = fields.Str(allow_none=True)
    quality_review_status = fields.Str(allow_none=True)
    quality_review_notes = fields.Str(allow_none=True)
    claim = fields.Nested(ClaimStateSchema, allow_none=True)
    depends_on = fields.List(fields.Str())
    blocked_reason = fields.Str(allow_none=True)
    version = fields.Int()
    created_at = fields.Int()
    updated_at = fields.Int()
    completed_at = fields.Int(allow_none=True)


class TaskDetailSchema(TaskSchema):
    blocking_dependencies = fields.List(fields.Dict())
    dependents = fields.List(fields.Dict())
    subtasks = fields.List(fields.Dict())
    run_history = fields.List(fields.Dict())
    allowed = fields.List(fields.Str())


class DependencySchema(AnswerSchema):
    id = fields.Str()
    project_id = fields.Str()
    from_task_id = fields.Str()
    to_task_id = fields.Str()
    type = fields.Str(validate=validate.OneOf(TYPES))


class DependencyDetailSchema(DependencySchema):
    from_ = fields.Nested(TaskSchema, data_key="from")
    to = fields.Nested(TaskSchema)


class ClaimedSchema(AnswerSchema):
    status = fields.Str(validate=validate.OneOf(["claimed", "already_claimed"]))
    task_id = fields.Str()
    agent_id = fields.Str()
    branch = fields.Str()
    fence = fields.Int()
    claimed_at = fields.Int()
    lease_until = fields.Int(allow_none=True)
    task = fields.Nested(TaskSchema)


class LeaseSchema(AnswerSchema):
    fence = fields.Int()
    lease_until = fields.Int(allow_none=True)


class TransitionedSchema(AnswerSchema):
    status = fields.Str(validate=validate.OneOf(["transitioned", "unchanged"]))
    task_id = fields.Str()
    from_status = fields.Str()
    to_status = fields.Str()
    column_id = fields.Str()
    work_type = fields.Str(allow_none=True)
    completed_stages = fields.List(fields.Str())
    next_valid_stages = fields.List(fields.Str(), allow_none=True)
    allowed = fields.List(fields.Str())
    version = fields.Int()
    task = fields.Nested(TaskSchema)


class MovedItemSchema(AnswerSchema):
    task_id = fields.Str()
    ok = fields.Bool()
    status = fields.Str()
    code = fields.Str()
    detail = fields.Str()


class ReadySchema(AnswerSchema):
    tasks = fields.List(fields.Nested(TaskSchema))
    in_progress = fields.List(fields.Nested(TaskSchema))


class PlannedTaskSchema(AnswerSchema):
    id = fields.Str()
    title = fields.Str()
    status = fields.Str()
    estimated_hours = fields.Float(allow_none=True)


class PlanSchema(AnswerSchema):
    """Each wave can begin when those before it are done; `stuck` are tasks behind one that has failed."""

    waves = fields.List(fields.List(fields.Nested(PlannedTaskSchema)))
    critical_path = fields.List(fields.Nested(PlannedTaskSchema))
    hours = fields.Float(metadata={"description": "Of the critical path; a task without an estimate counts as one"})
    stuck = fields.List(fields.Nested(PlannedTaskSchema))


class HistorySchema(AnswerSchema):
    seq = fields.Int()
    task_id = fields.Str()
    at = fields.Int()
    actor = fields.Str(allow_none=True)
    kind = fields.Str()
    from_ = fields.Str(allow_none=True, data_key="from")
    to = fields.Str(allow_none=True)
    note = fields.Str(allow_none=True)
    data = fields.Dict()


class ExecutedSchema(AnswerSchema):
    run_id = fields.Str()
    status = fields.Str()
    task = fields.Nested(TaskSchema)
    run = fields.Dict()
