"""Which action a result means."""

import pytest

from pipelines.definition import Action, Step
from pipelines.results import allowed, default, match, matched_key, result_name, result_of, same

REVIEW = ["APPROVED", "CHANGES_REQUESTED"]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("APPROVED", "APPROVED"),
        ("**APPROVED**", "APPROVED"),
        ('"approved."', "APPROVED"),
        ("Approved with nits", "APPROVED"),
        ("approved: well done\n\nno CHANGES_REQUESTED here", "APPROVED"),
        ("approve", "APPROVED"),
        ("changes requested", "CHANGES_REQUESTED"),
        ("changes-requested!", "CHANGES_REQUESTED"),
        ("Request changes: see below", "CHANGES_REQUESTED"),
        ("changes required", "CHANGES_REQUESTED"),
    ],
)
def test_a_value_means_the_key_it_equals_or_begins_with(value, key):
    assert matched_key(REVIEW, value) == key


@pytest.mark.parametrize(
    "value",
    [
        "not approved",
        "approved_later",
        "approved-ish",
        "approvedly",
        "",
        "?",
        "Approved, no changes requested",
        "rejected",
    ],
)
def test_any_other_value_means_nothing(value):
    assert matched_key(REVIEW, value) is None


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("passed", "PASS"),
        ("PASS (0 failed)", "PASS"),
        ("Failure: x", "FAIL"),
        ("Passed: 3, failed: 1", None),
        ("all pass", None),
    ],
)
def test_families_of_words_match_after_the_keys_themselves(value, key):
    assert matched_key(["PASS", "FAIL"], value) == key


def test_the_longest_key_wins():
    assert matched_key(["APPROVED", "APPROVED_WITH_NITS"], "approved with nits: two") == "APPROVED_WITH_NITS"


def test_a_blank_key_matches_nothing():
    assert matched_key(["", "**"], "anything") is matched_key([""], "+1") is None


def test_hostile_values_are_compared_fast():
    assert matched_key(REVIEW, "changes" + " " * 1_000_000 + "x") is None


def test_the_default_is_not_a_match():
    step = Step("A", outputs=("result",), on_result={"OK": Action(goto="B"), "*": Action(goto="C")})
    assert match(step, "other") is None
    assert default(step) == Action(goto="C")
    assert allowed(step) == ["OK"]


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Step("A", outputs=("x", "y"), result_from="y"), "y"),
        (Step("A", outputs=("notes", "test_result")), "test_result"),
        (Step("A", outputs=("verdict", "status")), "verdict"),
        (Step("A", outputs=("notes",)), "notes"),
        (Step("A", outputs=("notes", "more")), None),
        (Step("A", type="approval"), "decision"),
        (Step("A", type="pipeline", outputs=("text",)), "status"),
    ],
)
def test_the_result_is_the_output_that_its_name_or_the_type_tells(step, name):
    assert result_name(step) == name


def test_without_such_a_name_the_first_short_output_that_means_something_is_the_result():
    step = Step("A", outputs=("a", "b", "c"), on_result={"GO": Action(goto="B")})
    assert result_of(step, {"a": "x" * 65, "b": "maybe", "c": "go"}) == "go"
    assert result_of(step, {"a": "x" * 65, "b": "maybe"}) == "maybe"
    assert result_of(step, {}) == ""


def test_a_missing_result_is_blank():
    assert result_of(Step("A", outputs=("test_result",)), {}) == ""


def test_when_compares_as_results_do():
    assert same("yes", "**Yes**")
    assert not same("yes", "no")
