"""Edits of config.yml by round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.agent_config import read_changes, read_config, shown
from pipelines.config_edit import edited
from pipelines.text import YamlError

HAND_WRITTEN = """\
# Who pays for this: platform team
mood: "cheerful"     # nobody knows this key

max_turns: 50        # enough
tools:
  - read   # always
  - 'bash'
nested: {a: [1, 2], b: null}
temperature: 0.30
"""


def test_comments_order_and_unknown_keys_survive() -> None:
    text = edited(HAND_WRITTEN, {"max_turns": 60, "max_retries": 1})
    assert text == HAND_WRITTEN.replace("max_turns: 50 ", "max_turns: 60 ") + "max_retries: 1\n"


def test_null_removes_a_key_and_nothing_else() -> None:
    text = edited(HAND_WRITTEN, {"temperature": None, "max_retries": None})
    assert text == HAND_WRITTEN.replace("temperature: 0.30\n", "")


def test_what_changes_nothing_gives_the_very_same_text() -> None:
    odd = "a:   1\nmax_turns:    5\n\n\n"
    assert edited(odd, {"max_turns": 5, "temperature": None}) == odd
    assert edited("", {}) == ""


def test_a_list_is_replaced_as_a_whole() -> None:
    assert "tools:\n  - write\n" in edited(HAND_WRITTEN, {"tools": ["write"]})
    assert edited("", {"tools": []}) == "tools: []\n"


def test_a_camel_case_key_is_changed_in_place_and_of_both_spellings_one_stays() -> None:
    assert edited("maxTurns: 1\n", {"max_turns": 2}) == "maxTurns: 2\n"
    assert edited("maxTurns: 1\nmax_turns: 3\nx: 1\n", {}) == "max_turns: 3\nx: 1\n"


def test_comments_alone_are_kept() -> None:
    assert edited("# nothing yet\n", {"max_turns": 2}) == "# nothing yet\nmax_turns: 2\n"


@pytest.mark.parametrize(
    "text", ["[1]", "a: [", "text", "a: 1\na: 2\n", "a: !!python/object:os.system x\n", "a: &a [*a]\n"]
)
def test_what_cannot_be_read_is_not_edited(text) -> None:
    with pytest.raises(YamlError):
        edited(text, {"max_turns": 2})


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "max_turns": st.none() | st.integers(1, 2000),
        "temperature": st.none() | st.integers(0, 200).map(lambda number: number / 100),
        "thinking_level": st.none() | st.sampled_from(["off", "high"]),
        "model": st.none() | st.just("openai/x y: # z"),
        "tools": st.none() | st.lists(st.sampled_from(["read", "write"]), max_size=3),
    },
)


@given(VALUES, VALUES)
def test_what_is_written_is_what_is_read(first, second) -> None:
    config, problems = read_config(edited(edited(HAND_WRITTEN, first), second))
    expected = read_config(HAND_WRITTEN)[0] | first | second
    assert (config, problems) == ({key: value for key, value in expected.items() if value is not None}, [])


def test_all_problems_of_a_change_are_told_at_once() -> None:
    given = {
        "maxTurns": 0,
        "temperature": "warm",
        "tools": ["read", 1.5],
        "maxTruns": 1,
        "max_turns": 2,
        "timeout": 5.0,
    }
    _, problems = read_changes(given)
    assert set(problems) == {"max_turns", "temperature", "maxTruns", "timeout"}


@pytest.mark.parametrize("value", [True, "1", 1.0, 0, 2001, [], {}])
def test_integers_are_strict(value) -> None:
    assert read_changes({"maxTurns": value})[1]


def test_a_configuration_is_shown_with_its_defaults() -> None:
    assert shown({"max_turns": 3}) | {"maxTurns": 3} == shown({"max_turns": 3})
    assert (shown({})["tools"], shown({})["maxConcurrentSteps"], shown({})["maxTurns"]) == (
        ["read", "write", "bash"],
        2,
        None,
    )
