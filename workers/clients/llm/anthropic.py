"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import anthropic
import httpx2

from models.errors import ContextTooLong, Refused
from workers.clients.llm import dialects, wire
from workers.clients.llm.base import Done, Message, Piece, Request, Text, Thinking, ToolSpec, Usage
from workers.clients.llm.dialects import Adjusted

DEFAULT_MAX_TOKENS = 16_384  # the API has no default of its own

FIELDS = {
    "effort": ("effort",),
    "adaptive": ("thinking",),  # adjusted: a fixed budget of thinking tokens
    "thinking": ("thinking",),
    "temperature": ("temperature",),
    "cache_control": ("cache_control",),
    **dialects.OUTPUT_FIELDS,
}
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"}
THINKING_TOKENS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768}
MIN_THINKING_TOKENS = 1024  # fewer are refused
FINISH_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


class Anthropic:
    """One server. `key` goes to `base_url` and nowhere else."""

    def __init__(self, base_url: str, key: str, client: httpx2.Client) -> None:
        self._sdk = anthropic.Anthropic(api_key=key, base_url=base_url, max_retries=0, http_client=client)
        self._dialect = dialects.Dialect(anthropic, FIELDS)

    def stream(self, request: Request) -> Iterator[Piece]:
        with wire.translated(anthropic), self._dialect.open(request, self._call) as (chunks, adjusted):
            answer = _Answer(request.model, is_submitted=bool(dialects.output_tool(request, adjusted)))
            yield from answer.pieces(wire.events(chunks))

    def _call(self, request: Request, adjusted: Adjusted):
        create = self._sdk.messages.with_streaming_response.create
        return create(**_payload(request, adjusted), **wire.options(request))


def _payload(request: Request, adjusted: Adjusted) -> dict[str, Any]:
    thinking = _thinking(request, adjusted)
    fields = {
        "model": request.model,
        "max_tokens": request.max_output_tokens or DEFAULT_MAX_TOKENS,
        "system": dialects.system_prompt(request, adjusted),
        "messages": [_message(message) for message in request.messages],
        "tools": [_tool(spec) for spec in request.tools],
        "thinking": thinking,
        "output_config": _output_config(request, adjusted),
        "cache_control": {} if "cache_control" in adjusted else {"type": "ephemeral"},
        "extra_body": _temperature(request, adjusted, thinking),
    }
    if tool := dialects.output_tool(request, adjusted):
        fields |= {"tools": [_tool(tool)], "tool_choice": {"type": "tool", "name": tool.name}}
    return {name: value for name, value in fields.items() if value}


def _thinking(request: Request, adjusted: Adjusted) -> dict[str, Any]:
    """A forced tool and thinking exclude each other."""
    if request.thinking_level is None or "thinking" in adjusted or dialects.output_tool(request, adjusted):
        return {}
    if request.thinking_level == "off":
        return {"type": "disabled"}
    if "adaptive" not in adjusted:
        return {"type": "adaptive", "display": "summarized"}
    budget = min(THINKING_TOKENS[request.thinking_level], (request.max_output_tokens or DEFAULT_MAX_TOKENS) // 2)
    return {"type": "enabled", "budget_tokens": budget} if budget >= MIN_THINKING_TOKENS else {}


def _output_config(request: Request, adjusted: Adjusted) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if dialects.has_response_format(request, adjusted):
        config["format"] = {"type": "json_schema", "schema": request.output_schema.schema}
    effort = EFFORTS.get(request.thinking_level or "")
    if effort and not adjusted.intersection({"effort", "adaptive"}):
        config["effort"] = effort
    return config


def _temperature(request: Request, adjusted: Adjusted, thinking: dict[str, Any]) -> dict[str, Any]:
    """The SDK has no parameter for it any more, models that still have one do not take it while they think."""
    is_thinking = thinking and thinking["type"] != "disabled"
    if request.temperature is None or "temperature" in adjusted or is_thinking:
        return {}
    return {"temperature": request.temperature}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {"name": spec.name, "description": spec.description, "input_schema": spec.parameters}


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
        return {"role": "user", "content": [result]}
    if message.role == "assistant":
        return {"role": "assistant", "content": list(_blocks(message)) or [_text("")]}
    return {"role": "user", "content": [_text(message.content)]}


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    """Thinking that this provider signed, the text, the calls."""
    for thought in message.thinking:
        if thought.redacted:
            yield {"type": "redacted_thinking", "data": thought.signature}
        elif thought.signature:
            yield {"type": "thinking", "thinking": thought.text, "signature": thought.signature}
    if message.content.strip():
        yield _text(message.content)
    for call in message.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text if text.strip() else "(empty)"}  # blank blocks are refused


