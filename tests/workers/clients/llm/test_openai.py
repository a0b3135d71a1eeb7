"""What is OpenAI's own, and what the servers that imitate it do differently."""

from __future__ import annotations

import pytest

from models.errors import ProviderRejected, ProviderTransient, Refused
from tests.workers.clients.double import Reply, error, openai_answer, said, sse
from workers.clients import http
from workers.clients.llm.base import Message, OutputSchema, Request, Text, Thinking, ToolCall, ToolSpec, Usage
from workers.clients.llm.openai import OpenAI

SCHEMA = OutputSchema("plan", True, {"type": "object", "properties": {"a": {"type": "integer"}}})


def request(**fields) -> Request:
    return Request(**{"model": "m", "messages": (Message("user", "hello"),), "idle_seconds": 5, **fields})


@pytest.fixture
def provider(allowed):
    with http.client() as client:
        yield OpenAI(f"{allowed.url}/v1", "sk-test", client)


def stream_of(*deltas: dict, finish: str = "tool_calls") -> Reply:
    return Reply(chunks=sse(*map(said, deltas), said({}, finish), "[DONE]"))


def part(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> dict:
    return {"tool_calls": [{"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}]}


def calls(pieces) -> list[ToolCall]:
    return [piece for piece in pieces if isinstance(piece, ToolCall)]


def test_usage_is_counted(provider, double):
    double.says(openai_answer("hi"))
    usage = next(piece for piece in provider.stream(request()) if isinstance(piece, Usage))
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.reasoning_tokens) == (
        100,
        20,
        60,
        5,
    )
    assert usage.raw["total_tokens"] == 120


def test_reasoning_left_out_of_the_completion_is_found_in_the_total(provider, double):
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45}
    double.says(Reply(chunks=sse(said({}, "stop", usage=usage), "[DONE]")))
    assert next(iter(provider.stream(request()))).output_tokens == 35


def test_a_server_may_send_no_usage(provider, double):
    double.says(stream_of({"content": "x"}, finish="stop"))
    assert not any(isinstance(piece, Usage) for piece in provider.stream(request()))


def test_a_tool_call_is_put_together_from_its_parts(provider, double):
    double.says(stream_of(part(0, "c1", "look", ""), part(0, None, None, '{"at"'), part(0, None, None, ': "x"}')))
    assert calls(provider.stream(request())) == [ToolCall("c1", "look", {"at": "x"})]


def test_parallel_calls_are_told_apart_by_index(provider, double):
    double.says(
        stream_of(part(0, "c1", "a", "{"), part(1, "c2", "b", "{"), part(0, None, None, "}"), part(1, None, None, "}"))
    )
    assert [(call.id, call.name, call.problem) for call in calls(provider.stream(request()))] == [
        ("c1", "a", None),
        ("c2", "b", None),
    ]


def test_calls_that_share_an_index_are_told_apart_by_id(provider, double):
    double.says(stream_of(part(0, "c1", "a", "{}"), part(0, "c2", "b", "{}"), part(0, "c3", "c", "{}")))
    assert [call.name for call in calls(provider.stream(request()))] == ["a", "b", "c"]


def test_calls_without_ids_get_one(provider, double):
    double.says(stream_of(part(0, None, "a", "{}"), part(1, "", "b", "{}")))
    assert len({call.id for call in calls(provider.stream(request()))}) == 2


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "nonsense"])
def test_arguments_that_are_no_object_become_a_problem(provider, double, arguments):
    double.says(stream_of(part(0, "c1", "look", arguments)))
    (call,) = calls(provider.stream(request()))
    assert call.arguments == {}
    assert "arguments are not" in call.problem


def test_a_call_without_arguments_has_none(provider, double):
    double.says(stream_of(part(0, "c1", "look", "")))
    assert calls(provider.stream(request())) == [ToolCall("c1", "look", {})]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_is_told_from_text(provider, double, field):
    double.says(stream_of({field: "hmm"}, {"content": "yes"}, finish="stop"))
    assert list(provider.stream(request()))[:2] == [Thinking("hmm"), Text("yes")]


def test_text_in_parts_is_joined(provider, double):
    double.says(stream_of({"content": [{"type": "text", "text": "a"}, {"type": "thinking"}]}, finish="stop"))
    assert next(iter(provider.stream(request()))) == Text("a")


@pytest.mark.parametrize(
    ("finish", "expected"), [("length", "length"), ("function_call", "tool_calls"), ("stop", "stop")]
)
def test_the_reason_of_the_end_is_ours(provider, double, finish, expected):
    double.says(stream_of({"content": "x"}, finish=finish))
    assert list(provider.stream(request()))[-1].finish_reason == expected


@pytest.mark.parametrize(
    ("delta", "finish", "expected"),
    [
        ({"refusal": "I will not"}, "stop", Refused),
        ({"content": "x"}, "content_filter", Refused),
        ({"content": "x"}, "error", ProviderTransient),
    ],
)
def test_an_answer_may_be_refused_halfway(provider, double, delta, finish, expected):
    double.says(stream_of(delta, finish=finish))
    with pytest.raises(expected):
        list(provider.stream(request()))


