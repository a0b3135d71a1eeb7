"""What requests about chats say and what answers about them look like."""

from __future__ import annotations

import marshmallow as ma
import orjson
from marshmallow import fields, validate

from api.paging import PageSchema
from api.resources.run_schemas import LONGEST_METADATA, MEGABYTE
from api.resources.step_schemas import UsageSchema
from api.schemas import MAX_SAFE, AnswerSchema, EitherSpelling, query_integer, slug, text
from models.chats import SessionStatus
from pipelines.settings import THINKING_LEVELS

SESSION_ID, MESSAGE_ID = "chat_01k2x8m4t6v9q3w5y7z1a2b3c4", "msg_01k2x8m4t6v9q3w5y7z1a2b3c4"
START_EXAMPLE = {"agent_id": "senior-engineer", "message": "What is in the repository?"}
MESSAGE_EXAMPLE = {"message": "Add a test for it"}
QUEUED_EXAMPLE = {
    "session_id": SESSION_ID,
    "status": "queued",
    "user_message_id": MESSAGE_ID,
    "assistant_message_id": "msg_01k2x8m4t6v9q3w5y7z1a2b3c5",
    "position": 0,
}
STOPPED_EXAMPLE = {"session_id": SESSION_ID, "status": "ready", "stopped_message_id": MESSAGE_ID, "cleared": 0}
FORK_EXAMPLE = {"message_id": MESSAGE_ID, "title": "Another way"}
REGENERATE_EXAMPLE = {"message": "Add two tests for it"}


def model(**options) -> fields.Str:
    """`provider/model`."""
    rules = [validate.Length(max=200), validate.Regexp(r"^[^/\s]+/\S+\Z", error="provider/model")]
    return fields.Str(allow_none=True, load_default=None, validate=rules, **options)


class ChatRequestSchema(EitherSpelling):
    CONFLICT = "conflicting_alias"


class StartChatSchema(ChatRequestSchema):
    """The body that opens a session."""

    agent_id = slug(required=True)
    model = model()
    system_prompt_supplement = text(32_768, allow_none=True, load_default=None)
    thinking_level = fields.Str(allow_none=True, load_default=None, validate=validate.OneOf(THINKING_LEVELS))
    title = fields.Str(allow_none=True, load_default=None, validate=validate.Length(1, 200))
    project_id = fields.Str(allow_none=True, load_default=None, validate=validate.Length(1, 200))
    metadata = fields.Dict(keys=fields.Str(), allow_none=True, load_default=None)
    message = text(MEGABYTE, allow_none=True, load_default=None)

    @ma.validates("metadata")
    def _small(self, value: dict | None, data_key: str) -> None:
        if value is not None and len(orjson.dumps(value)) > LONGEST_METADATA:
            raise ma.ValidationError(f"more than {LONGEST_METADATA} bytes as JSON")


class PostMessageSchema(ChatRequestSchema):
    ALIASES = {"content": "message"}

    message = text(MEGABYTE, required=True)
    model = model()
    attachment_ids = fields.List(fields.Str(), allow_none=True, load_default=list, validate=validate.Length(max=20))
    if_busy = fields.Str(
        allow_none=True, load_default="queue", validate=validate.OneOf(["queue", "reject", "interrupt"])
    )


class RegenerateSchema(ChatRequestSchema):
    ALIASES = {"content": "message"}

    message_id = fields.Str(
        allow_none=True, load_default=None, metadata={"description": "Of the user; default: the last"}
    )
    message = text(MEGABYTE, allow_none=True, load_default=None, metadata={"description": "In place of what was said"})
    model = model()


class ForkChatSchema(ChatRequestSchema):
    message_id = fields.Str(
        allow_none=True, load_default=None, metadata={"description": "The last one to take over; default: all"}
    )
    title = fields.Str(allow_none=True, load_default=None, validate=validate.Length(1, 200))
    model = model()


class StopSchema(ChatRequestSchema):
    clear_queue = fields.Bool(load_default=False, truthy={True}, falsy={False})


