"""What requests about MCP servers say, and what is shown of them."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from api.paging import CatalogueSchema, PageSchema
from api.schemas import AnswerSchema, EitherSpelling, Flag, Number, RequestSchema, query_integer, slug, text
from models.mcp import STATUSES, TOOL_STATES
from models.mcp_calls import OUTCOMES
from models.mcp_configs import MOST_TOOLS, TRANSPORTS

CREATE_EXAMPLE = {
    "name": "Files",
    "config": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/data"]},
    "sandbox": {"network": True, "read_paths": ["/data"]},
}
IMPORT_EXAMPLE = {"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}
CALL_EXAMPLE = {"arguments": {"timezone": "UTC"}}
CONFIG = {
    "type": "object",
    "description": "stdio: command, args, env, cwd; sse and streamable-http: type, url, headers; all: timeout, "
    "disabledTools. `${NAME}` in env and headers stands for the secret of that variable.",
}


def flag(**options: Any) -> fields.Bool:
    return fields.Bool(truthy={True}, falsy={False}, **options)


def paths() -> fields.List:
    return fields.List(fields.Str(validate=validate.Length(1, 4096)), validate=validate.Length(max=32))


class McpSandboxSchema(EitherSpelling):
    network = flag()
    read_paths = paths()
    write_paths = paths()


class McpUpdateServerSchema(EitherSpelling):
    NULLABLE = frozenset({"setup_agent_id"})

    name = text(128)
    description = fields.Str(validate=validate.Length(max=4096))
    config = fields.Dict(keys=fields.Str(), values=fields.Raw(), metadata=CONFIG)
    enabled = flag()
    setup_agent_id = slug(allow_none=True)
    sandbox = fields.Nested(McpSandboxSchema)


class McpCreateServerSchema(McpUpdateServerSchema):
    id = slug()
    name = text(128, required=True)
    config = fields.Dict(keys=fields.Str(), values=fields.Raw(), required=True, metadata=CONFIG)


class McpServerFilterSchema(CatalogueSchema):
    enabled = fields.Bool(load_default=None)
    status = fields.Str(load_default=None, validate=validate.OneOf(STATUSES))


class McpStatusSchema(RequestSchema):
    status = fields.Str(required=True, validate=validate.OneOf(STATUSES))
    reason = fields.Str(allow_none=True, load_default=None, validate=validate.Length(max=500))


class McpEnabledSchema(RequestSchema):
    enabled = flag()


class McpEnabledQuerySchema(ma.Schema):
    enabled = fields.Str(load_default=None, validate=validate.OneOf(["true", "false"]))


class McpApproveSchema(EitherSpelling):
    sha256 = fields.Str(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}\Z"))


class McpApproveToolSchema(EitherSpelling):
    schema_hash = fields.Str(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}\Z"))


class McpReportedToolSchema(EitherSpelling):
    name = fields.Str(required=True, validate=validate.Length(1, 128))
    title = fields.Str(allow_none=True, validate=validate.Length(max=256))
    description = fields.Str(allow_none=True, validate=validate.Length(max=4096))
    input_schema = fields.Dict(keys=fields.Str(), values=fields.Raw(), allow_none=True)


class McpReportedTool(fields.Field):
    """A name, or an object with one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> dict[str, Any]:
        given = {"name": value} if isinstance(value, str) else value
        return {"title": None, "description": "", "input_schema": {"type": "object"}} | McpReportedToolSchema().load(
            given
        )


NAME_OR_OBJECT = {
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": 128},
        {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}},
    ]
}


class McpReportToolsSchema(RequestSchema):
    tools = fields.List(
        McpReportedTool(metadata=NAME_OR_OBJECT), required=True, validate=validate.Length(max=MOST_TOOLS)
    )

    @ma.validates_schema(skip_on_field_errors=True)
    def _no_duplicates(self, data: dict[str, Any], **_: Any) -> None:
        names = [tool["name"] for tool in data["tools"]]
        if len(set(names)) < len(names):
            raise ma.ValidationError("a name is given twice", "tools")


class McpToolChangesSchema(EitherSpelling):
    NULLABLE = frozenset({"description_override"})

    enabled = flag()
    description_override = fields.Str(allow_none=True, validate=validate.Length(max=4096))


class McpCallSchema(RequestSchema):
    arguments = fields.Dict(keys=fields.Str(), values=fields.Raw(), allow_none=True, load_default=dict)
    timeout = Number(allow_none=True, load_default=None, validate=validate.Range(1, 600))


class McpImportSchema(RequestSchema):
    mcpServers = fields.Dict(
        keys=fields.Str(validate=validate.Length(1, 128)),
        values=fields.Dict(keys=fields.Str(), values=fields.Raw()),
        required=True,
        validate=validate.Length(max=100),
    )


class McpSearchSchema(ma.Schema):
    query = fields.Str(required=True, validate=validate.Length(1, 200))
    agent_id = slug(load_default=None)
    limit = query_integer(1, 50, load_default=10)


class McpLogQuerySchema(ma.Schema):
    server_id = slug(load_default=None)
    level = fields.Str(load_default=None, validate=validate.OneOf(["info", "warn", "error"]))
    tail = query_integer(0, 1000, load_default=100)


class McpLedgerSchema(PageSchema):
    pass


# --- answers ---


