"""Maps, joins, child pipelines, approvals and pauses, on both databases."""

from __future__ import annotations

import json
import threading

import pytest

from models import approvals as stored
from models import config, database, runs
from models.errors import Conflict, DjinnBotError, Forbidden, Invalid
from tests.engine import Engine
from workers import approvals, steps
from workers import runs as commands

pytestmark = pytest.mark.usefixtures("store")

HEAD = "agents: [{id: a}]\ndefaults: {tools: [], maxRetries: 0}\nsteps:\n"
FAN = f"""id: fan
{HEAD}
  - {{id: A, agent: a, input: a, outputs: [x], onComplete: [B, C, D]}}
  - {{id: B, agent: a, input: "{{{{x}}}}", outputs: [b]}}
  - {{id: C, agent: a, input: "{{{{x}}}}", outputs: [c]}}
  - {{id: D, agent: a, input: "{{{{x}}}}", outputs: [d]}}
  - {{id: E, agent: a, input: "{{{{b}}}} {{{{c}}}} {{{{d}}}}", outputs: [e], needs: [B, C, D]}}
"""
MAP = f"""id: mapped
{HEAD}
  - {{id: LIST, agent: a, input: a, outputs: [names], onComplete: EACH}}
  - id: EACH
    agent: a
    input: "greet {{{{current_item}}}}"
    outputs: [greeting]
    map: {{over: names, concurrency: 2, onItemFailure: fail}}
    onComplete: SUM
  - {{id: SUM, agent: a, input: "{{{{greeting}}}}", outputs: [sum]}}
"""
ASK = f"""id: ask
{HEAD}
  - {{id: A, agent: a, input: a, outputs: [x], onComplete: OK}}
  - id: OK
    type: approval
    approval: {{prompt: "Ship {{{{x}}}}?", timeoutSeconds: 3600}}
    onResult: {{APPROVED: {{goto: B}}}}
  - {{id: B, agent: a, input: b, outputs: [y]}}
"""
PARENT = f"""id: parent
{HEAD}
  - {{id: A, agent: a, input: a, outputs: [x], onComplete: SUB}}
  - {{id: SUB, type: pipeline, pipeline: execute, with: {{task: "do {{{{x}}}}"}}, outputs: [summary], onComplete: B}}
  - {{id: B, agent: a, input: "{{{{summary}}}}", outputs: [y]}}
"""
NAMES = {"LIST": ['["Ann", "Bob", "Cid", "Dee", "Eve"]']}


def waiting(run: Engine) -> stored.Approval:
    with database.connection():
        return stored.pending_of(run.run_id)[0]


def until_paused(run: Engine) -> Engine:
    for _ in range(20):
        steps.advance_run(run.run_id)
        if run.run.status == "paused":
            return run
    raise AssertionError(run.statuses)


class TestBranches:
    def test_a_join_runs_once_after_all_its_needs(self) -> None:
        run = Engine(FAN, {"B": ["bee"], "C": ["sea"], "D": ["dee"]}).finish()
        assert (run.run.status, run.counts["E"]) == ("completed", 1)
        assert "bee sea dee" in run.of("E")[0].prompt
        run.check_invariants()

    def test_a_failed_branch_cancels_the_others(self) -> None:
        run = Engine(FAN, {"C": ["STATUS: failed\nERROR: broken"]}).finish()
        assert (run.run.status, run.run.failed_step) == ("failed", "C")
        assert ("D", "cancelled") in run.statuses and "step_cancelled" in run.types
        run.check_invariants()


class TestMaps:
    def test_outputs_become_arrays_in_the_order_of_the_items(self) -> None:
        replies = NAMES | {f"EACH[{i}]": [f"hello {i}"] for i in range(5)}
        run = Engine(MAP, replies).finish()
        assert run.run.status == "completed", run.run.error
        assert json.loads(run.run.outputs["greeting"]) == [f"hello {i}" for i in range(5)]
        assert run.types.count("loop_item_complete") == 5
        run.check_invariants()

    def test_a_failed_item_stops_the_others(self) -> None:
        run = Engine(MAP, NAMES | {"EACH[1]": ["STATUS: failed\nERROR: no Bob"]}).finish()
        assert (run.run.status, run.run.error) == ("failed", "no Bob")
        run.check_invariants()

    def test_a_failed_item_can_leave_a_hole(self) -> None:
        replies = NAMES | {"EACH[1]": ["STATUS: failed\nERROR: no Bob"], "EACH": ["hi"]}
        run = Engine(MAP.replace("onItemFailure: fail", "onItemFailure: continue"), replies).finish()
        assert run.run.status == "completed", run.run.error
        assert json.loads(run.run.outputs["greeting"]) == ["hi", None, "hi", "hi", "hi"]
        run.check_invariants()

    def test_an_empty_list_completes_at_once(self) -> None:
        run = Engine(MAP, {"LIST": ["[]"]}).finish()
        assert (run.run.status, run.run.outputs["greeting"]) == ("completed", "[]")

    def test_a_restart_from_failed_keeps_the_items_that_were_done(self) -> None:
        run = Engine(MAP, NAMES | {"EACH": ["hi"], "EACH[4]": ["STATUS: failed\nERROR: no Eve", "hi Eve"]}).finish()
        assert run.run.status == "failed"
        before = sum(event["type"] == "step_started" for event in run.events)
        run.restart(from_="failed")
        assert run.run.status == "completed", run.run.error
        assert json.loads(run.run.outputs["greeting"]) == ["hi"] * 4 + ["hi Eve"]
        assert sum(event["type"] == "step_started" for event in run.events) - before == 2
        run.check_invariants()


