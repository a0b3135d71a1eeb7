"""The ledger of LLM calls and tool calls: what was asked, what came back, what it cost.

LLM calls also are the journal of an attempt: a worker that takes over finds the replies of earlier turns here.
"""

from __future__ import annotations

import peewee

from models.base import JSONField, Model


class LLMCall(Model):
    id = peewee.TextField(primary_key=True)
    run_id = peewee.TextField(null=True)
    epoch = peewee.IntegerField(null=True)
    n = peewee.IntegerField(null=True)  # the visit
    step_key = peewee.TextField(null=True)
    attempt = peewee.IntegerField(null=True)
    turn = peewee.IntegerField(null=True)
    session_id = peewee.TextField(null=True)
    message_id = peewee.TextField(null=True)
    agent_id = peewee.TextField(null=True)
    pipeline_id = peewee.TextField(null=True)  # of the run, so that a list needs no join
    project_id = peewee.TextField(null=True)
    provider = peewee.TextField()
    model = peewee.TextField()
    status = peewee.TextField()  # ok, error, cancelled, reserved
    request_hash = peewee.TextField(null=True)
    reply = JSONField(null=True)  # {text, thinking, tool_calls}
    input_tokens = peewee.IntegerField(default=0)
    output_tokens = peewee.IntegerField(default=0)
    cache_read_tokens = peewee.IntegerField(default=0)
    cache_write_tokens = peewee.IntegerField(default=0)
    reasoning_tokens = peewee.IntegerField(default=0)
    cost_usd = peewee.DoubleField(null=True)  # null: price unknown
    price_id = peewee.TextField(null=True)
    raw_usage = JSONField(default=dict)
    finish_reason = peewee.TextField(null=True)
    error = peewee.TextField(null=True)
    http_status = peewee.IntegerField(null=True)
    tries = peewee.IntegerField(default=1)
    fallback_from = peewee.TextField(null=True)
    duration_ms = peewee.IntegerField(default=0)
    first_token_ms = peewee.IntegerField(null=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "llm_calls"
        indexes = (
            (("run_id", "epoch", "n"), False),
            (("agent_id", "created_at", "id"), False),
            (("pipeline_id", "created_at", "id"), False),
            (("provider", "created_at", "id"), False),
            (("model", "created_at", "id"), False),
        )


# The order of the ledger, with all that a summary adds up: it never reads the rows, which hold whole replies.
FACTS = (
    *("created_at", "id", "status", "provider", "model", "agent_id", "pipeline_id", "project_id", "run_id"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cost_usd", "duration_ms"),
)
LLMCall.add_index(LLMCall.index(*(LLMCall._meta.fields[name] for name in FACTS), name="llm_calls_facts"))


def _index_rare(column: peewee.Field, where: str) -> None:
    """For pages of what few calls have."""
    fields, name = (column, LLMCall.created_at, LLMCall.id), f"llm_calls_{column.name}"
    LLMCall.add_index(LLMCall.index(*fields, where=peewee.SQL(where), name=name))


_index_rare(LLMCall.project_id, "project_id IS NOT NULL")
_index_rare(LLMCall.session_id, "session_id IS NOT NULL")
_index_rare(LLMCall.status, "status <> 'ok'")


class ToolUse(Model):
    """One tool call of an agent's work, on its way through the statuses below."""

    id = peewee.TextField(primary_key=True)  # sha256 of (place, turn, index, tool, arguments)
    run_id = peewee.TextField(null=True)  # of a step's attempt, with the four that follow
    epoch = peewee.IntegerField(null=True)
    n = peewee.IntegerField(null=True)
    step_key = peewee.TextField(null=True)
    attempt = peewee.IntegerField(null=True)
    session_id = peewee.TextField(null=True)  # of a chat's turn
    message_id = peewee.TextField(null=True)
    turn = peewee.IntegerField()
    tool_call_id = peewee.TextField()
    tool_name = peewee.TextField()
    arguments = JSONField()
    status = peewee.TextField()  # planned, asked (waits for a person), allowed, intended (may have acted), done
    result = peewee.TextField(null=True)
    is_error = peewee.BooleanField(null=True)
    duration_ms = peewee.IntegerField(null=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "tool_uses"
        indexes = ((("run_id", "epoch", "n"), False),)


ToolUse.add_index(
    ToolUse.index(
        ToolUse.session_id,
        ToolUse.message_id,
        where=peewee.SQL("session_id IS NOT NULL"),
        name="tool_uses_of_chats",
    )
)