class McpApprovalSchema(AnswerSchema):
    state = fields.Str(required=True, metadata={"enum": ["not_needed", "pending", "approved"]})
    argv = fields.List(fields.Str(), required=True, allow_none=True)
    cwd = fields.Str(required=True, allow_none=True)
    env_names = fields.List(fields.Str(), required=True, allow_none=True)
    sandbox = fields.Dict(required=True, allow_none=True)
    sha256 = fields.Str(required=True, allow_none=True)
    approved_by = fields.Str(required=True, allow_none=True)
    approved_at = fields.Int(required=True, allow_none=True)


class McpToolSchema(AnswerSchema):
    name = fields.Str(required=True)
    title = fields.Str(required=True, allow_none=True)
    description = fields.Str(required=True)
    input_schema = fields.Dict(required=True)
    annotations = fields.Dict(required=True, allow_none=True)
    schema_hash = fields.Str(required=True, allow_none=True)
    state = fields.Str(required=True, metadata={"enum": list(TOOL_STATES)})


class McpServerSchema(AnswerSchema):
    """A Server object; never a literal secret."""

    id = fields.Str(required=True)
    name = fields.Str(required=True)
    description = fields.Str(required=True)
    config = fields.Dict(required=True)
    transport = fields.Str(required=True, metadata={"enum": list(TRANSPORTS)})
    enabled = Flag(required=True)
    status = fields.Str(required=True, metadata={"enum": list(STATUSES)})
    status_reason = fields.Str(required=True, allow_none=True)
    setup_agent_id = fields.Str(required=True, allow_none=True)
    discovered_tools = fields.List(fields.Str(), required=True)
    tools = fields.List(fields.Nested(McpToolSchema), required=True)
    managed = Flag(required=True)
    sandbox = fields.Dict(required=True)
    approval = fields.Nested(McpApprovalSchema, required=True)
    generation = fields.Int(required=True)
    restarts = fields.Int(required=True)
    last_checked_at = fields.Int(required=True, allow_none=True)
    next_retry_at = fields.Int(required=True, allow_none=True)
    last_call_at = fields.Int(required=True, allow_none=True)
    version = fields.Int(required=True)
    created_at = fields.Int(required=True)
    updated_at = fields.Int(required=True)


class McpGatewaySchema(AnswerSchema):
    mcpServers = fields.Dict(keys=fields.Str(), values=fields.Dict(), required=True)


class McpRestartSchema(AnswerSchema):
    status = fields.Str(required=True, metadata={"enum": ["restart_requested"]})


class McpImportedSchema(AnswerSchema):
    id = fields.Str(required=True, allow_none=True)
    name = fields.Str(required=True)
    status = fields.Str(required=True, metadata={"enum": ["created", "failed"]})
    code = fields.Str(required=True, allow_none=True)
    detail = fields.Str(required=True, allow_none=True)
    server = fields.Nested(McpServerSchema, required=True, allow_none=True)


class McpDriftSchema(AnswerSchema):
    name = fields.Str(required=True)
    drifted = Flag(required=True)
    pinned = fields.Dict(required=True)
    found = fields.Dict(required=True, allow_none=True)


class McpCallResultSchema(AnswerSchema):
    ok = Flag(required=True)
    content = fields.List(fields.Dict(), required=True)
    structured = fields.Raw(required=True, allow_none=True)
    is_error = Flag(required=True)
    duration_ms = fields.Int(required=True)


class McpLedgerLineSchema(AnswerSchema):
    id = fields.Str(required=True)
    server_id = fields.Str(required=True)
    tool = fields.Str(required=True)
    run_id = fields.Str(required=True, allow_none=True)
    session_id = fields.Str(required=True, allow_none=True)
    step_id = fields.Str(required=True, allow_none=True)
    agent_id = fields.Str(required=True, allow_none=True)
    caller = fields.Str(required=True, allow_none=True)
    arguments_hash = fields.Str(required=True)
    outcome = fields.Str(required=True, metadata={"enum": list(OUTCOMES)})
    error = fields.Str(required=True, allow_none=True)
    result_chars = fields.Int(required=True, allow_none=True)
    duration_ms = fields.Int(required=True)
    created_at = fields.Int(required=True)


class McpFoundToolSchema(AnswerSchema):
    server_id = fields.Str(required=True)
    server_name = fields.Str(required=True)
    name = fields.Str(required=True)
    title = fields.Str(required=True, allow_none=True)
    description = fields.Str(required=True)


class McpGrantSchema(AnswerSchema):
    server_id = fields.Str(required=True)
    server_name = fields.Str(required=True)
    server_status = fields.Str(required=True)
    tool_name = fields.Str(required=True)
    base_url = fields.Str(required=True, allow_none=True)
    granted_at = fields.Int(required=True)
    granted_by = fields.Str(required=True, allow_none=True)


class McpManifestSchema(AnswerSchema):
    agent_id = fields.Str(required=True)
    grants = fields.List(fields.Nested(McpGrantSchema), required=True)
    manifest_text = fields.Str(required=True)


class McpLogLineSchema(AnswerSchema):
    id = fields.Str(required=True)
    line = fields.Str(required=True)
    level = fields.Str(required=True, metadata={"enum": ["info", "warn", "error"]})
    ts = fields.Str(required=True)
    server_id = fields.Str(required=True)
    stream = fields.Str(required=True)
