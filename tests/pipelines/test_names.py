"""Which names come from where, and which outputs are needed."""

import json

from pipelines.checking import parse


def pipeline(*steps):
    filled = [{"id": f"S{n}", "agent": "d", "input": "x", "onComplete": [], **step} for n, step in enumerate(steps)]
    return parse(json.dumps({"id": "p", "steps": filled}))


def test_names_nobody_gives_must_come_with_the_context():
    found = pipeline(
        {"input": "{{ A }}{% if b %}{{ c }}{% endif %}{{ run_id }}{{ made }}{{ A }}"}, {"outputs": ["made"]}
    )
    assert found.required_variables == ("A", "b", "c")
    assert found.strict_variables == ("A",)
    assert found.extra_names == {"a", "b", "c"}


def test_names_that_other_keys_look_at_are_recognised_too():
    found = pipeline({"when": {"flag": "x"}}, {"resultFrom": "verdict"}, {"loop": {"over": "Work-List"}})
    assert found.extra_names == {"flag", "verdict", "work_list"}
    assert found.required_variables == ()


def test_declared_names_are_not_extra():
    assert (
        pipeline({"outputs": ["work"], "when": {"status": "x"}}, {"map": {"over": "Work"}}).extra_names == frozenset()
    )


def test_the_engine_s_own_outputs_are_no_variables():
    found = pipeline(
        {"input": "{{S1.items}}{{S1.structured}}{{decision}}{{S1.gone}}{{NO.x}}"}, {}, {"type": "approval"}
    )
    assert found.required_variables == ()
    assert found.extra_names == {"structured", "gone", "x"}


def test_an_output_is_needed_if_a_template_uses_it_in_any_case():
    found = pipeline(
        {"outputs": ["a", "b", "c", "d"]}, {"input": "{{ A }}{{ S0.b }}{{ S9.d }}{% if c %}{{ c }}{% endif %}"}
    )
    assert found.needed_outputs["S0"] == ("a", "b")


def test_an_output_is_needed_if_a_result_or_a_loop_depends_on_it():
    found = pipeline({"outputs": ["notes", "test_result", "work"], "onResult": {"OK": "S1"}}, {"map": {"over": "work"}})
    assert found.needed_outputs["S0"] == ("test_result", "work")


def test_an_optional_output_is_never_needed():
    assert pipeline({"optionalOutputs": ["a"]}, {"input": "{{ a }}"}).needed_outputs["S0"] == ()


def test_templates_are_the_input_the_prompt_and_what_a_child_gets():
    found = pipeline({"approval": {"prompt": "{{ a }}"}}, {"pipeline": "x", "with": {"task": "{{ b }}"}})
    assert [step.template_names for step in found.steps.values()] == [{"a"}, {"b"}]
    assert not found.uses_task_description
