"""What holds for every provider on a wire: the same tests against OpenAI's and Anthropic's protocol."""

from __future__ import annotations

import subprocess
import sys
import time
from email.utils import formatdate

import pytest

from models.errors import BadOutput, ContextTooLong, LeaseLost, ProviderRejected, ProviderTransient, Refused
from tests.workers.clients.double import Reply, anthropic_events, error, openai_answer, said, sse, text_block
from workers.clients import http
from workers.clients.llm.anthropic import Anthropic
from workers.clients.llm.base import Done, Message, Request, Text, ToolCall, ToolSpec, assistant_message
from workers.clients.llm.openai import OpenAI


def request(**fields) -> Request:
    return Request(**{"model": "m", "messages": (Message("user", "hello"),), "idle_seconds": 5, **fields})


@pytest.fixture(params=[OpenAI, Anthropic])
def kind(request):
    return request.param


@pytest.fixture
def provider(kind, allowed):
    path = "/v1" if kind is OpenAI else ""
    with http.client() as client:
        yield kind(allowed.url + path, "sk-test", client)


@pytest.fixture
def said_hello(kind):
    """The events of an answer, cut where a test wants it."""
    return openai_answer("Hel", "lo").chunks if kind is OpenAI else anthropic_events(text_block("Hel", "lo"))


@pytest.fixture
def begun(said_hello):
    """The events up to the first piece."""
    return said_hello[: 1 + next(index for index, chunk in enumerate(said_hello) if b"Hel" in chunk)]


def test_text_arrives_in_pieces_and_done_comes_last(provider, double, said_hello):
    double.says(Reply(chunks=said_hello))
    pieces = list(provider.stream(request()))
    assert [piece.text for piece in pieces if isinstance(piece, Text)] == ["Hel", "lo"]
    assert pieces[-1].finish_reason == "stop"
    assert pieces[-1].model in ("gpt-test-1", "claude-test-1")


def test_the_first_piece_arrives_before_the_answer_is_finished(provider, double, begun):
    double.says(Reply(chunks=begun, hang=True))
    stream = provider.stream(request())
    assert next(stream) == Text("Hel")
    stream.close()


def test_bytes_may_be_cut_anywhere(provider, double, said_hello):
    whole = b"".join(said_hello)
    double.says(Reply(chunks=[whole[start : start + 7] for start in range(0, len(whole), 7)]))
    assert assistant_message(provider.stream(request())).content == "Hello"


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (401, "bad key", ProviderRejected),
        (403, "not for you", ProviderRejected),
        (404, "no such model", ProviderRejected),
        (400, "a field is wrong", ProviderRejected),
        (429, "slow down", ProviderTransient),
        (429, "insufficient_quota: pay first", ProviderRejected),
        (500, "oops", ProviderTransient),
        (529, "overloaded", ProviderTransient),
        (400, "prompt is too long: 300000 tokens", ContextTooLong),
        (400, "this model's maximum context length is 8192 tokens", ContextTooLong),
        (413, "request too large", ContextTooLong),
        (400, "blocked by content_filter", Refused),
    ],
)
def test_a_status_becomes_an_error_of_ours(provider, double, status, message, expected):
    double.says(error(status, message))
    with pytest.raises(expected, match=message):
        list(provider.stream(request()))


def test_the_sdk_does_not_try_again_by_itself(provider, double):
    double.says(error(503, "busy"))
    with pytest.raises(ProviderTransient):
        list(provider.stream(request()))
    assert len(double.requests) == 1


IN_AN_HOUR = "in an hour"  # said when the test runs


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": IN_AN_HOUR}, 3000, 3601),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, 1.5),
        ({"x-ms-retry-after-ms": "250"}, 0.25, 0.25),
    ],
)
def test_the_time_to_wait_is_read_from_the_header(provider, double, headers, low, high):
    hour = formatdate(time.time() + 3600, usegmt=True)
    sent = {name: hour if value == IN_AN_HOUR else value for name, value in headers.items()}
    double.says(error(429, "slow down", sent))
    with pytest.raises(ProviderTransient) as caught:
        list(provider.stream(request()))
    assert low <= caught.value.retry_after <= high


@pytest.mark.parametrize("value", ["soon", "", "-1"])
def test_a_strange_time_to_wait_is_ignored(provider, double, value):
    double.says(error(429, "slow down", {"Retry-After": value}))
    with pytest.raises(ProviderTransient) as caught:
        list(provider.stream(request()))
    assert caught.value.retry_after is None


@pytest.mark.parametrize("ending", [{}, {"cut": True}])
def test_half_a_stream_is_a_passing_failure(provider, double, begun, ending):
    double.says(Reply(chunks=begun, **ending))
    with pytest.raises(ProviderTransient):
        list(provider.stream(request()))


