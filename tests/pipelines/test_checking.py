"""The check of a pipeline file: every problem at once, each with its place."""

from pathlib import Path

import pytest

from pipelines.checking import check, parse

FIXTURES = Path(__file__).parent.parent / "fixtures" / "pipelines"
STEP = "steps:\n  - {id: A, agent: dev, input: hi"
ERRORS = {
    *("missing_key", "bad_type", "bad_value", "duplicate_key", "duplicate_step", "duplicate_agent", "bad_id"),
    *("unknown_agent", "unknown_step", "needs_cycle", "loop_and_map", "type_mismatch", "bad_schema"),
    *("pipeline_cycle", "unknown_pipeline"),
}
WARNINGS = {
    *("unknown_key", "unknown_tool", "unknown_model", "agent_not_installed", "unknown_notify_agent"),
    *("unreachable_step", "undeclared_variable", "loop_source_undeclared", "unmatched_result", "endless_cycle"),
    *("continue_outside_loop", "goto_out_of_loop", "join_after_branch", "reserved_output", "timeout_twice"),
    *("needs_and_goto", "vendor_schema"),
}
RECURSIVE = parse("id: recursive\nsteps:\n  - {id: A, pipeline: recursive}")


def checked(text, **known):
    return check(text, **{"agents": {"dev"}, **known})


def codes(text, **known):
    return [problem.code for problem in checked(text, **known).problems]


def broken():
    return checked(
        (FIXTURES / "broken.yml").read_bytes(),
        tools={"read"},
        providers={"vendor"},
        strict_providers={"openai"},
        pipelines={"recursive": RECURSIVE}.get,
    )


def test_one_pass_finds_a_problem_of_every_code():
    problems = broken().problems
    assert {problem.code for problem in problems if problem.severity == "error"} == ERRORS
    assert {problem.code for problem in problems if problem.severity == "warning"} == WARNINGS


def test_every_problem_has_its_line_and_they_come_in_the_order_of_the_file():
    lines = [problem.line for problem in broken().problems]
    assert None not in lines
    assert lines == sorted(lines)


def test_a_problem_stands_at_the_thing_it_is_about():
    text = (FIXTURES / "broken.yml").read_text().splitlines()
    found = {problem.code: text[problem.line - 1] for problem in reversed(broken().problems)}
    for code in ("unknown_step", "unknown_tool", "timeout_twice", "unknown_agent", "unknown_key", "duplicate_key"):
        wanted = {
            "unknown_step": "STRAT",
            "timeout_twice": "timeout:",
            "unknown_agent": "stranger",
            "duplicate_key": "Visits: 5",
        }
        assert wanted.get(code, code) in found[code]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [", "yaml_syntax"),
        ("", "not_a_mapping"),
        ("- a", "not_a_mapping"),
        ("a: !x b", "unsafe_yaml"),
        ("a" * 300_000, "too_large"),
        ("id: a", "no_steps"),
        ("id: a\nsteps: []", "no_steps"),
    ],
)
def test_text_that_holds_no_pipeline_ends_the_pass(text, code):
    assert codes(text) == [code]
    assert checked(text).pipeline is None


def test_problems_read_as_one_line_with_a_hint_apart():
    [problem] = checked(f"id: a\n{STEP}, onComplete: a}}").problems
    assert str(problem) == "steps[0].onComplete (line 3): unknown step 'a'"
    assert problem.hint == "did you mean 'A'?"
    assert problem.as_dict()["column"] == 48


def test_errors_make_it_unstartable_and_warnings_do_not():
    assert checked(f"id: a\n{STEP}, oops: 1}}").pipeline
    assert checked(f"id: a\n{STEP}, maxTurns: 0}}").pipeline is None


def test_an_installed_agent_needs_no_entry_and_a_listed_one_no_folder():
    assert codes(f"id: a\n{STEP}}}") == []
    assert codes(f"id: a\n{STEP}}}", agents=()) == ["unknown_agent"]
    assert codes(f"id: a\nagents: [{{id: dev}}]\n{STEP}}}", agents=()) == ["agent_not_installed"]


def test_names_nobody_can_know_are_not_checked():
    assert codes(f"id: a\n{STEP}, tools: [x], model: y/z}}") == []
    assert codes(f"id: a\n{STEP}, model: custom-x/z}}", providers=()) == []
    assert codes(f"id: a\n{STEP}, model: x/z}}", providers=()) == ["unknown_model"]


def test_a_variable_is_reported_once():
    step = "- {id: A, agent: dev, input: '{{ x }} {{ x }}', needs: []}"
    first, second = step, step.replace("id: A", "id: B")
    assert codes(f"id: a\nsteps:\n{first}\n{second}") == ["undeclared_variable"]


def test_a_template_error_tells_the_line_of_the_text():
    [problem] = checked("id: a\nsteps:\n  - id: A\n    agent: dev\n    input: |\n      ok\n      {% if a %}\n").problems
    assert (problem.code, problem.message) == ("bad_value", "{% if %} without {% endif %} (line 2 of the text)")


def test_two_hundred_steps_are_the_most():
    steps = "".join(f"  - {{id: S{n}, agent: dev, input: x, needs: []}}\n" for n in range(201))
    assert codes(f"id: a\nsteps:\n{steps}") == ["bad_value"]
    assert codes(f"id: a\nsteps:\n{steps.rsplit('  -', 1)[0]}") == []


def test_a_circle_of_children_is_named_once_around():
    [problem] = codes_and_messages("id: top\nsteps:\n  - {id: A, pipeline: recursive}", {"recursive": RECURSIVE})
    assert problem == ("pipeline_cycle", "starts itself, or nests deeper than 5: top → recursive → recursive")


def codes_and_messages(text, pipelines):
    return [(problem.code, problem.message) for problem in checked(text, pipelines=pipelines.get).problems]


def test_a_blank_text_is_a_missing_one():
    assert codes("id: a\nsteps:\n  - {id: A, agent: dev, input: ' '}") == ["missing_key"]


def test_a_loop_of_type_agent_is_no_mismatch():
    assert codes(f"id: a\n{STEP}, type: agent, loop: {{over: result}}}}") == []


def test_children_nest_to_depth_five():
    def pipeline(name, child):
        return parse(f"id: {name}\nsteps:\n  - {{id: A, pipeline: {child}}}")

    leaf = parse("id: leaf\nsteps:\n  - {id: A, agent: dev, input: x}")
    chain = {
        "p1": pipeline("p1", "p2"),
        "p2": pipeline("p2", "p3"),
        "p3": pipeline("p3", "p4"),
        "p4": pipeline("p4", "leaf"),
    }
    text = "id: top\nsteps:\n  - {id: A, pipeline: p1}"
    assert codes(text, pipelines={**chain, "leaf": leaf}.get) == []
    deeper = {**chain, "p4": pipeline("p4", "p5"), "p5": pipeline("p5", "leaf"), "leaf": leaf}
    assert codes(text, pipelines=deeper.get) == ["pipeline_cycle"]


def test_the_fixtures_of_the_acceptance_scenarios_are_clean():
    for name in ("t1", "t2", "t3"):
        assert check((FIXTURES / f"{name}.yml").read_text(), agents={"writer"}).problems == ()


def test_parse_reads_a_snapshot_whatever_is_installed_now():
    text = f"id: a\n{STEP}, tools: [gone]}}"
    assert parse(text).steps["A"].tools == ("gone",)
    assert parse(text) is parse(text)
    with pytest.raises(ValueError, match="no pipeline"):
        parse("id: a")
