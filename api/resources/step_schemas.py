"""What answers about steps look like."""

from __future__ import annotations

import marshmallow as ma
from marshmallow import fields, validate

from api.schemas import MAX_SAFE, AnswerSchema, query_integer
from models.status import StepStatus

LARGEST = 2**31 - 1
SLICE = 262_144
LARGEST_SLICE = 1_048_576
STATUSES = [str(status) for status in StepStatus]
OUTPUT_EXAMPLE = {
    "run_id": "run_01k2x8m4t6v9q3w5y7z1a2b3c4",
    "step_id": "VALIDATE",
    "status": "completed",
    "epoch": 1,
    "visit": 2,
    "attempt": 2,
    "outputs": {"validate_result": "PASS"},
    "structured": None,
    "raw_output": "VALIDATE_RESULT: PASS",
    "raw_output_length": 21,
    "raw_output_truncated": False,
    "error": None,
    "error_code": None,
    "artifacts": [],
    "started_at": 1790000100000,
    "completed_at": 1790000160000,
}


class UsageSchema(AnswerSchema):
    input_tokens = fields.Int()
    output_tokens = fields.Int()
    cache_read_tokens = fields.Int()
    total_tokens = fields.Int()
    cost_usd = fields.Float()
    llm_calls = fields.Int()
    tool_calls = fields.Int()


class InputsSchema(AnswerSchema):
    prompt = fields.Str(allow_none=True)
    variables = fields.Dict(keys=fields.Str(), values=fields.Str())


class ItemSchema(AnswerSchema):
    index = fields.Int()
    total = fields.Int()
    value = fields.Str()


class StepSchema(AnswerSchema):
    """A Step object."""

    id = fields.Str(required=True)
    run_id = fields.Str(required=True)
    step_id = fields.Str(required=True)
    epoch = fields.Int(required=True)
    visit = fields.Int(required=True, metadata={"description": "Times entered; 0: never"})
    attempt = fields.Int(required=True)
    type = fields.Str(required=True, metadata={"enum": ["agent", "loop", "map", "approval", "pipeline"]})
    agent_id = fields.Str(required=True, allow_none=True)
    status = fields.Str(required=True, metadata={"enum": STATUSES})
    inputs = fields.Nested(InputsSchema, required=True)
    outputs = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True)
    error = fields.Str(required=True, allow_none=True)
    error_code = fields.Str(required=True, allow_none=True)
    retry_count = fields.Int(required=True)
    max_retries = fields.Int(required=True)
    next_retry_at = fields.Int(required=True, allow_none=True)
    session_id = fields.Str(required=True, allow_none=True)
    model_used = fields.Str(required=True, allow_none=True)
    human_context = fields.Str(required=True, allow_none=True)
    item = fields.Nested(ItemSchema, required=True, allow_none=True)
    child_run_id = fields.Str(required=True, allow_none=True)
    approval_id = fields.Str(required=True, allow_none=True)
    copied_from = fields.Str(required=True, allow_none=True)
    usage = fields.Nested(UsageSchema, required=True)
    queued_at = fields.Int(required=True, allow_none=True)
    started_at = fields.Int(required=True, allow_none=True)
    completed_at = fields.Int(required=True, allow_none=True)
    duration_ms = fields.Int(required=True, allow_none=True)


class AttemptSchema(AnswerSchema):
    epoch = fields.Int()
    visit = fields.Int()
    attempt = fields.Int()
    item_index = fields.Int(allow_none=True)
    status = fields.Str(metadata={"enum": ["running", "completed", "failed", "cancelled"]})
    agent_id = fields.Str(allow_none=True)
    model = fields.Str(allow_none=True)
    prompt = fields.Str()
    outputs = fields.Dict(keys=fields.Str(), values=fields.Str())
    error = fields.Str(allow_none=True)
    error_code = fields.Str(allow_none=True)
    turns = fields.Int()
    tool_calls = fields.Int()
    usage = fields.Nested(UsageSchema)
    worker_losses = fields.Int()
    started_at = fields.Int(allow_none=True)
    completed_at = fields.Int(allow_none=True)


class VisitSchema(AnswerSchema):
    visit = fields.Int()
    entered_from = fields.Str(allow_none=True)
    reason = fields.Str()
    item_index = fields.Int(allow_none=True)
    result = fields.Str(allow_none=True)
    started_at = fields.Int(allow_none=True)
    completed_at = fields.Int(allow_none=True)


class StepDetailSchema(StepSchema):
    """A Step with its attempts and visits."""

    attempts = fields.List(fields.Nested(AttemptSchema), required=True)
    visits = fields.List(fields.Nested(VisitSchema), required=True)


class ArtifactSchema(AnswerSchema):
    """A file that the step changed; of a deleted one there is neither size nor sha256."""

    path = fields.Str()
    size = fields.Int(allow_none=True)
    sha256 = fields.Str(allow_none=True)
    action = fields.Str(metadata={"enum": ["created", "modified", "deleted"]})


class OutputSchema(AnswerSchema):
    """What a step has said."""

    run_id = fields.Str(required=True)
    step_id = fields.Str(required=True)
    status = fields.Str(required=True, metadata={"enum": STATUSES})
    epoch = fields.Int(required=True)
    visit = fields.Int(required=True)
    attempt = fields.Int(required=True, metadata={"description": "0: not started"})
    outputs = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True)
    structured = fields.Raw(required=True, allow_none=True)
    raw_output = fields.Str(required=True, allow_none=True)
    raw_output_length = fields.Int(required=True, metadata={"description": "Characters"})
    raw_output_truncated = fields.Bool(required=True)
    error = fields.Str(required=True, allow_none=True)
    error_code = fields.Str(required=True, allow_none=True)
    artifacts = fields.List(fields.Nested(ArtifactSchema), required=True)
    started_at = fields.Int(required=True, allow_none=True)
    completed_at = fields.Int(required=True, allow_none=True)


class StepFilterSchema(ma.Schema):
    status = fields.Str(load_default=None, validate=validate.OneOf(STATUSES))
    epoch = query_integer(1, LARGEST, load_default=None)


class StepLookSchema(ma.Schema):
    epoch = query_integer(1, LARGEST, load_default=None)


class OutputSliceSchema(ma.Schema):
    attempt = query_integer(1, LARGEST, load_default=None)
    item_index = query_integer(0, LARGEST, load_default=None)
    epoch = query_integer(1, LARGEST, load_default=None)
    offset = query_integer(0, MAX_SAFE, load_default=0, metadata={"description": "Characters into the raw text"})
    length = query_integer(1, LARGEST_SLICE, load_default=SLICE)