class _Answer:
    """Turns the events of one answer into pieces. `is_submitted`: it comes as the arguments of a forced tool."""

    def __init__(self, model: str, is_submitted: bool) -> None:
        self._model, self._is_submitted = model, is_submitted
        self._counted = wire.Counter()
        self._call: tuple[str, str] | None = None  # (id, name) of the call whose arguments are arriving
        self._arguments: list[str] = []
        self._usage: dict[str, Any] = {}
        self._stop: dict[str, Any] = {}

    def pieces(self, events: Iterable[dict[str, Any]]) -> Iterator[Piece]:
        steps = {
            "message_start": self._start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
        }
        with wire.shaped():
            for event in events:
                if step := steps.get(event["type"]):
                    yield from step(event)
            yield from self._end()

    def _start(self, event: dict[str, Any]) -> Iterable[Piece]:
        self._model = event["message"].get("model") or self._model
        self._count(event["message"].get("usage"))
        return ()

    def _block_start(self, event: dict[str, Any]) -> Iterable[Piece]:
        block = event["content_block"]
        if block["type"] == "tool_use":
            self._call, self._arguments = (block["id"], block["name"]), []
        if block["type"] == "redacted_thinking":
            return (Thinking("", self._counted(block["data"]), redacted=True),)
        return ()

    def _block_delta(self, event: dict[str, Any]) -> Iterable[Piece]:
        delta = event["delta"]
        match delta["type"]:
            case "text_delta":
                return (Text(self._counted(delta["text"])),)
            case "thinking_delta":
                return (Thinking(self._counted(delta["thinking"])),)
            case "signature_delta":
                return (Thinking("", self._counted(delta["signature"])),)
            case "input_json_delta":
                self._arguments.append(self._counted(delta["partial_json"]))
                return (Text(delta["partial_json"]),) if self._is_submitted and delta["partial_json"] else ()
        return ()

    def _block_stop(self, event: dict[str, Any]) -> Iterable[Piece]:
        call, self._call = self._call, None
        if call is None or self._is_submitted:
            return ()
        return (wire.tool_call(*call, "".join(self._arguments)),)

    def _message_delta(self, event: dict[str, Any]) -> Iterable[Piece]:
        self._stop = event["delta"]
        self._count(event.get("usage"))
        return ()

    def _count(self, usage: dict[str, Any] | None) -> None:
        """Figures are cumulative; a later event leaves out those that did not change."""
        self._usage |= {name: value for name, value in (usage or {}).items() if value is not None}

    def _end(self) -> Iterator[Piece]:
        reason = self._stop.get("stop_reason")
        if not reason:
            raise wire.cut_short()
        if reason == "refusal":
            details = self._stop.get("stop_details") or {}
            raise Refused(details.get("explanation") or "the provider refused to answer")
        if reason == "model_context_window_exceeded":
            raise ContextTooLong("the answer does not fit the model's context any more")
        yield _usage(self._usage)
        finish = FINISH_REASONS.get(reason, reason)
        yield Done("stop" if self._is_submitted and finish == "tool_calls" else finish, self._model)


def _usage(raw: dict[str, Any]) -> Usage:
    read, written = raw.get("cache_read_input_tokens", 0), raw.get("cache_creation_input_tokens", 0)
    return Usage(
        input_tokens=raw.get("input_tokens", 0) + read + written,
        output_tokens=raw.get("output_tokens", 0),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=raw.get("output_tokens_details", {}).get("thinking_tokens", 0),
        raw=raw,
    )
