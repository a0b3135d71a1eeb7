"""The scripted provider (architecture, "Scripted replies")."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigError, ContextTooLong, ProviderRejected, ProviderTransient, Refused
from workers.clients.llm.base import Message, Request, Script, Text, Thinking, ToolCall, Usage, assistant_message
from workers.clients.llm.scripted import Scripted


def request(**place) -> Request:
    return Request("any", (Message("user", "x" * 40),), script=Script(**{"key": "A", **place}))


def answer(table: dict, **place) -> str:
    return assistant_message(Scripted(table).stream(request(**place))).content


def test_the_nth_attempt_takes_the_nth_reply_and_the_last_repeats():
    assert [answer({"A": ["one", "two"]}, opening=opening) for opening in range(4)] == ["one", "two", "two", "two"]


def test_a_list_within_the_list_gives_the_turns_of_one_attempt():
    table = {"A": [["a", "b"], "c"]}
    assert [answer(table, turn=turn) for turn in range(3)] == ["a", "b", "b"]
    assert answer(table, opening=1, turn=5) == "c"


def test_an_item_has_replies_of_its_own_or_those_of_its_step():
    table = {"A": ["step"], "A[1]": ["item"]}
    assert [answer(table, item_index=item) for item in (None, 0, 1)] == ["step", "step", "item"]


def test_an_item_counts_its_own_attempts():
    table = {"A": ["a", "b"], "A[1]": ["c", "d"]}
    assert answer(table, item_index=1, opening=5, item_opening=0) == "c"
    assert answer(table, item_index=1, opening=5, item_opening=1) == "d"
    assert answer(table, item_index=0, opening=1, item_opening=0) == "b"


@pytest.mark.parametrize("table", [{}, {"B": ["x"]}, {"A": []}, {"A": [[]]}])
def test_without_an_entry_the_answer_is_ok(table):
    assert answer(table) == "ok"


def test_a_call_outside_of_a_run_is_answered_ok():
    assert assistant_message(Scripted({}).stream(Request("any", ()))).content == "ok"


def test_a_reply_may_hold_thinking_and_tool_calls():
    table = {"A": [{"text": "so", "thinking": "hm", "tool_calls": [{"name": "look", "arguments": {"at": 1}}]}]}
    pieces = list(Scripted(table).stream(request()))
    assert pieces[:2] == [Thinking("hm"), Text("so")]
    assert pieces[2] == ToolCall(pieces[2].id, "look", {"at": 1})
    assert pieces[-1].finish_reason == "tool_calls"


def test_calls_of_different_turns_have_different_ids():
    table = {"A": [{"tool_calls": [{"name": "look"}, {"name": "look"}]}]}
    places = [(opening, turn) for opening in (0, 1) for turn in (0, 1)]
    pieces = [piece for place in places for piece in Scripted(table).stream(request(opening=place[0], turn=place[1]))]
    ids = [piece.id for piece in pieces if isinstance(piece, ToolCall)]
    assert len(set(ids)) == len(ids) == 8


@pytest.mark.parametrize("kind", [ProviderTransient, ProviderRejected, ContextTooLong, Refused])
def test_an_error_is_raised_by_its_class(kind):
    with pytest.raises(kind, match="told so"):
        answer({"A": [{"error": {"class": kind.code, "message": "told so"}}]})


def test_a_passing_error_says_when_to_come_again():
    with pytest.raises(ProviderTransient) as caught:
        answer({"A": [{"error": {"class": "provider_transient", "retry_after": 3}}]})
    assert caught.value.retry_after == 3


def test_an_unknown_class_of_error_is_a_mistake_in_the_file():
    with pytest.raises(ConfigError, match="nonsense"):
        answer({"A": [{"error": {"class": "nonsense"}}]})


def test_a_delay_comes_before_the_first_piece():
    started = time.monotonic()
    next(iter(Scripted({"A": [{"text": "x", "delay_ms": 100}]}).stream(request())))
    assert time.monotonic() - started >= 0.1


def test_a_rate_spreads_the_text_over_time():
    started = time.monotonic()
    pieces = list(Scripted({"A": [{"text": "0123456789", "chars_per_second": 100}]}).stream(request()))
    assert [piece.text for piece in pieces if isinstance(piece, Text)] == ["0123", "4567", "89"]
    assert 0.09 <= time.monotonic() - started < 1


def test_usage_is_told_or_estimated():
    told = Scripted({"A": [{"text": "x", "usage": {"input_tokens": 7, "cache_read_tokens": 3}}]}).stream(request())
    usage = next(piece for piece in told if isinstance(piece, Usage))
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (7, 3, 1)
    estimated = Scripted({"A": ["y" * 80]}).stream(request())
    assert next(piece for piece in estimated if isinstance(piece, Usage)).output_tokens == 20


@given(st.integers(0, 9), st.integers(0, 9))
def test_the_same_place_gets_the_same_pieces(opening, turn):
    provider = Scripted({"A": [["a", {"tool_calls": [{"name": "n"}]}], {"text": "b", "thinking": "c"}]})
    place = request(opening=opening, turn=turn)
    assert list(provider.stream(place)) == list(provider.stream(place))


def test_the_file_is_read_again_when_it_changes(tmp_path, setting):
    path = tmp_path / "replies.yml"
    setting(SCRIPTED_REPLIES=str(path))
    path.write_text("A: [one]")
    assert assistant_message(Scripted().stream(request())).content == "one"
    path.write_text("A: [two]")
    os.utime(path, ns=(1, 1))
    assert assistant_message(Scripted().stream(request())).content == "two"


def test_without_a_file_everything_is_answered_ok(setting):
    setting(SCRIPTED_REPLIES="")
    assert assistant_message(Scripted().stream(request())).content == "ok"


@pytest.mark.parametrize("content", ["just text", "A: one", "[1]"])
def test_a_file_of_the_wrong_shape_is_a_mistake(tmp_path, setting, content):
    path = tmp_path / "replies.yml"
    path.write_text(content)
    setting(SCRIPTED_REPLIES=str(path))
    with pytest.raises(ConfigError, match="map each key"):
        list(Scripted().stream(request()))
