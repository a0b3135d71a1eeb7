"""What requests about runs say and what answers about them look like."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import marshmallow as ma
import orjson
from marshmallow import fields, validate

from api.paging import PageSchema
from api.resources.step_schemas import StepSchema, UsageSchema
from api.schemas import (
    MAX_SAFE,
    AnswerSchema,
    CommaList,
    Number,
    PeriodSchema,
    RequestSchema,
    integer,
    query_integer,
    slug,
    text,
)
from models.ip_addresses import is_public
from models.status import RunStatus

MEGABYTE = 1 << 20
MONTH_SECONDS = 2_592_000
LONGEST_METADATA = 16 * 1024  # bytes of JSON
TAG = r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}\Z"
STEP_KEY = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"
START_EXAMPLE = {
    "pipeline_id": "engineering",
    "task_description": "Build a REST API for a todo app",
    "human_context": "Optional additional guidance",
    "project_name": "my-project",
}
RESTART_EXAMPLE = {"context": "Use PostgreSQL 16", "from": "failed"}
CANCELLED_EXAMPLE = {"run_id": "run_01k2x8m4t6v9q3w5y7z1a2b3c4", "status": "cancelled", "completed_at": 1790000000000}


class Guidance(fields.Field):
    """Text, or an object, which is kept as its JSON text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"type": ["string", "object"]}, **options)

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> str:
        if isinstance(value, dict):
            return orjson.dumps(value).decode()
        return text(MEGABYTE).deserialize(value)


class WishesSchema(RequestSchema):
    """What a new run may be given, by whoever starts or forks it."""

    ALIASES = {"task": "task_description", "context": "human_context", "model": "model_override"}

    task_description = text(MEGABYTE, allow_none=True)
    human_context = Guidance(allow_none=True)
    model_override = fields.Str(
        allow_none=True, validate=[validate.Length(max=200), validate.Regexp(r"^[^/\s]+/\S+\Z", error="provider/model")]
    )
    max_cost_usd = Number(allow_none=True, validate=validate.Range(0, 100_000, min_inclusive=False))
    max_tokens = integer(1, MAX_SAFE, allow_none=True)
    tags = fields.List(fields.Str(validate=validate.Regexp(TAG)), allow_none=True, validate=validate.Length(max=20))
    metadata = fields.Dict(keys=fields.Str(), allow_none=True)

    @ma.validates("metadata")
    def _small(self, value: dict, data_key: str) -> None:
        if len(orjson.dumps(value)) > LONGEST_METADATA:
            raise ma.ValidationError(f"more than {LONGEST_METADATA} bytes as JSON")

    @ma.post_load
    def _unique(self, data: dict, **_: Any) -> dict:
        return data | {"tags": tuple(dict.fromkeys(data.get("tags", ())))}


class StartSchema(WishesSchema):
    """The body that starts a run."""

    pipeline_id = slug(required=True)
    task_description = text(MEGABYTE, required=True)
    project_name = fields.Str(allow_none=True, validate=validate.Length(1, 200))
    project_id = fields.Str(allow_none=True, validate=validate.Length(1, 200))
    max_duration_seconds = integer(1, MONTH_SECONDS, allow_none=True)
    on_budget = fields.Str(allow_none=True, validate=validate.OneOf(["fail", "pause"]))
    webhook_url = fields.Str(allow_none=True, validate=[validate.Length(max=2_000), lambda url: check_webhook(url)])


