"""What requests about projects say and what answers about them look like."""

from __future__ import annotations

from marshmallow import fields, validate

from api.paging import PageSchema
from api.resources.task_answers import DependencySchema, TaskSchema
from api.schemas import AnswerSchema, CommaList, EitherSpelling, integer, slug, text
from models.project_views import SECTIONS
from models.projects import STATUSES

WORKSPACES = ["git_worktree", "persistent_directory"]
CREATE_EXAMPLE = {"name": "Todo app", "description": "A small web app", "template_id": "software-dev"}
TTL = validate.Range(0, 604_800)


def statuses(**options) -> fields.List:
    return fields.List(fields.Str(validate=validate.Length(1, 64)), validate=validate.Length(max=50), **options)


class SemanticsSchema(EitherSpelling):
    initial = statuses()
    terminal_done = statuses()
    terminal_fail = statuses()
    blocked = statuses()
    in_progress = statuses()
    claimable = statuses()


class ColumnEntrySchema(EitherSpelling):
    ALIASES = {"statuses": "task_statuses"}
    NULLABLE = frozenset({"wip_limit"})

    name = text(100, required=True)
    position = integer(0, 1000, allow_none=True)
    task_statuses = statuses(allow_none=True)
    wip_limit = integer(1, 10_000, allow_none=True)


class ColumnChangeSchema(ColumnEntrySchema):
    name = text(100, allow_none=True)


class BoardFieldsSchema(EitherSpelling):
    """What a project can be given at its start and later."""

    description = fields.Str(allow_none=True, validate=validate.Length(max=20_000))
    repository = fields.Str(allow_none=True, validate=validate.Length(max=512))
    status_semantics = fields.Nested(SemanticsSchema, allow_none=True)
    transitions = fields.Dict(keys=fields.Str(), values=statuses(), allow_none=True)
    default_pipeline_id = slug(allow_none=True)
    workspace_type = fields.Str(allow_none=True, validate=validate.OneOf(WORKSPACES))
    vision = fields.Str(allow_none=True, validate=validate.Length(max=20_000))
    claim_ttl_seconds = integer(0, 604_800, allow_none=True)


class CreateProjectSchema(BoardFieldsSchema):
    name = text(256, required=True)
    template_id = fields.Str(allow_none=True, validate=validate.Length(1, 64))
    columns = fields.List(fields.Nested(ColumnEntrySchema), allow_none=True, validate=validate.Length(1, 50))


class UpdateProjectSchema(BoardFieldsSchema):
    NULLABLE = frozenset(
        {
            *("repository", "transitions", "default_pipeline_id", "workspace_type", "vision", "claim_ttl_seconds"),
            *("onboarding_context", "on_success_status", "on_failure_status"),
        }
    )

    name = text(256, allow_none=True)
    status = fields.Str(allow_none=True, validate=validate.OneOf(STATUSES))
    onboarding_context = fields.Str(allow_none=True, validate=validate.Length(max=20_000))
    on_success_status = fields.Str(allow_none=True, validate=validate.Length(1, 64))
    on_failure_status = fields.Str(allow_none=True, validate=validate.Length(1, 64))


class ProjectFilterSchema(PageSchema):
    status = fields.Str(load_default=None, validate=validate.OneOf(STATUSES))
    q = fields.Str(load_default=None, validate=validate.Length(1, 200), metadata={"description": "Part of the name"})


class ProjectLookSchema(EitherSpelling):
    include = CommaList(list(SECTIONS), load_default=list(SECTIONS))


class PurgeProjectSchema(EitherSpelling):
    purge = fields.Bool(load_default=False, metadata={"description": "Remove the board, too"})


class MoveToSchema(EitherSpelling):
    move_to = fields.Str(load_default=None, metadata={"description": "Column for the tasks that stand in this one"})


class AgentEntrySchema(EitherSpelling):
    agent_id = slug(required=True)
    role = fields.Str(allow_none=True, load_default="member", validate=validate.Length(1, 64))


class WorkflowEntrySchema(EitherSpelling):
    name = text(200, required=True)
    pipeline_id = slug(required=True)
    is_default = fields.Bool(truthy={True}, falsy={False}, allow_none=True)
    task_filter = fields.Dict(keys=fields.Str(), allow_none=True)
    trigger = fields.Str(allow_none=True, validate=validate.Length(max=64))


class WorkflowChangeSchema(WorkflowEntrySchema):
    name = text(200, allow_none=True)
    pipeline_id = slug(allow_none=True)


class ColumnSchema(AnswerSchema):
    id = fields.Str()
    project_id = fields.Str()
    name = fields.Str()
    position = fields.Int()
    wip_limit = fields.Int(allow_none=True)
    task_statuses = fields.List(fields.Str())
    version = fields.Int()


class WorkflowSchema(AnswerSchema):
    id = fields.Str()
    project_id = fields.Str()
    name = fields.Str()
    pipeline_id = fields.Str()
    is_default = fields.Bool()
    task_filter = fields.Dict()
    trigger = fields.Str(allow_none=True)


class ProjectAgentSchema(AnswerSchema):
    project_id = fields.Str()
    agent_id = fields.Str()
    role = fields.Str()
    assigned_at = fields.Int()
    assigned_by = fields.Str(allow_none=True)


class AgentProjectSchema(ProjectAgentSchema):
    project_name = fields.Str()
    project_status = fields.Str()
    project_description = fields.Str()


class SetupSchema(AnswerSchema):
    status = fields.Str(validate=validate.OneOf(["none", "queued", "ready", "error"]))
    error = fields.Str(allow_none=True)


class ProjectSchema(AnswerSchema):
    id = fields.Str()
    name = fields.Str()
    description = fields.Str()
    status = fields.Str(validate=validate.OneOf(STATUSES))
    repository = fields.Str(allow_none=True)
    repo_full_name = fields.Str(allow_none=True)
    default_pipeline_id = fields.Str(allow_none=True)
    template_id = fields.Str(allow_none=True)
    status_semantics = fields.Dict()
    transitions = fields.Dict(allow_none=True)
    workspace_type = fields.Str(allow_none=True)
    workspace_setup = fields.Nested(SetupSchema)
    vision = fields.Str(allow_none=True)
    onboarding_context = fields.Str(allow_none=True)
    on_success_status = fields.Str(allow_none=True)
    on_failure_status = fields.Str(allow_none=True)
    claim_ttl_seconds = fields.Int(allow_none=True)
    version = fields.Int()
    created_at = fields.Int()
    updated_at = fields.Int()
    completed_at = fields.Int(allow_none=True)
    task_counts = fields.Dict(keys=fields.Str(), values=fields.Int())
    total_tasks = fields.Int()
    completed_tasks = fields.Int()


class ProjectDetailSchema(ProjectSchema):
    columns = fields.List(fields.Nested(ColumnSchema))
    tasks = fields.List(fields.Nested(TaskSchema))
    tasks_truncated = fields.Bool()
    dependencies = fields.List(fields.Nested(DependencySchema))
    workflows = fields.List(fields.Nested(WorkflowSchema))
    agents = fields.List(fields.Nested(ProjectAgentSchema))


class TemplateSchema(AnswerSchema):
    id = fields.Str()
    slug = fields.Str()
    name = fields.Str()
    description = fields.Str()
    columns = fields.List(fields.Dict())
    default_pipeline_id = fields.Str(allow_none=True)
    workspace_type = fields.Str(allow_none=True)
    status_semantics = fields.Dict()