def test_what_the_request_sets_is_sent(provider, double):
    double.says(openai_answer("x"))
    list(provider.stream(request(system="S", max_output_tokens=50, temperature=0.5, thinking_level="high")))
    (body,) = double.bodies()
    assert body["messages"][0] == {"role": "system", "content": "S"}
    assert (body["max_tokens"], body["temperature"], body["reasoning_effort"]) == (50, 0.5, "high")
    assert body["stream_options"] == {"include_usage": True}


def test_what_the_request_leaves_open_is_left_out(provider, double):
    double.says(openai_answer("x"))
    list(provider.stream(request()))
    assert double.bodies()[0].keys() == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("field", ["temperature", "reasoning_effort", "stream_options"])
def test_a_refused_field_is_left_out_and_that_is_remembered(provider, double, field):
    double.says(error(400, f"Unsupported parameter: '{field}'", param=field), openai_answer("x"))
    for _ in range(2):
        list(provider.stream(request(temperature=0.5, thinking_level="off")))
    first, second, third = double.bodies()
    assert field in first
    assert field not in second
    assert field not in third


def test_a_model_that_wants_another_name_for_the_limit_gets_it(provider, double):
    double.says(error(400, "'max_tokens' is not supported, use 'max_completion_tokens'"), openai_answer("x"))
    list(provider.stream(request(max_output_tokens=9)))
    assert double.bodies()[1]["max_completion_tokens"] == 9
    assert "max_tokens" not in double.bodies()[1]


def test_a_model_that_wants_its_thinking_back_gets_it(provider, double):
    double.says(error(400, "reasoning_content is missing in assistant message"), openai_answer("x"))
    list(provider.stream(request(messages=(Message("assistant", "a", thinking=(Thinking("hm"),)),))))
    assert "reasoning_content" not in double.bodies()[0]["messages"][0]
    assert double.bodies()[1]["messages"][0]["reasoning_content"] == "hm"


def test_a_field_that_stays_refused_is_the_end(provider, double):
    double.says(error(400, "temperature is wrong"))
    with pytest.raises(ProviderRejected, match="temperature"):
        list(provider.stream(request(temperature=3.0)))
    assert len(double.requests) == 2


def test_a_schema_is_asked_for_as_response_format(provider, double):
    double.says(openai_answer('{"a": 1}'))
    list(provider.stream(request(output_schema=SCHEMA)))
    json_schema = double.bodies()[0]["response_format"]["json_schema"]
    assert json_schema == {"name": "plan", "strict": True, "schema": SCHEMA.schema}


def test_a_server_that_refuses_the_format_gets_a_forced_tool(provider, double):
    submitted = stream_of(part(0, "c1", "submit_plan", '{"a":'), part(0, None, None, " 1}"))
    double.says(error(400, "response_format is not supported"), submitted)
    pieces = list(provider.stream(request(output_schema=SCHEMA)))
    assert pieces[:2] == [Text('{"a":'), Text(" 1}")]
    assert pieces[-1].finish_reason == "stop"
    assert double.bodies()[1]["tool_choice"]["function"]["name"] == "submit_plan"


def test_a_server_that_refuses_both_gets_the_schema_in_the_prompt(provider, double):
    double.says(error(400, "no json_schema"), error(422, "tool_choice unknown"), openai_answer('{"a": 1}'))
    list(provider.stream(request(output_schema=SCHEMA, system="S")))
    body = double.bodies()[2]
    assert '"integer"' in body["messages"][0]["content"]
    assert not {"tools", "tool_choice", "response_format"} & body.keys()


def test_the_tool_comes_first_where_the_step_says_so(provider, double):
    double.says(stream_of(part(0, "c1", "submit_plan", '{"a": 1}')))
    assert next(iter(provider.stream(request(output_schema=SCHEMA, output_method="tool_use")))) == Text('{"a": 1}')
    assert "response_format" not in double.bodies()[0]


def test_a_past_call_is_told_as_it_was(provider, double):
    history = (
        Message("assistant", "", (ToolCall("c1", "look", {"at": "x"}),)),
        Message("tool", "y", tool_call_id="c1"),
    )
    double.says(openai_answer("x"))
    list(provider.stream(request(messages=history, tools=(ToolSpec("look", "L", {"type": "object"}),))))
    assistant, tool = double.bodies()[0]["messages"]
    assert assistant["content"] is None
    assert assistant["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at":"x"}'}
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "y"}


def test_the_operators_openai_organization_is_not_told_to_others(double, allowed, setting):
    setting(OPENAI_ORG_ID="org-secret", OPENAI_PROJECT_ID="p-secret", OPENAI_BASE_URL="http://127.0.0.1:9")
    double.says(openai_answer("x"))
    with http.client() as client:
        list(OpenAI(f"{allowed.url}/v1", "sk-test", client).stream(request()))
    assert "secret" not in str(double.requests[0][2])