class ChatFilterSchema(PageSchema):
    agent_id = fields.Str(load_default=None)
    project_id = fields.Str(load_default=None)
    status = fields.Str(load_default="active", validate=validate.OneOf(["active", "all", *SessionStatus]))
    q = fields.Str(
        load_default=None,
        validate=validate.Length(2, 200),
        metadata={"description": "Words of a title or of one message, each as the start of a word"},
    )
    count = fields.Bool(load_default=False, metadata={"description": "Answer X-Total-Count"})


class ChatLookSchema(ma.Schema):
    messages_limit = query_integer(0, 1000, load_default=200)
    before_seq = query_integer(1, MAX_SAFE, load_default=None)
    superseded = fields.Bool(load_default=False, metadata={"description": "Show earlier versions too"})


class PurgeSchema(ma.Schema):
    purge = fields.Bool(load_default=False, metadata={"description": "Remove all that was said, too (admin)"})


class SessionSchema(AnswerSchema):
    id = fields.Str()
    agent_id = fields.Str()
    status = fields.Str(validate=validate.OneOf(list(SessionStatus)))
    title = fields.Str(allow_none=True)
    model = fields.Str()
    system_prompt_supplement = fields.Str(allow_none=True)
    thinking_level = fields.Str(allow_none=True)
    project_id = fields.Str(allow_none=True)
    metadata = fields.Dict()
    forked_from = fields.Dict(allow_none=True)
    message_count = fields.Int()
    queued_count = fields.Int()
    active_message_id = fields.Str(allow_none=True)
    error = fields.Str(allow_none=True)
    usage = fields.Nested(UsageSchema)
    last_seq = fields.Int()
    tainted_by = fields.Str(
        allow_none=True, metadata={"description": "What from outside was read in it; what it wants to share waits"}
    )
    created_by = fields.Str(allow_none=True)
    created_at = fields.Int()
    started_at = fields.Int(allow_none=True)
    last_activity_at = fields.Int()
    completed_at = fields.Int(allow_none=True)


class ChatToolCallSchema(AnswerSchema):
    tool_call_id = fields.Str()
    tool_name = fields.Str()
    arguments = fields.Dict()
    result = fields.Str(allow_none=True)
    is_error = fields.Bool(allow_none=True)
    duration_ms = fields.Int(allow_none=True)


class MessageSchema(AnswerSchema):
    id = fields.Str()
    session_id = fields.Str()
    seq = fields.Int()
    role = fields.Str(validate=validate.OneOf(["user", "assistant", "system"]))
    content = fields.Str()
    status = fields.Str()
    model = fields.Str(allow_none=True)
    thinking = fields.Str(allow_none=True)
    tool_calls = fields.List(fields.Nested(ChatToolCallSchema))
    attachments = fields.List(fields.Str())
    in_reply_to = fields.Str(allow_none=True)
    error = fields.Str(allow_none=True)
    error_code = fields.Str(allow_none=True)
    usage = fields.Nested(UsageSchema, allow_none=True)
    superseded = fields.Bool(metadata={"description": "Another version took its place"})
    created_at = fields.Int()
    started_at = fields.Int(allow_none=True)
    completed_at = fields.Int(allow_none=True)


class QueuedSchema(AnswerSchema):
    session_id = fields.Str()
    status = fields.Str()
    user_message_id = fields.Str()
    assistant_message_id = fields.Str()
    position = fields.Int(metadata={"description": "0: starts now"})


class StartedSchema(SessionSchema):
    messages = fields.List(fields.Nested(MessageSchema))
    first_message = fields.Nested(QueuedSchema, allow_none=True)


class SessionDetailSchema(SessionSchema):
    messages = fields.List(fields.Nested(MessageSchema))
    messages_truncated = fields.Bool()


class StoppedSchema(AnswerSchema):
    session_id = fields.Str()
    status = fields.Str()
    stopped_message_id = fields.Str(allow_none=True)
    cleared = fields.Int()
