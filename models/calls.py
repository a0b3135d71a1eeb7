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
        indexes = ((("run_id", "epoch", "n"), False), (("created_at",), False))


class ToolUse(Model):
    """One tool call of an attempt, on its way through the statuses below."""

    id = peewee.TextField(primary_key=True)  # sha256 of (run, epoch, visit, attempt, turn, index, tool, arguments)
    run_id = peewee.TextField()
    epoch = peewee.IntegerField()
    n = peewee.IntegerField()
    step_key = peewee.TextField()
    attempt = peewee.IntegerField()
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
