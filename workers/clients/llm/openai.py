"""OpenAI's chat completions, as OpenAI and all compatible servers speak them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import httpx2
import openai
import orjson

from models.errors import ProviderTransient, Refused
from workers.clients.llm import dialects, wire
from workers.clients.llm.base import Done, Message, Piece, Request, Text, Thinking, ToolCall, ToolSpec, Usage
from workers.clients.llm.dialects import Adjusted

FIELDS = {
    "max_tokens": ("max_tokens",),  # adjusted: max_completion_tokens
    "reasoning_content": ("reasoning_content",),  # adjusted: earlier thinking is sent back
    "temperature": ("temperature",),
    "stream_options": ("stream_options",),
    "reasoning_effort": ("reasoning_effort", "reasoning effort"),
    **dialects.OUTPUT_FIELDS,
}
LEFT_OUT = ("temperature", "stream_options", "reasoning_effort")
FINISH_REASONS = {"function_call": "tool_calls", "model_length": "length", "max_tokens": "length"}


class OpenAI:
    """One server. `key` goes to `base_url` and nowhere else."""

    def __init__(self, base_url: str, key: str, client: httpx2.Client) -> None:
        self._sdk = openai.OpenAI(
            api_key=key,
            base_url=base_url,
            max_retries=0,
            http_client=client,
            default_headers={"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()},
        )
        self._dialect = dialects.Dialect(openai, FIELDS)

    def stream(self, request: Request) -> Iterator[Piece]:
        with wire.translated(openai), self._dialect.open(request, self._call) as (chunks, adjusted):
            answer = _Answer(request.model, is_submitted=bool(dialects.output_tool(request, adjusted)))
            yield from answer.pieces(wire.events(chunks))

    def _call(self, request: Request, adjusted: Adjusted):
        create = self._sdk.chat.completions.with_streaming_response.create
        return create(**_payload(request, adjusted), **wire.options(request))


def _payload(request: Request, adjusted: Adjusted) -> dict[str, Any]:
    fields = {
        "model": request.model,
        "messages": _messages(request, adjusted),
        "stream_options": {"include_usage": True},
        "temperature": request.temperature,
        "reasoning_effort": "none" if request.thinking_level == "off" else request.thinking_level,
        "tools": [_tool(spec) for spec in request.tools] or None,
        "max_completion_tokens" if "max_tokens" in adjusted else "max_tokens": request.max_output_tokens,
        **_output_format(request, adjusted),
    }
    dropped = adjusted.intersection(LEFT_OUT)
    return {name: value for name, value in fields.items() if value is not None and name not in dropped}


def _output_format(request: Request, adjusted: Adjusted) -> dict[str, Any]:
    if dialects.has_response_format(request, adjusted):
        name, strict, schema = request.output_schema
        json_schema = {"name": name, "strict": strict, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": json_schema}}
    if tool := dialects.output_tool(request, adjusted):
        return {"tools": [_tool(tool)], "tool_choice": {"type": "function", "function": {"name": tool.name}}}
    return {}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}


def _messages(request: Request, adjusted: Adjusted) -> list[dict[str, Any]]:
    system = dialects.system_prompt(request, adjusted)
    first = [{"role": "system", "content": system}] if system else []
    return first + [_message(message, "reasoning_content" in adjusted) for message in request.messages]


def _message(message: Message, with_thinking: bool) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields |= {"content": message.content or None, "tool_calls": [_past_call(call) for call in message.tool_calls]}
    if with_thinking and message.role == "assistant":
        fields["reasoning_content"] = "".join(block.text for block in message.thinking)
    return fields


def _past_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.id, "type": "function", "function": function}


class _Answer:
    """Turns the events of one answer into pieces. `is_submitted`: it comes as the arguments of a forced tool."""

    def __init__(self, model: str, is_submitted: bool) -> None:
        self._model, self._is_submitted = model, is_submitted
        self._counted = wire.Counter()
        self._calls: list[dict[str, Any]] = []
        self._usage: dict[str, Any] | None = None
        self._finish = self._refusal = ""

    def pieces(self, events: Iterable[dict[str, Any]]) -> Iterator[Piece]:
        with wire.shaped():
            for event in events:
                self._model = event.get("model") or self._model
                self._usage = event.get("usage") or self._usage
                for choice in event.get("choices") or ():
                    self._finish = choice.get("finish_reason") or self._finish
                    yield from self._said(choice.get("delta") or {})
            yield from self._end()

    def _said(self, delta: dict[str, Any]) -> Iterator[Piece]:
        if thinking := delta.get("reasoning_content") or delta.get("reasoning"):
            yield Thinking(self._counted(thinking))
        if text := delta.get("content"):
            yield Text(self._counted(text if isinstance(text, str) else _plain(text)))
        if refusal := delta.get("refusal"):
            self._refusal += self._counted(refusal)
        for part in delta.get("tool_calls") or ():
            yield from self._called(part)

    def _called(self, part: dict[str, Any]) -> Iterator[Piece]:
        function = part.get("function") or {}
        arguments = self._counted(function.get("arguments") or "")
        call = self._call_of(part)
        call["name"] = call["name"] or function.get("name") or ""
        call["arguments"].append(arguments)
        if self._is_submitted and arguments:
            yield Text(arguments)

    def _call_of(self, part: dict[str, Any]) -> dict[str, Any]:
        """The call that `part` goes on with, or a new one; some servers tell calls apart by id, not by index."""
        call_id, index = part.get("id"), part.get("index") or 0
        for call in reversed(self._calls):
            if call["id"] == call_id if call_id else call["index"] == index:
                return call
        self._calls.append({"id": call_id or f"call_{len(self._calls)}", "index": index, "name": "", "arguments": []})
        return self._calls[-1]

    def _end(self) -> Iterator[Piece]:
        if self._refusal or self._finish == "content_filter":
            raise Refused(self._refusal or "the provider's content filter stopped the answer")
        if self._finish == "error":
            raise ProviderTransient("the provider failed in the middle of the answer")
        if not self._finish:
            raise wire.cut_short()
        if not self._is_submitted:
            yield from (wire.tool_call(call["id"], call["name"], "".join(call["arguments"])) for call in self._calls)
        if self._usage:
            yield _usage(self._usage)
        finish = FINISH_REASONS.get(self._finish, self._finish)
        yield Done("stop" if self._is_submitted and finish == "tool_calls" else finish, self._model)


def _plain(content: list[dict[str, Any]]) -> str:
    return "".join(part.get("text") or "" for part in content)


def _usage(raw: dict[str, Any]) -> Usage:
    heard = raw.get("prompt_tokens") or 0
    inside = raw.get("prompt_tokens_details") or {}
    made = raw.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=heard,
        # some leave the reasoning out of completion_tokens, none out of total_tokens
        output_tokens=max(raw.get("completion_tokens") or 0, (raw.get("total_tokens") or 0) - heard),
        cache_read_tokens=inside.get("cached_tokens") or raw.get("prompt_cache_hit_tokens") or 0,
        cache_write_tokens=inside.get("cache_write_tokens") or 0,
        reasoning_tokens=made.get("reasoning_tokens") or 0,
        raw=raw,
    )
