"""From an answer to outputs."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.definition import Action, OutputSchema, Step
from pipelines.outputs import (
    answer_format,
    failure,
    file_stems,
    first_of,
    from_tool,
    missing,
    parse,
    parse_list,
    repair_message,
    unmatched_message,
)

PLAN = Step("PLAN", outputs=("plan", "tasks_json"), optional_outputs=("notes",))
ONE = Step("ONE", outputs=("text",))
LINES = st.lists(
    st.sampled_from(
        ["PLAN: x", "tasks-json:", "```", "```json", '{"plan": 1}', "- **NOTES:** y", "STATUS: failed", "", "[1,"]
    )
)


def test_a_tool_call_gives_all_recognised_outputs_and_the_summary():
    given_outputs = {"Plan": "p", "tasks-json": [1, "é"], "other": "x", "extra": True}
    found = from_tool(given_outputs, "done", PLAN, frozenset({"extra"}))
    assert found == {"summary": "done", "plan": "p", "tasks_json": '[1, "é"]', "extra": "true"}


def test_a_summary_among_the_outputs_wins_over_the_call_s_own():
    assert from_tool({"summary": "inner"}, "outer", PLAN)["summary"] == "inner"


def test_a_json_object_as_the_whole_answer_gives_outputs():
    assert parse('{"plan": "p", "tasks-json": {"a": 1}, "x": 2}', PLAN) == {"plan": "p", "tasks_json": '{"a": 1}'}


def test_of_several_fenced_objects_the_last_with_a_recognised_name_counts():
    answer = 'a\n```json\n{"plan": "1"}\n```\n```\n{"plan": "2"}\n```\n~~~json\n{"x": 3}\n~~~\n'
    assert parse(answer, PLAN)["plan"] == "2"


def test_lines_give_values_that_run_to_the_next_recognised_line():
    answer = "Hello\nPLAN: one\ntwo\nOther: three\n\n- **tasks_json:**\n    [1,\n     2]\nSTATUS: done"
    assert parse(answer, PLAN) == {"plan": "one\ntwo\nOther: three", "tasks_json": "[1,\n 2]", "status": "done"}


@pytest.mark.parametrize("line", ["Plan: x", "pLAN: x", "the PLAN: x", "PLAN x", "PLAN:x", "      PLAN: x", "PLANS: x"])
def test_lines_of_another_form_are_no_outputs(line):
    assert "plan" not in parse(line, PLAN)


@pytest.mark.parametrize(
    "line",
    [
        "PLAN: x",
        "plan: x",
        "**PLAN:** x",
        "**PLAN**: x",
        "**PLAN: x**",
        "* PLAN: x",
        "1. PLAN: x",
        "## PLAN: x",
        "`plan`: x",
    ],
)
def test_list_and_bold_marks_around_a_name_do_not_matter(line):
    assert parse(line, PLAN)["plan"] == "x"


def test_the_last_line_of_a_name_wins_unless_it_is_blank():
    assert parse("PLAN: a\nPLAN: b\nPLAN:", PLAN)["plan"] == "b"


@pytest.mark.parametrize(
    "answer", ["TASKS_JSON:\n```json\n[1]\n```", "TASKS_JSON: ```json\n[1]\n```", "TASKS_JSON:\n\n```\n[1]\n```\n"]
)
def test_an_enclosing_fence_is_removed(answer):
    assert parse(answer, PLAN)["tasks_json"] == "[1]"


def test_what_a_value_s_fence_holds_is_data():
    answer = "PLAN:\n```yaml\nstatus: failed\nnotes: x\n```\nNOTES: y"
    assert parse(answer, PLAN) == {"plan": "status: failed\nnotes: x", "notes": "y"}


def test_files_of_the_visit_give_what_the_answer_lacks():
    files = {"docs/TASKS.json": "[1]", "PLAN.md": "from a file", "NOTES.exe": "no", "plan.md": "lower case"}
    assert parse("PLAN: said", PLAN, files=files) == {"plan": "said", "tasks_json": "[1]"}
    assert file_stems("plan") == ("PLAN", "PLAN_JSON")


def test_a_file_over_one_mebibyte_is_not_taken():
    assert "plan" not in parse("", PLAN, files={"PLAN.md": "é" * 600_000})


def test_a_single_output_takes_the_whole_answer_if_nothing_else_gives_it():
    assert parse(" just text ", ONE) == {"text": "just text"}
    assert parse("TEXT: this\nSUMMARY: that", ONE) == {"text": "this", "summary": "that"}
    assert parse(" ", ONE) == {}
    assert "plan" not in parse("just text", PLAN)


def test_for_each_name_the_first_source_that_is_not_blank_wins():
    assert first_of({"a": " ", "b": "1"}, {"a": "2", "b": "3"}) == {"a": "2", "b": "1"}
    assert parse('PLAN: line\n```json\n{"plan": " ", "notes": "json"}\n```', PLAN)["notes"] == "json"


def test_outputs_hold_nothing_that_a_database_refuses():
    assert parse('{"plan": "a\\u0000\\ud800b"}', PLAN)["plan"] == "a?b"
    assert parse("PLAN: a\0b", PLAN)["plan"] == "ab"
    assert from_tool({"plan": "a\ud800"}, None, PLAN) == {"plan": "a?"}


@pytest.mark.parametrize("status", ["fail", "FAILED", "**error**"])
def test_a_failed_status_is_a_failure_with_the_best_text_there_is(status):
    assert failure({"status": status, "error": "e", "result": "r"}, "a") == "e"
    assert failure({"status": status, "result": "r"}, "a") == "r"
    assert failure({"status": status}, "a") == "a"
    assert failure({"status": "failing"}, "a") is None


def test_missing_tells_the_needed_outputs_that_are_blank():
    assert missing(("plan", "notes"), {"plan": "x", "notes": " "}) == ["notes"]


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ('[1, {"a": null}]', [1, {"a": None}]),
        ('{"tasks": ["a"], "count": 1}', ["a"]),
        ("- a\n- yes\n- b: 1", ["a", "yes", {"b": 1}]),
        ("Here it is:\n```json\n[1]\n```", [1]),
        ("[]", []),
        ("[NaN]", ["NaN"]),
        ('["\\u0000\\ud800"]', ["?"]),
    ],
)
def test_a_list_is_json_or_yaml_or_the_only_list_of_an_object(value, items):
    assert parse_list(value) == items


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text",
        "5",
        "null",
        '{"a": 1}',
        '{"a": [], "b": []}',
        "[1,",
        "- !!python/x a",
        "[" * 5000,
        "[" * 200 + "]" * 200,
    ],
)
def test_anything_else_is_no_list(value):
    with pytest.raises(ValueError, match="expected"):
        parse_list(value)


def test_the_answer_format_names_outputs_values_and_ways():
    step = Step("R", outputs=("result", "notes"), on_result={"OK": Action(), "BAD": Action(), "default": Action()})
    text = answer_format(step)
    assert "compared with these values: OK, BAD." in text
    assert "RESULT: ...\nNOTES: ..." in text
    assert "`complete`" in text
    assert "`complete`" not in answer_format(step, tool=False)


def test_a_single_output_needs_no_form_and_a_schema_has_its_own():
    assert answer_format(ONE) == "Your whole final answer is kept as `text`."
    assert answer_format(ONE, tool=False) == answer_format(Step("S")) == ""
    assert "JSON" in answer_format(Step("S", outputs=("a",), output_schema=OutputSchema("plan", {})))


def test_repair_messages_say_what_is_wrong_and_how_to_mend_it():
    text = repair_message(PLAN, ["tasks_json"], "the list is no list")
    assert "`tasks_json` is missing" in text
    assert "the list is no list" in text
    assert text.endswith("TASKS_JSON: ...")
    step = Step("R", outputs=("result",), on_result={"OK": Action()})
    assert unmatched_message(step, "maybe") == "`result` is 'maybe', but only these values are possible: OK."


@given(st.one_of(st.text(), LINES.map("\n".join)))
def test_any_answer_is_parsed_to_recognised_names(answer):
    found = parse(answer, PLAN)
    assert found.keys() <= {"plan", "tasks_json", "notes", "status", "result", "summary", "error"}
    assert all(value.strip() for value in found.values())


@given(st.text())
def test_a_list_source_is_a_list_or_refused(value):
    try:
        assert isinstance(parse_list(value), list)
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    "piece", ["PLAN:\n", "PLAN: ```\n", "```\n", "- ", "**", '{"plan":', "PLAN: " + " " * 9, "~~~\n```\n"]
)
def test_hostile_answers_take_linear_time(piece):
    started = time.monotonic()
    parse(piece * 100_000, PLAN)
    assert time.monotonic() - started < 10
