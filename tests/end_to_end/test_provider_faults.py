"""What a provider can do wrong, over the real wire: every run ends as the table of failures says."""

from __future__ import annotations

import pytest

from models import config
from tests.engine import Engine
from tests.workers.clients.double import Double, Reply, error, openai_answer, said, sse
from workers.clients.llm import tries

pytestmark = pytest.mark.usefixtures("store")
PIPELINE = """
id: call
agents: [{id: a}]
defaults: {maxRetries: 1, retry: {delaySeconds: 0}}
steps: [{id: CALL, agent: a, input: hello, outputs: [x], model: custom-double/m, tools: [TOOLS], idleTimeoutSeconds: 1}]
"""


@pytest.fixture
def double(monkeypatch):
    double = Double()
    monkeypatch.setenv("CUSTOM_DOUBLE_BASE_URL", f"{double.url}/v1")
    monkeypatch.setenv("EGRESS_ALLOW", double.place)
    monkeypatch.setattr(tries, "FIRST_SECONDS", 0.01)
    config.get.cache_clear()
    yield double
    double.close()


def run_with(double: Double, *replies: Reply, tools: str = "") -> Engine:
    double.says(*replies)
    return Engine(PIPELINE.replace("TOOLS", tools)).finish()


def test_an_overloaded_provider_is_asked_again(double) -> None:
    run = run_with(double, error(429, "slow down", {"Retry-After": "0"}), error(500, "oops"), openai_answer("fine"))
    assert (run.run.status, run.run.outputs, len(double.requests)) == ("completed", {"x": "fine"}, 3)
    assert run.of("CALL")[0].attempt == 1


def test_one_that_stays_down_fails_the_step_after_its_repeats(double) -> None:
    run = run_with(double, error(503, "down"))
    assert (run.run.status, run.run.error_code) == ("failed", "provider_transient")
    assert (run.of("CALL")[0].attempt, len(double.requests)) == (2, 2 * tries.TRIES)
    run.check_log()


def test_a_wrong_key_is_final(double) -> None:
    run = run_with(double, error(401, "no such key"))
    assert (run.run.error_code, len(double.requests)) == ("provider_rejected", 1)


def test_a_refusal_is_final(double) -> None:
    run = run_with(double, error(400, "blocked", code="content_filter"))
    assert run.run.error_code in ("refused", "provider_rejected") and run.of("CALL")[0].attempt == 1


def test_a_stream_that_breaks_off_is_repeated_as_a_new_attempt(double) -> None:
    half = Reply(chunks=sse(said({"content": "half an ans"})), cut=True)
    run = run_with(double, half, openai_answer("whole"))
    assert (run.run.outputs, run.of("CALL")[0].attempt) == ({"x": "whole"}, 2)


def test_a_provider_that_hangs_is_given_up(double) -> None:
    run = run_with(double, Reply(chunks=sse(said({"content": "so "})), hang=True), openai_answer("awake"))
    assert run.run.outputs == {"x": "awake"}


def test_rubbish_is_not_an_answer(double) -> None:
    run = run_with(double, Reply(chunks=[b"data: {not json\n\n"]), openai_answer("sense"))
    assert run.run.outputs == {"x": "sense"}


def test_an_endless_answer_is_cut_off(double) -> None:
    flood = Reply(chunks=sse(*[said({"content": "x" * 1_000_000})] * 12))
    run = run_with(double, flood)
    assert (run.run.status, run.run.error_code) == ("failed", "bad_output")


def test_the_same_call_again_and_again_ends_the_attempt(double) -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
    again = Reply(chunks=sse(said({"tool_calls": [call]}), said({}, "tool_calls"), "[DONE]"))
    run = run_with(double, again, tools="ls")
    assert (run.run.error_code, run.of("CALL")[0].attempt, run.run.tool_calls) == ("tool_loop", 1, 5)


def test_an_unknown_tool_is_an_error_for_the_model_only(double) -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "fly", "arguments": "{}"}}
    calls = Reply(chunks=sse(said({"tool_calls": [call]}), said({}, "tool_calls"), "[DONE]"))
    run = run_with(double, calls, openai_answer("ok"), tools="ls")
    ends = [event for event in run.events if event["type"] == "tool_call_end"]
    assert run.run.status == "completed" and ends[0]["is_error"] and "no tool 'fly'" in ends[0]["result"]
