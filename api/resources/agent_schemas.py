"""What requests about agents say, and what is shown of them."""

from __future__ import annotations

from marshmallow import fields, validate

from api.paging import CatalogueSchema, PageSchema
from api.schemas import AnswerSchema, CommaList, EitherSpelling, RequestSchema, slug
from models.status import RunStatus
from pipelines.personas import FILES, PERSONA_FILES
from pipelines.settings import THINKING_LEVELS

LONGEST_FILE = 262_144
CREATE_EXAMPLE = {"id": "reviewer", "name": "Reviewer", "role": "Reviews code", "config": {"maxTurns": 50}}


def line() -> fields.Str:
    return fields.Str(allow_none=True, load_default=None, validate=validate.Regexp(r"[^\r\n]{0,500}\Z"))


class AgentFilterSchema(CatalogueSchema):
    q = fields.Str(load_default=None, metadata={"description": "Part of the id, name or role"})


class AgentRunFilterSchema(PageSchema):
    status = CommaList([str(status) for status in RunStatus], load_default=list)


class ConfigChangesSchema(RequestSchema):
    """Configuration keys, in camelCase or snake_case, also inside `config`; null goes back to the default."""


class FileSchema(RequestSchema):
    content = fields.Str(required=True, validate=validate.Length(max=LONGEST_FILE))


class CreateAgentSchema(EitherSpelling):
    id = slug(required=True)
    name = line()
    emoji = line()
    role = line()
    description = line()
    files = fields.Dict(
        keys=fields.Str(validate=validate.OneOf(PERSONA_FILES)),
        values=fields.Str(validate=validate.Length(max=LONGEST_FILE)),
        allow_none=True,
        load_default=dict,
    )
    config = fields.Dict(keys=fields.Str(), allow_none=True, load_default=dict)
    copy_from = slug(allow_none=True, load_default=None)


class AgentSchema(AnswerSchema):
    """An Agent object."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    emoji = fields.Str(required=True, allow_none=True)
    role = fields.Str(required=True, allow_none=True)
    description = fields.Str(required=True, allow_none=True)
    model = fields.Str(required=True, allow_none=True)
    persona_files = fields.List(fields.Str(), required=True)
    memory_count = fields.Int(required=True)
    state = fields.Str(required=True, metadata={"enum": ["idle", "working"]})
    source = fields.Str(required=True, metadata={"enum": ["builtin", "user"]})
    valid = fields.Bool(required=True)
    problems = fields.List(fields.Str(), required=True)
    version = fields.Str(required=True)
    updated_at = fields.Int(required=True)


class AgentDetailSchema(AgentSchema):
    files = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True)
    soul_preview = fields.Str(required=True, allow_none=True)
    skills = fields.List(fields.Str(), required=True)
    mcp_servers = fields.List(fields.Str(), required=True)


class ActiveStepSchema(AnswerSchema):
    run_id = fields.Str(required=True)
    step_id = fields.Str(required=True)
    started_at = fields.Int(required=True)


class AgentStatusSchema(AgentSchema):
    status = fields.Str(required=True, metadata={"enum": ["idle", "working"]})
    last_seen = fields.Int(required=True, allow_none=True)
    active_steps = fields.List(fields.Nested(ActiveStepSchema), required=True)
    current_run = fields.Str(required=True, allow_none=True)


class WorkSchema(AnswerSchema):
    step = fields.Str(required=True)
    runId = fields.Str(required=True)


class AtWorkSchema(AnswerSchema):
    id = fields.Str(required=True)
    name = fields.Str(required=True)
    emoji = fields.Str(required=True, allow_none=True)
    role = fields.Str(required=True, allow_none=True)
    state = fields.Str(required=True)
    currentWork = fields.Nested(WorkSchema, required=True, allow_none=True)
    queueLength = fields.Int(required=True)
    lastActive = fields.Int(required=True, allow_none=True)


class AgentsSummarySchema(AnswerSchema):
    total = fields.Int(required=True)
    idle = fields.Int(required=True)
    working = fields.Int(required=True)
    thinking = fields.Int(required=True)
    totalQueued = fields.Int(required=True)


class StatusesSchema(AnswerSchema):
    agents = fields.List(fields.Nested(AtWorkSchema), required=True)
    summary = fields.Nested(AgentsSummarySchema, required=True)


class AgentRunSchema(AnswerSchema):
    """A run in which the agent owns steps."""

    run_id = fields.Str(required=True)
    pipeline_id = fields.Str(required=True)
    task = fields.Str(required=True)
    task_description = fields.Str(required=True)
    status = fields.Str(required=True)
    step_ids = fields.List(fields.Str(), required=True)
    created_at = fields.Int(required=True)
    started_at = fields.Int(required=True, allow_none=True)
    completed_at = fields.Int(required=True, allow_none=True)


class ConfigSchema(AnswerSchema):
    """An agent's configuration, with the defaults where its file says nothing."""

    model = fields.Str(required=True)
    thinkingModel = fields.Str(required=True)
    planningModel = fields.Str(required=True)
    executorModel = fields.Str(required=True)
    thinkingLevel = fields.Str(required=True, metadata={"enum": list(THINKING_LEVELS)})
    thinkingModelThinkingLevel = fields.Str(required=True, metadata={"enum": list(THINKING_LEVELS)})
    temperature = fields.Float(required=True, allow_none=True)
    maxTokens = fields.Int(required=True, allow_none=True)
    maxTurns = fields.Int(required=True, allow_none=True)
    timeout = fields.Int(required=True, allow_none=True, metadata={"description": "seconds of a step"})
    maxRetries = fields.Int(required=True, allow_none=True)
    maxConcurrentSteps = fields.Int(required=True)
    tools = fields.List(fields.Str(), required=True)
    fallbackModels = fields.List(fields.Str(), required=True)
    budgetUsdPerRun = fields.Float(required=True, allow_none=True)


class ConfiguredSchema(AnswerSchema):
    status = fields.Str(required=True, metadata={"enum": ["updated"]})
    agent_id = fields.Str(required=True)
    version = fields.Str(required=True)
    config = fields.Nested(ConfigSchema, required=True)


class WrittenSchema(AnswerSchema):
    status = fields.Str(required=True, metadata={"enum": ["updated"]})
    filename = fields.Str(required=True, metadata={"enum": list(PERSONA_FILES)})
    size = fields.Int(required=True, metadata={"description": "bytes"})
    version = fields.Str(required=True)


class AgentVersionSchema(AnswerSchema):
    number = fields.Int(required=True)
    version = fields.Str(required=True)
    source = fields.Str(required=True, metadata={"enum": ["api", "disk"]})
    created_by = fields.Str(required=True, allow_none=True)
    created_at = fields.Int(required=True)


class AgentVersionDetailSchema(AgentVersionSchema):
    files = fields.Dict(keys=fields.Str(validate=validate.OneOf(FILES)), values=fields.Str(), required=True)
    diff = fields.Str(required=True, metadata={"description": "Unified, against the version before"})


class AgentValidationSchema(AnswerSchema):
    valid = fields.Bool(required=True)
    problems = fields.List(fields.Str(), required=True)
    warnings = fields.List(fields.Str(), required=True)