def check_webhook(url: str) -> None:
    """Refuses what can be seen from the text alone; names are resolved and checked when the call is made."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ma.ValidationError(f"not a URL: {error}") from None
    if parts.scheme != "https" or not host or not url.isascii() or re.search(r"[\s\\\x00-\x1f]", url):
        raise ma.ValidationError("must be an https:// URL")
    address = literal_address(host)
    local = host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    if local or (address is not None and not is_public(address)):
        raise ma.ValidationError("must not lead to a private address")


def literal_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is in any spelling a resolver takes (`2130706433`, `0x7f.1`), None for names."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
        except OSError:
            return None
    mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return mapped or found


class StrictSchema(ma.Schema):
    strict = fields.Bool(load_default=False, metadata={"description": "Refuse if a required variable is missing"})


class ReasonSchema(RequestSchema):
    reason = fields.Str(allow_none=True, load_default=None, validate=validate.Length(max=500))


class RestartSchema(RequestSchema):
    context = text(MEGABYTE, allow_none=True)
    from_ = fields.Str(
        data_key="from",
        allow_none=True,
        load_default="start",
        validate=validate.Regexp(STEP_KEY),
        metadata={"description": "start, failed, or a step key"},
    )
    pipeline = fields.Str(allow_none=True, validate=validate.OneOf(["pinned", "latest"]))
    max_cost_usd = Number(allow_none=True, validate=validate.Range(0, 100_000, min_inclusive=False))
    max_tokens = integer(1, MAX_SAFE, allow_none=True)
    max_duration_seconds = integer(1, MONTH_SECONDS, allow_none=True)


class RunFilterSchema(PeriodSchema, PageSchema):
    pipeline_id = fields.Str()
    status = CommaList([str(status) for status in RunStatus], load_default=list)
    project_id = fields.Str(metadata={"description": "none: without a project"})
    agent_id = fields.Str()
    parent_run_id = fields.Str(metadata={"description": "none: without sub-runs"})
    schedule_id = fields.Str()
    error_code = fields.Str(metadata={"description": "Why they failed, such as worker_lost"})
    tag = fields.List(fields.Str(), load_default=list, validate=validate.Length(max=20))
    q = fields.Str(validate=validate.Length(2, 200), metadata={"description": "Words, each as the start of a word"})
    include = fields.Str(load_default=None, validate=validate.OneOf(["outputs"]))
    count = fields.Bool(load_default=False, metadata={"description": "Answer X-Total-Count"})


class RunLookSchema(ma.Schema):
    wait = query_integer(0, 60, load_default=0, metadata={"description": "Seconds to wait for the end or a pause"})
    epoch = query_integer(1, 2**31 - 1, load_default=None, metadata={"description": "Steps and outputs of that epoch"})


class LoopSchema(AnswerSchema):
    step_id = fields.Str()
    index = fields.Int()
    total = fields.Int()


class ProgressSchema(AnswerSchema):
    steps_total = fields.Int()
    steps_done = fields.Int()
    loop = fields.Nested(LoopSchema, allow_none=True)


class LimitsSchema(AnswerSchema):
    max_cost_usd = fields.Float(allow_none=True)
    max_tokens = fields.Int(allow_none=True)
    max_duration_seconds = fields.Int()
    on_budget = fields.Str(metadata={"enum": ["fail", "pause"]})


class ForkedFromSchema(AnswerSchema):
    run_id = fields.Str()
    epoch = fields.Int()
    from_step = fields.Str()


class RunSchema(AnswerSchema):
    """A Run object."""

    id = fields.Str(required=True)
    pipeline_id = fields.Str(required=True)
    pipeline_version = fields.Str(required=True, allow_none=True)
    pipeline_hash = fields.Str(required=True)
    project_id = fields.Str(required=True, allow_none=True)
    project_name = fields.Str(required=True, allow_none=True)
    task_id = fields.Str(required=True, allow_none=True)
    task_description = fields.Str(required=True)
    task = fields.Str(required=True)
    task_truncated = fields.Bool(required=True)
    human_context = fields.Str(required=True, allow_none=True)
    status = fields.Str(required=True, metadata={"enum": [str(status) for status in RunStatus]})
    status_reason = fields.Str(required=True, allow_none=True)
    current_step = fields.Str(required=True, allow_none=True)
    current_steps = fields.List(fields.Str(), required=True)
    progress = fields.Nested(ProgressSchema, required=True)
    outputs = fields.Dict(keys=fields.Str(), values=fields.Str(), required=True, allow_none=True)
    error = fields.Str(required=True, allow_none=True)
    error_code = fields.Str(required=True, allow_none=True)
    failed_step = fields.Str(required=True, allow_none=True)
    epoch = fields.Int(required=True)
    parent_run_id = fields.Str(required=True, allow_none=True)
    parent_step_id = fields.Str(required=True, allow_none=True)
    forked_from = fields.Nested(ForkedFromSchema, required=True, allow_none=True)
    schedule_id = fields.Str(required=True, allow_none=True)
    model_override = fields.Str(required=True, allow_none=True)
    limits = fields.Nested(LimitsSchema, required=True)
    usage = fields.Nested(UsageSchema, required=True)
    tags = fields.List(fields.Str(), required=True)
    metadata = fields.Dict(required=True)
    webhook_url = fields.Str(required=True, allow_none=True)
    workspace_type = fields.Str(required=True, allow_none=True)
    task_branch = fields.Str(required=True, allow_none=True)
    warnings = fields.List(fields.Str(), required=True)
    tainted_by = fields.Str(
        required=True, allow_none=True, metadata={"description": "What brought untrusted content into the run"}
    )
    created_by = fields.Str(required=True, allow_none=True)
    last_seq = fields.Int(required=True)
    created_at = fields.Int(required=True)
    updated_at = fields.Int(required=True)
    started_at = fields.Int(required=True, allow_none=True)
    completed_at = fields.Int(required=True, allow_none=True)
    duration_ms = fields.Int(required=True, allow_none=True)


class RunDetailSchema(RunSchema):
    """A Run with its steps."""

    steps = fields.List(fields.Nested(StepSchema), required=True)


class CancelledSchema(AnswerSchema):
    run_id = fields.Str(required=True)
    status = fields.Str(required=True)
    completed_at = fields.Int(required=True)
