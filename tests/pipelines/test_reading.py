"""From a file to a Pipeline."""

import json

from pipelines.checking import check, parse
from pipelines.definition import Action, Approval, Budget, Notify, Retry

FULL = """
id: full
version: 1.0
description: all of it
maxVisits: 7
maxDurationSeconds: 60
maxParallel: 2
budget: {maxCostUsd: 1.5, maxTokens: 100, onBudget: pause}
defaults: {model: a/d, fallbackModels: [a/d2], tools: [read], maxRetries: 5, timeout: 9, retry: {factor: 3}}
agents:
  - {id: dev, name: Dev, model: a/agent, tools: [bash], thinkingLevel: high, persona: agents/dev}
steps:
  - id: A
    agent: dev
    input: "{{ task_description }}"
    outputs: [Plan-No, Review_Result]
    result_from: Review_Result
    on_result:
      "on": B
      1.0: {goto: B, notify: [{agent: dev, message: hi}], maxRetries: 3}
      no: {retry: true}
      LAST: {fail: stop}
      NEXT:
    on_failure: B
    tools: []
    when: {flag: [true, 1.0], other: x}
    max_visits: 3
  - {id: B, agent: other, input: x, depends_on: A, fallback_models: [b/c], timeout_seconds: 5, thinking_level: low}
"""


def step(**keys):
    document = {"id": "p", "steps": [{"id": "A", "agent": "dev", "input": "x", **keys}]}
    return parse(json.dumps(document)).steps["A"]


def test_the_root_is_read_with_numbers_as_written():
    pipeline = parse(FULL)
    assert (pipeline.id, pipeline.name, pipeline.version, pipeline.description) == ("full", "full", "1.0", "all of it")
    assert (pipeline.max_duration_seconds, pipeline.max_parallel, pipeline.max_visits) == (60, 2, 7)
    assert pipeline.budget == Budget(1.5, 100, "pause")
    assert pipeline.entry_steps == ("A",)


def test_actions_keep_their_order_and_their_keys_as_written():
    actions = parse(FULL).steps["A"].on_result
    assert list(actions) == ["on", "1.0", "no", "LAST", "NEXT"]
    assert actions["1.0"] == Action(goto="B", notify=(Notify("dev", "hi"),), max_retries=3)
    assert actions["NEXT"] == Action()
    assert [action.diverts for action in actions.values()] == [True, True, True, True, False]


def test_both_spellings_of_a_key_are_read():
    first, second = parse(FULL).steps.values()
    assert (first.result_from, first.on_failure, first.max_visits) == ("review_result", Action(goto="B"), 3)
    assert (second.needs, second.timeout_seconds) == (("A",), 5)
    assert first.when == {"flag": ("true", "1.0"), "other": ("x",)}


def test_both_spellings_at_once_are_an_error():
    text = "id: p\nsteps: [{id: A, agent: d, input: x, maxTurns: 1, max_turns: 2}]"
    assert [problem.code for problem in check(text, agents={"d"}).problems] == ["duplicate_key"]


def test_step_wins_over_agent_and_agent_over_defaults():
    first, second = parse(FULL).steps.values()
    assert (first.model, first.tools, first.thinking_level) == ("a/agent", (), "high")
    assert (second.model, second.tools, second.thinking_level) == ("a/d", ("read",), "low")
    assert (first.max_retries, first.timeout_seconds, first.retry) == (5, 9, Retry(factor=3))


def test_fallbacks_come_from_the_level_that_gives_the_model():
    first, second = parse(FULL).steps.values()
    assert (first.fallback_models, second.fallback_models) == (None, ("a/d2",))
    assert step(model="a/b", fallbackModels=["a/c"]).fallback_models == ("a/c",)
    assert step(fallbackModels=["a/c"]).fallback_models == ("a/c",)


def test_what_nobody_says_is_left_to_the_agent():
    bare = step()
    assert (bare.model, bare.tools, bare.max_retries, bare.timeout_seconds, bare.max_turns) == (None,) * 5
    assert (bare.idle_timeout_seconds, bare.workspace_on_retry, bare.max_visits) == (300, "keep", 10)


def test_a_loop_key_makes_a_loop_whatever_the_type_says():
    assert step(loop={"over": "x"}).type == "loop"
    assert step(loop={"over": "x"}, type="standard").type == "loop"
    assert step(type="standard").type == "agent"
    assert step(map={"over": "x"}).type == "map"


def test_an_approval_has_options_and_a_default_for_silence():
    assert step(type="approval").approval == Approval()
    own = step(approval={"options": ["ship", "hold"], "onTimeout": "hold", "timeoutSeconds": 5}).approval
    assert own == Approval(options=("ship", "hold"), on_timeout="hold", timeout_seconds=5)
    assert step(approval={"options": ["ship", "hold"]}).approval.on_timeout == "fail"


def test_a_file_without_routing_runs_in_file_order():
    text = "id: p\nsteps: [{id: A, agent: d, input: x}, {id: B, agent: d, input: x}, {id: C, agent: d, input: x}]"
    result = check(text, agents={"d"})
    assert [one.on_complete for one in result.pipeline.steps.values()] == [("B",), ("C",), ()]
    assert [problem.code for problem in result.problems] == ["implicit_sequence"]


def test_any_routing_key_ends_the_implicit_sequence():
    for key in ("needs: []", "onComplete: C", "onFailure: C", "onResult: {X: C}"):
        text = f"id: p\nsteps: [{{id: A, agent: d, input: x, {key}}}, {{id: C, agent: d, input: x}}]"
        assert parse(text).steps["C"].on_complete == ()
        assert "implicit_sequence" not in [problem.code for problem in check(text, agents={"d"}).problems]


def test_entries_are_the_first_step_and_those_that_need_nothing():
    steps = ("{id: A, agent: d, input: x}", "{id: B, agent: d, input: x, needs: []}", "{id: C, agent: d, input: x}")
    text = f"id: p\nsteps: [{', '.join(steps)}]"
    assert parse(text).entry_steps == ("A", "B")


def test_the_document_has_known_keys_in_camel_case_and_keeps_unknown_ones():
    document = check(FULL.replace("seconds: 5", "seconds: 5, my_own_key: 1"), agents={"dev", "other"}).document
    assert list(document) == ["id", "name", "version", "description", "defaults", "agents", "steps"]
    wanted = {"dependsOn", "fallbackModels", "timeoutSeconds", "description", "my_own_key"}
    assert wanted <= document["steps"][1].keys()
    assert document["defaults"] | {"maxRetries": 5, "timeoutSeconds": 9, "maxTurns": 200} == document["defaults"]


def test_a_step_without_an_agent_shows_null():
    document = check("id: p\nsteps: [{id: A, type: approval}]").document
    assert document["steps"] == [{"id": "A", "agent": None, "description": "", "type": "approval"}]


def test_the_newer_of_two_timeouts_wins():
    assert step(timeout=5, timeoutSeconds=9).timeout_seconds == 9
