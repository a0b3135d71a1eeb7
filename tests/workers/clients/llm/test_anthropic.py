"""What is Anthropic's own."""

from __future__ import annotations

import pytest

from models.errors import ContextTooLong, Refused
from tests.workers.clients.double import anthropic_answer, error, text_block
from workers.clients import http
from workers.clients.llm.anthropic import Anthropic
from workers.clients.llm.base import (
    Message,
    OutputSchema,
    Request,
    Text,
    Thinking,
    ToolCall,
    ToolSpec,
    Usage,
    assistant_message,
)

SCHEMA = OutputSchema("plan", True, {"type": "object", "properties": {"a": {"type": "integer"}}})


def request(**fields) -> Request:
    return Request(**{"model": "m", "messages": (Message("user", "hello"),), "idle_seconds": 5, **fields})


def tool_block(*arguments: str, name: str = "look") -> tuple[dict, list[dict]]:
    block = {"type": "tool_use", "id": "t1", "name": name, "input": {}}
    return block, [{"type": "input_json_delta", "partial_json": part} for part in arguments]


def thinking_block(text: str, signature: str) -> tuple[dict, list[dict]]:
    deltas = [{"type": "thinking_delta", "thinking": text}, {"type": "signature_delta", "signature": signature}]
    return {"type": "thinking", "thinking": ""}, deltas


@pytest.fixture
def provider(allowed):
    with http.client() as client:
        yield Anthropic(allowed.url, "sk-test", client)


@pytest.fixture
def sent(provider, double):
    """The body that a request becomes."""

    def send(**fields) -> dict:
        double.says(anthropic_answer(text_block("x")))
        list(provider.stream(request(**fields)))
        return double.bodies()[-1]

    return send


def test_usage_counts_the_cache_as_input(provider, double):
    double.says(anthropic_answer(text_block("x")))
    usage = next(piece for piece in provider.stream(request()) if isinstance(piece, Usage))
    assert (usage.input_tokens, usage.output_tokens) == (95, 30)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (80, 5)


def test_a_tool_call_is_put_together_from_its_parts(provider, double):
    double.says(anthropic_answer(text_block("so"), tool_block('{"at', '": "x"}'), stop="tool_use"))
    pieces = list(provider.stream(request()))
    assert ToolCall("t1", "look", {"at": "x"}) in pieces
    assert pieces[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(("arguments", "has_problem"), [((), False), (("{",), True), (("[]",), True)])
def test_only_objects_are_arguments(provider, double, arguments, has_problem):
    double.says(anthropic_answer(tool_block(*arguments), stop="tool_use"))
    call = next(piece for piece in provider.stream(request()) if isinstance(piece, ToolCall))
    assert (call.problem is not None) == has_problem


def test_thinking_goes_back_with_its_signature(provider, double, sent):
    sealed = {"type": "redacted_thinking", "data": "sealed"}, []
    double.says(anthropic_answer(thinking_block("hm", "sig"), sealed, text_block("yes")))
    message = assistant_message(provider.stream(request()))
    assert sent(messages=(message,))["messages"][0]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "sealed"},
        {"type": "text", "text": "yes"},
    ]


def test_thinking_of_another_provider_stays_behind(sent):
    message = Message("assistant", "yes", thinking=(Thinking("hm"),))
    assert sent(messages=(message,))["messages"][0]["content"] == [{"type": "text", "text": "yes"}]


def test_calls_and_results_go_back_as_blocks(sent):
    call = ToolCall("t1", "look", {"at": "x"})
    history = (Message("assistant", "", (call,)), Message("tool", "seen", tool_call_id="t1"))
    assistant, user = sent(messages=history, tools=(ToolSpec("look", "L", {"type": "object"}),))["messages"]
    assert assistant["content"] == [{"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "x"}}]
    assert user["role"] == "user"
    assert user["content"] == [{"type": "tool_result", "tool_use_id": "t1", "content": "seen"}]


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_a_blank_message_is_not_sent_blank(sent, role):
    assert sent(messages=(Message(role, " \n"),))["messages"][0]["content"] == [{"type": "text", "text": "(empty)"}]


def test_there_is_always_a_limit(sent):
    assert sent()["max_tokens"] > 1000
    assert sent(max_output_tokens=7)["max_tokens"] == 7


def test_the_system_prompt_and_the_temperature_are_sent(sent):
    body = sent(system="S", temperature=0.5)
    assert (body["system"], body["temperature"]) == ("S", 0.5)


def test_a_thinking_model_gets_its_effort_and_no_temperature(sent):
    body = sent(thinking_level="high", temperature=0.5)
    assert body["thinking"]["type"] == "adaptive"
    assert body["output_config"] == {"effort": "high"}
    assert "temperature" not in body


def test_thinking_can_be_switched_off(sent):
    body = sent(thinking_level="off", temperature=0.5)
    assert body["thinking"] == {"type": "disabled"}
    assert body["temperature"] == 0.5


def test_an_older_model_gets_a_budget_for_its_thinking(provider, double):
    double.says(
        error(400, "effort is not supported"),
        error(400, "adaptive thinking is not supported"),
        anthropic_answer(text_block("x")),
    )
    list(provider.stream(request(thinking_level="high", max_output_tokens=8000)))
    assert double.bodies()[2]["thinking"] == {"type": "enabled", "budget_tokens": 4000}


def test_a_model_that_cannot_think_does_not_have_to(provider, double):
    refusals = [error(400, "effort"), error(400, "thinking"), error(400, "thinking")]
    double.says(*refusals, anthropic_answer(text_block("x")))
    list(provider.stream(request(thinking_level="low")))
    assert not {"thinking", "output_config"} & double.bodies()[3].keys()


@pytest.mark.parametrize(
    ("stop", "expected"), [("refusal", Refused), ("model_context_window_exceeded", ContextTooLong)]
)
def test_an_answer_may_end_badly(provider, double, stop, expected):
    double.says(anthropic_answer(text_block("x"), stop=stop))
    with pytest.raises(expected):
        list(provider.stream(request()))


def test_the_reason_of_a_refusal_is_told(provider, double):
    double.says(anthropic_answer(stop="refusal", stop_details={"explanation": "too dangerous"}))
    with pytest.raises(Refused, match="too dangerous"):
        list(provider.stream(request()))


def test_a_schema_is_asked_for_as_output_format(sent):
    assert sent(output_schema=SCHEMA)["output_config"]["format"] == {"type": "json_schema", "schema": SCHEMA.schema}


def test_a_model_that_refuses_the_format_gets_a_forced_tool_and_no_thinking(provider, double):
    submitted = anthropic_answer(tool_block('{"a":', " 1}", name="submit_plan"), stop="tool_use")
    double.says(error(400, "output_config.format: not supported"), submitted)
    pieces = list(provider.stream(request(output_schema=SCHEMA, thinking_level="high")))
    assert pieces[:2] == [Text('{"a":'), Text(" 1}")]
    assert pieces[-1].finish_reason == "stop"
    assert double.bodies()[1]["tool_choice"] == {"type": "tool", "name": "submit_plan"}
    assert "thinking" not in double.bodies()[1]


def test_a_model_that_refuses_both_gets_the_schema_in_the_prompt(provider, double):
    double.says(error(400, "output_format"), error(400, "tool_choice"), anthropic_answer(text_block("{}")))
    list(provider.stream(request(output_schema=SCHEMA)))
    assert '"integer"' in double.bodies()[2]["system"]
    assert "tools" not in double.bodies()[2]