@pytest.mark.parametrize("garbage", [b"data: {not json\n\n", b"data: [1]\n\n", b'data: {"choices": 3, "type": 1}\n\n'])
def test_garbage_is_a_passing_failure(provider, double, said_hello, garbage):
    double.says(Reply(chunks=[said_hello[0], garbage]))
    with pytest.raises(ProviderTransient):
        list(provider.stream(request()))


def test_an_error_in_the_stream_is_a_passing_failure(provider, double, begun):
    event = {"type": "error", "error": {"type": "overloaded_error", "message": "too busy"}}
    double.says(Reply(chunks=[*begun, *sse(event)]))
    with pytest.raises(ProviderTransient, match="too busy"):
        list(provider.stream(request()))


def test_silence_ends_after_the_idle_time(provider, double, begun):
    double.says(Reply(chunks=begun, hang=True))
    started = time.monotonic()
    with pytest.raises(ProviderTransient):
        list(provider.stream(request(idle_seconds=0.3)))
    assert time.monotonic() - started < 2


def test_nobody_listening_is_a_passing_failure(kind, setting):
    setting(EGRESS_ALLOW="127.0.0.1:9")
    with http.client() as client, pytest.raises(ProviderTransient):
        list(kind("http://127.0.0.1:9", "sk-test", client).stream(request()))


def test_a_flood_without_a_line_end_is_refused(provider, double):
    double.says(Reply(chunks=[b"data: " + b"x" * 2**20] + [b"x" * 2**20] * 50))
    with pytest.raises(BadOutput):
        list(provider.stream(request()))
    assert double.hung_up.wait(2)


def test_an_endless_answer_is_refused(provider, kind, double):
    long = "x" * 2**20
    chunks = sse(*[said({"content": long})] * 50) if kind is OpenAI else anthropic_events(text_block(*[long] * 50))
    double.says(Reply(chunks=chunks))
    with pytest.raises(BadOutput):
        list(provider.stream(request()))


def test_closing_the_stream_hangs_up_at_once(provider, double, begun):
    double.says(Reply(chunks=begun, hang=True))
    stream = provider.stream(request())
    next(stream)
    stream.close()
    assert double.hung_up.wait(1)


@pytest.mark.parametrize("chunks", [0, 4], ids=["before the answer", "within the answer"])
def test_an_exception_thrown_into_the_call_hangs_up_and_arrives_as_it_is(chunks, kind):
    """In a process of its own, as gevent is patched in there."""
    assert _patched("thrown_in", kind.__name__, str(chunks)) == "LeaseLost True"


def _patched(*arguments: str) -> str:
    argv = [sys.executable, "-m", "gevent.monkey", "--module", "tests.workers.clients.llm.patched", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def test_200_streams_share_one_process(kind):
    assert _patched("many", kind.__name__, "200") == "200"


def test_a_finished_connection_is_used_again(provider, double, said_hello):
    ports = set()
    send = double.send
    double.send = lambda handler, reply: (ports.add(handler.client_address), send(handler, reply))
    double.says(Reply(chunks=said_hello))
    for _ in range(3):
        list(provider.stream(request()))
    assert len(ports) == 1


def test_the_key_goes_into_its_header(provider, double, said_hello):
    double.says(Reply(chunks=said_hello))
    list(provider.stream(request()))
    headers = {name.lower(): value for name, value in double.requests[0][2].items()}
    assert headers["authorization"] == "Bearer sk-test"


def test_a_redirect_to_another_origin_gets_no_key(provider, double):
    double.says(Reply(307, {"Location": "http://example.com/v1/chat/completions"}))
    with pytest.raises(Exception, match="another origin"):
        list(provider.stream(request()))


def test_tools_are_offered_and_results_go_back(provider, double, said_hello):
    call = ToolCall("c1", "look", {"at": "x"})
    history = (Message("user", "go"), Message("assistant", "", (call,)), Message("tool", "seen", tool_call_id="c1"))
    double.says(Reply(chunks=said_hello))
    list(provider.stream(request(messages=history, tools=(ToolSpec("look", "Looks.", {"type": "object"}),))))
    body = double.requests[0][3]
    assert all(word in body for word in (b'"look"', b'"Looks."', b'"c1"', b'"seen"'))


def test_done_is_the_last_piece_of_an_empty_answer(provider, double, kind):
    double.says(openai_answer() if kind is OpenAI else Reply(chunks=anthropic_events()))
    assert isinstance(list(provider.stream(request()))[-1], Done)


def test_an_interruption_is_not_taken_for_a_network_error():
    from workers.clients.llm import wire

    class sdk:
        class APIStatusError(Exception): ...

        class APIConnectionError(Exception): ...

    with pytest.raises(LeaseLost), wire.translated(sdk):
        raise sdk.APIConnectionError from LeaseLost("gone")