class TestChildren:
    def test_a_child_pipeline_gives_its_outputs_and_its_usage(self) -> None:
        run = Engine(PARENT, {"EXECUTE": ["SUMMARY: all done"]})
        finish_tree(run)
        assert run.run.status == "completed", run.run.error
        child = run.of("SUB")[0].child_run_id
        with database.connection():
            assert runs.get(child).parent_run_id == run.run_id
        assert "all done" in run.of("B")[0].prompt and run.run.llm_calls == 3
        run.check_invariants()

    def test_a_failed_child_fails_its_step(self) -> None:
        run = Engine(PARENT, {"EXECUTE": [{"error": {"class": "provider_rejected"}}]})
        finish_tree(run)
        assert (run.run.status, run.run.error_code, run.run.failed_step) == ("failed", "child_failed", "SUB")

    def test_cancel_reaches_the_child(self) -> None:
        run = Engine(PARENT)
        steps.advance_run(run.run_id)
        commands.cancel(run.run_id)
        with database.connection():
            assert runs.get(run.of("SUB")[0].child_run_id).status == "cancelled"
        run.check_invariants()


def finish_tree(run: Engine) -> None:
    for _ in range(20):
        steps.advance_run(run.run_id)
        for visit in run.visits:
            if visit.child_run_id:
                steps.advance_run(visit.child_run_id)
        if run.over:
            return
    raise AssertionError(run.statuses)


class TestApprovals:
    def test_an_approval_holds_the_run_without_a_worker(self) -> None:
        run = until_paused(Engine(ASK, {"A": ["version 2"]}))
        assert (run.run.status_reason, waiting(run).prompt) == ("approval", "Ship version 2?")
        assert [visit.owner for visit in run.visits] == [None, None]
        assert run.types[-2:] == ["approval_requested", "run_paused"]

    def test_approve_leads_on(self) -> None:
        run = until_paused(Engine(ASK))
        approvals.decide(waiting(run).id, "approve", comment="go", by="ann")
        run.finish()
        assert (run.run.status, run.counts["B"]) == ("completed", 1)
        assert run.run.outputs["comment"] == "go" and "run_resumed" in run.types
        run.check_invariants()

    def test_a_reject_that_matches_nothing_fails_the_step(self) -> None:
        run = until_paused(Engine(ASK))
        approvals.decide(waiting(run).id, "reject", comment="too early")
        assert (run.run.status, run.run.error_code, run.run.error) == ("failed", "approval_rejected", "too early")
        run.check_invariants()

    def test_a_decision_stands(self) -> None:
        run = until_paused(Engine(ASK))
        approval = waiting(run).id
        assert approvals.decide(approval, "approve").decision == approvals.decide(approval, "approve").decision
        with pytest.raises(Conflict, match="was decided"):
            approvals.decide(approval, "reject")

    def test_unknown_options_and_people_are_refused(self) -> None:
        run = until_paused(Engine(ASK.replace("timeoutSeconds: 3600", "approvers: [boss]")))
        with pytest.raises(Invalid):
            approvals.decide(waiting(run).id, "maybe")
        with pytest.raises(Forbidden):
            approvals.decide(waiting(run).id, "approve", by="ann")

    def test_the_default_applies_when_time_is_up(self) -> None:
        run = until_paused(Engine(ASK.replace("timeoutSeconds: 3600", "timeoutSeconds: 1, onTimeout: approve")))
        with database.transaction():
            database.execute("UPDATE approvals SET expires_at = 1")
        assert approvals.expire() == 1
        assert run.finish().run.status == "completed"

    def test_cancel_withdraws_what_waits(self) -> None:
        run = until_paused(Engine(ASK))
        approval = waiting(run).id
        commands.cancel(run.run_id)
        with pytest.raises(Conflict, match="withdrawn"):
            approvals.decide(approval, "approve")
        run.check_invariants()

    @pytest.mark.parametrize("store", ["postgres"], indirect=True)
    def test_a_decision_and_a_cancel_at_once_do_not_wait_for_each_other(self, store) -> None:
        run = until_paused(Engine(ASK))
        answers: list[str] = []
        person = threading.Thread(target=lambda: answers.append(refusal(waiting(run).id)))
        with database.transaction():
            runs.lock(run.run_id)  # as a cancel begins
            person.start()
            person.join(0.5)
            stored.withdraw(run.run_id)
        person.join(10)
        assert answers == ["approval_withdrawn"]


def refusal(approval_id: str) -> str:
    try:
        return approvals.decide(approval_id, "approve").status
    except DjinnBotError as error:
        return error.code


class TestToolApprovals:
    REPLY = [[{"tool_calls": [{"name": "write", "arguments": {"path": "a.txt", "content": "x"}}]}, "done"]]

    @pytest.fixture(autouse=True)
    def ask_before_writing(self, monkeypatch) -> None:
        monkeypatch.setenv("APPROVE_TOOLS", "write")
        config.get.cache_clear()

    def test_an_allowed_call_runs_with_exactly_its_arguments(self) -> None:
        run = until_paused(Engine("execute", {"EXECUTE": self.REPLY}))
        approval = waiting(run)
        assert (approval.kind, approval.data["arguments"]) == ("tool", {"path": "a.txt", "content": "x"})
        approvals.decide(approval.id, "allow")
        run.finish()
        assert run.run.status == "completed" and run.run.tool_calls == 1
        assert (config.get().workspaces_dir / run.run_id / "a.txt").read_text() == "x"

    def test_a_denied_call_does_not_run_and_the_agent_hears_why(self) -> None:
        run = until_paused(Engine("execute", {"EXECUTE": self.REPLY}))
        approvals.decide(waiting(run).id, "deny", comment="not here")
        run.finish()
        ends = [event for event in run.events if event["type"] == "tool_call_end"]
        assert run.run.status == "completed" and "not here" in ends[0]["result"]
        assert not (config.get().workspaces_dir / run.run_id / "a.txt").exists()


class TestPause:
    def test_a_paused_run_is_left_alone_until_it_is_resumed(self) -> None:
        run = Engine(FAN)
        commands.pause(run.run_id, by="ann")
        steps.advance_run(run.run_id)
        assert (run.run.status, run.run.status_reason, run.visits) == ("paused", "user", [])
        commands.resume(run.run_id)
        assert run.finish().run.status == "completed"
        run.check_invariants()

    def test_only_what_is_paused_can_be_resumed(self) -> None:
        run = Engine(FAN)
        with pytest.raises(Conflict, match="pending"):
            commands.resume(run.run_id)
        with pytest.raises(Conflict, match="decision"):
            commands.resume(until_paused(Engine(ASK)).run_id)
        run.finish()
        with pytest.raises(Conflict, match="completed"):
            commands.pause(run.run_id)


class TestBudgets:
    REPLY = {"text": "x", "usage": {"input_tokens": 400, "output_tokens": 600}}

    def test_parallel_items_never_spend_more_than_the_limit(self) -> None:
        text = MAP.replace("concurrency: 2", "concurrency: 4").replace(
            "maxRetries: 0", "maxRetries: 0, maxOutputTokens: 600"
        )
        names = json.dumps([str(number) for number in range(20)])
        run = Engine(text, {"LIST": [self.REPLY | {"text": names}], "EACH": [self.REPLY]}, max_tokens=10_000).finish()
        assert (run.run.status, run.run.error_code) == ("failed", "budget_exceeded")
        assert 8_000 <= run.run.spent_tokens <= 10_000 and run.run.reserved_tokens == 0
        assert "budget_warning" in run.types
        run.check_invariants()

    def test_a_pausing_budget_can_be_raised(self) -> None:
        reply = {"CALL": [self.REPLY]}
        text = f"id: b\n{HEAD}".replace("maxRetries: 0", "maxRetries: 0, maxOutputTokens: 600")
        text += "  - {id: CALL, agent: a, input: a, outputs: [x], onComplete: MORE}\n"
        text += "  - {id: MORE, agent: a, input: a, outputs: [y]}\n"
        run = until_paused(Engine(text, reply | {"MORE": [self.REPLY]}, max_tokens=1_200, on_budget="pause"))
        approval = waiting(run)
        assert (approval.kind, run.run.status_reason) == ("budget", "budget")
        approvals.decide(approval.id, "raise", data={"add_tokens": 5_000})
        assert run.finish().run.status == "completed"
        assert (run.run.max_tokens, run.run.spent_tokens) == (6_200, 2_000)

    def test_an_agent_gets_one_turn_to_wrap_up(self) -> None:
        turn = {"tool_calls": [{"name": "ls", "arguments": {}}], "usage": {"input_tokens": 300, "output_tokens": 640}}
        text = f"id: w\n{HEAD}  - {{id: W, agent: a, input: a, outputs: [x], tools: [ls], maxOutputTokens: 10}}\n"
        run = Engine(text, {"W": [[turn, turn, "wrapped"]]}, max_tokens=2_000).finish()
        assert (run.run.status, run.run.outputs) == ("completed", {"x": "wrapped"})


class TestFallbacks:
    def test_the_next_model_answers_for_one_that_cannot(self) -> None:
        step = "{id: F, agent: a, input: a, outputs: [x], model: openai/none, fallbackModels: [scripted/b]}"
        run = Engine(f"id: f\n{HEAD}  - {step}\n", {"F": ["from b"]}).finish()
        calls = [event for event in run.events if event["type"] == "llm_call"]
        assert (run.run.status, run.of("F")[0].model) == ("completed", "scripted/b")
        assert [call["fallback_from"] for call in calls] == ["openai/none"]
