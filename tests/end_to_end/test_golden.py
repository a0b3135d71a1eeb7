"""The golden scenarios of the engine: known structures, scripted answers, exact routes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from models import config, database, runs
from models.errors import Conflict
from tests.engine import Engine
from workers import claims, steps, walks, workspaces
from workers import runs as commands

pytestmark = pytest.mark.usefixtures("store")

SPEC = {"SPEC": ["requirements"], "DESIGN": [{"text": 'ARCHITECTURE: small\nTASK_BREAKDOWN_JSON: ["one", "two"]'}]}
APPROVED, CHANGES = (
    "REVIEW_RESULT: APPROVED\nREVIEW_FEEDBACK: fine",
    "REVIEW_RESULT: CHANGES_REQUESTED\nREVIEW_FEEDBACK: rename x",
)
PASS, FAIL = "TEST_RESULT: PASS\nTEST_REPORT: all green", "TEST_RESULT: FAIL\nTEST_REPORT: 2 red"
VALID, INVALID = "VALIDATE_RESULT: PASS\nTEST_REPORT: green", "VALIDATE_RESULT: FAIL\nTEST_REPORT: red"
DEPLOYED, BROKEN = "DEPLOY_RESULT: SUCCESS\nDEPLOY_REPORT: live", "DEPLOY_RESULT: FAIL\nDEPLOY_REPORT: down"


FIXED = {"FIX": ["ROOT_CAUSE: off by one\nFIX_SUMMARY: counted right"]}
RESOLVED = {"ANALYZE": ["ANALYSIS: a race\nPLAN: lock"], "IMPLEMENT": ["CHANGES: a lock\nBRANCH: fix-7"]}
TASK = {
    "title": "Log in",
    "description": "A form",
    "priority": "P1",
    "estimated_hours": 2,
    "tags": [],
    "dependencies": [],
}


def two_items(**more) -> dict:
    return SPEC | {"REVIEW": [APPROVED], "TEST": [PASS], "DEPLOY": [DEPLOYED]} | more


def chain(extra: str = "", first: str = "") -> str:
    return f"""
id: chain
agents: [{{id: a}}]
defaults: {{tools: [], retry: {{delaySeconds: 0.02, factor: 2}}}}
{extra}
steps:
  - {{id: A, agent: a, input: "do {{{{task_description}}}}", outputs: [x], onComplete: B {first}}}
  - {{id: B, agent: a, input: "then {{{{x}}}}", outputs: [y]}}
"""


class TestStraight:
    def test_execute_completes_with_one_visit(self) -> None:
        run = Engine("execute").finish()
        assert (run.run.status, run.counts) == ("completed", {"EXECUTE": 1})
        run.check_invariants()

    def test_two_steps_in_a_chain_leave_the_minimal_log(self) -> None:
        step = ["step_queued", "step_started", "step_complete"]
        assert Engine(chain()).finish().types == ["run_created", "run_started", *step, *step, "run_complete"]

    def test_an_agentic_plan_is_one_visit(self) -> None:
        run = Engine("planning-agentic").finish()
        assert (run.run.status, run.counts) == ("completed", {"PLAN": 1}), run.run.error
        run.check_invariants()

    def test_import_visits_each_step_once(self) -> None:
        run = Engine("import").finish()
        assert run.run.status == "completed", run.run.error
        assert set(run.counts.values()) == {1} and len(run.counts) == 5

    def test_planning_keeps_the_whole_json_of_a_single_output(self) -> None:
        tasks = json.dumps({"tasks": [TASK]})
        subtasks = json.dumps({"subtasks": [TASK | {"parent_title": "Log in"}]})
        replies = {"DECOMPOSE": [tasks], "VALIDATE": [tasks], "DECOMPOSE_SUBTASKS": [subtasks]}
        run = Engine("planning", replies | {"VALIDATE_SUBTASKS": [subtasks]}).finish()
        assert run.run.status == "completed", run.run.error
        assert json.loads(run.of("DECOMPOSE")[0].outputs["task_breakdown"]) == {"tasks": [TASK]}

    def test_a_long_output_is_whole_in_the_step_and_short_in_its_event(self) -> None:
        run = Engine(chain(), {"A": ["long " * 100_000]}).finish()
        event = next(event for event in run.events if event["type"] == "step_complete")
        assert len(run.run.outputs["x"]) == 499_999 and len(event["outputs"]["x"]) < 70_000


class TestArtifacts:
    WRITES = [{"tool_calls": [{"name": "write", "arguments": {"path": "a.txt", "content": "one"}}]}]
    EDITS = [
        {"tool_calls": [{"name": "write", "arguments": {"path": "a.txt", "content": "two"}}]},
        {
            "tool_calls": [
                {"name": "bash", "arguments": {"command": "mkdir .git d; echo 1 >.git/x; ln -s ../a.txt d/l"}}
            ]
        },
    ]

    def test_a_step_names_the_files_it_changed(self) -> None:
        replies = {"FIX": [[*self.WRITES, *FIXED["FIX"]], [*self.EDITS, *FIXED["FIX"]]], "VALIDATE": [INVALID, VALID]}
        run = Engine("bugfix", replies).finish()
        first, again = (visit.artifacts for visit in run.of("FIX"))
        assert [(made["path"], made["size"], made["action"]) for made in first] == [("a.txt", 3, "created")]
        assert [(made["path"], made["action"]) for made in again] == [("a.txt", "modified")]
        assert [visit.artifacts for visit in run.of("VALIDATE")] == [[], []]


class TestRoutes:
    def test_a_passed_validation_ends_the_run(self) -> None:
        run = Engine("bugfix", FIXED | {"VALIDATE": [VALID]}).finish()
        assert (run.run.status, run.counts) == ("completed", {"FIX": 1, "VALIDATE": 1})

    def test_a_failed_validation_goes_back_as_a_new_visit(self) -> None:
        run = Engine("bugfix", FIXED | {"VALIDATE": [INVALID, VALID]}).finish()
        assert (run.run.status, run.counts) == ("completed", {"FIX": 2, "VALIDATE": 2})
        assert "red" in run.of("FIX")[1].prompt
        run.check_invariants()

    def test_a_feature_goes_back_for_review_and_for_tests(self) -> None:
        replies = {"REVIEW": [CHANGES, APPROVED, APPROVED], "TEST": [FAIL, PASS]}
        run = Engine("feature", replies).finish()
        assert run.run.status == "completed", run.run.error
        assert run.counts == {"DESIGN": 1, "IMPLEMENT": 3, "REVIEW": 3, "TEST": 2}
        assert "rename x" in run.of("IMPLEMENT")[1].prompt and "2 red" in run.of("IMPLEMENT")[2].prompt
        run.check_invariants()

    def test_resolve_that_is_valid_at_once_visits_each_step_once(self) -> None:
        replies = RESOLVED | {"VALIDATE": [VALID], "PR": ["PR_URL: https://example.org/pr/1"]}
        run = Engine("resolve", replies).finish()
        assert (run.run.status, set(run.counts.values()), len(run.counts)) == ("completed", {1}, 4)

    def test_resolve_reads_its_variables_from_a_json_context(self) -> None:
        context = json.dumps({"issue_title": "Crash on start", "repo_full_name": "acme/app", "issue_number": 7})
        replies = RESOLVED | {"VALIDATE": [INVALID, VALID], "PR": ["PR_URL: https://example.org/pr/1"]}
        run = Engine("resolve", replies, human_context=context).finish()
        assert run.run.status == "completed", run.run.error
        assert run.counts == {"ANALYZE": 1, "IMPLEMENT": 2, "VALIDATE": 2, "PR": 1}
        assert run.run.outputs["pr_url"] == "https://example.org/pr/1"
        assert "Crash on start" in run.of("ANALYZE")[0].prompt and "acme/app" in run.of("ANALYZE")[0].prompt

    @pytest.mark.parametrize("words", ["Approved with nits", "**APPROVED**"])
    def test_an_approval_in_other_words_is_understood(self, words: str) -> None:
        run = Engine("feature", {"REVIEW": [f"REVIEW_RESULT: {words}\nREVIEW_FEEDBACK: -"], "TEST": [PASS]}).finish()
        assert (run.run.status, run.counts["TEST"]) == ("completed", 1)

    def test_a_result_that_matches_nothing_costs_a_repair_turn(self) -> None:
        unclear = "REVIEW_RESULT: not approved\nREVIEW_FEEDBACK: hm"
        run = Engine("feature", {"REVIEW": [[unclear, APPROVED]], "TEST": [PASS]}).finish()
        assert (run.run.status, run.counts["REVIEW"]) == ("completed", 1)
        assert run.of("REVIEW")[0].usage["llm_calls"] == 2

    def test_a_cycle_that_never_ends_fails_by_name(self) -> None:
        run = Engine("bugfix", FIXED | {"VALIDATE": [INVALID]}).finish()
        assert (run.run.status, run.run.error_code) == ("failed", "too_many_visits")
        assert run.counts["FIX"] == 10 and "FIX -> VALIDATE -> FIX" in run.run.error
        run.check_invariants()


class TestLoops:
    def test_a_change_request_repeats_the_same_item(self) -> None:
        run = Engine("engineering", two_items(REVIEW=[CHANGES, APPROVED])).finish()
        assert run.run.status == "completed", run.run.error
        assert {key: run.counts[key] for key in ("IMPLEMENT", "REVIEW", "TEST", "DEPLOY")} == {
            "IMPLEMENT": 3,
            "REVIEW": 3,
            "TEST": 2,
            "DEPLOY": 1,
        }
        assert run.types.count("loop_item_complete") == 2 and "DX" not in run.counts
        second_item = [visit for visit in run.of("IMPLEMENT") if visit.scope[-1][2] == 1]
        assert "rename x" not in second_item[0].prompt and "rename x" in run.of("IMPLEMENT")[1].prompt
        run.check_invariants()

    def test_the_notified_agent_gets_its_message(self) -> None:
        run = Engine("engineering", two_items()).finish()
        notes = [event for event in run.events if event["type"] == "agent_message"]
        assert len(notes) == 1 and notes[0]["to"] and notes[0]["message"]

    def test_an_empty_list_goes_on_at_once(self) -> None:
        empty = {"DESIGN": ["ARCHITECTURE: none\nTASK_BREAKDOWN_JSON: []"]}
        run = Engine("engineering", two_items(**empty)).finish()
        assert run.run.status == "completed" and run.counts["DEPLOY"] == 1 and "REVIEW" not in run.counts
        assert run.of("IMPLEMENT")[0].attempt == 0

    def test_a_single_item_is_a_loop_of_one(self) -> None:
        one = {"DESIGN": ['ARCHITECTURE: small\nTASK_BREAKDOWN_JSON: ["only"]']}
        run = Engine("engineering", two_items(**one)).finish()
        assert run.run.status == "completed" and run.types.count("loop_item_complete") == 1
        assert {run.counts[key] for key in ("IMPLEMENT", "REVIEW", "TEST", "DEPLOY")} == {1}

    def test_a_source_that_is_no_list_is_repaired_where_it_is_made(self) -> None:
        bad = "ARCHITECTURE: a\nTASK_BREAKDOWN_JSON: nothing much"
        good = 'ARCHITECTURE: a\nTASK_BREAKDOWN_JSON: ["one"]'
        run = Engine("engineering", two_items(DESIGN=[[bad, good]])).finish()
        assert run.run.status == "completed" and run.of("DESIGN")[0].usage["llm_calls"] == 2

    def test_a_source_that_stays_no_list_is_bad_output(self) -> None:
        bad = "ARCHITECTURE: a\nTASK_BREAKDOWN_JSON: nothing much"
        text = (
            (Path("pipelines/library/engineering.yml"))
            .read_text()
            .replace("defaults:", "defaults:\n  maxRetries: 0", 1)
        )
        run = Engine(text, two_items(DESIGN=[[bad]])).finish()
        assert (run.run.status, run.run.error_code, run.run.failed_step) == ("failed", "bad_output", "DESIGN")

    def test_a_failed_deployment_notifies_and_goes_back(self) -> None:
        run = Engine("engineering", two_items(DEPLOY=[BROKEN, DEPLOYED])).finish()
        assert run.run.status == "completed" and run.counts["DEPLOY"] == 2
        assert run.types.count("agent_message") == 3 and run.run.outputs["deploy_result"] == "SUCCESS"
        run.check_invariants()


class TestFailures:
    def test_two_failed_attempts_are_repeated_with_what_went_wrong(self) -> None:
        run = Engine(
            chain(), {"A": ["STATUS: failed\nERROR: no disk", "STATUS: failed\nERROR: no net", "fine"]}
        ).finish()
        visit = run.of("A")[0]
        assert (run.run.status, visit.retry_count, visit.error, visit.attempt) == ("completed", 2, None, 3)
        delays = [event["delay_ms"] for event in run.events if event["type"] == "step_retrying"]
        assert "no net" in visit.prompt and 10 <= delays[0] <= 20 <= delays[1] <= 40
        run.check_invariants()

    def test_three_failed_attempts_fail_the_run(self) -> None:
        run = Engine(chain(), {"A": ["STATUS: failed\nERROR: no disk"]}).finish()
        assert (run.run.status, run.run.error, run.run.failed_step) == ("failed", "no disk", "A")
        assert run.types[-2:] == ["step_failed", "run_failed"]
        run.check_invariants()

    def test_on_failure_leads_somewhere_else(self) -> None:
        run = Engine(chain(first=", onFailure: B, maxRetries: 0"), {"A": ["STATUS: failed\nERROR: no disk"]}).finish()
        assert (run.run.status, run.statuses) == ("completed", [("A", "failed"), ("B", "completed")])
        assert "no disk" in run.of("B")[0].prompt

    def test_a_rejected_key_is_final(self) -> None:
        run = Engine(chain(), {"A": [{"error": {"class": "provider_rejected"}}]}).finish()
        assert (run.run.error_code, run.of("A")[0].attempt) == ("provider_rejected", 1)

    def test_rubbish_from_the_model_ends_as_bad_output(self) -> None:
        text = Path("pipelines/library/feature.yml").read_text().replace("defaults:", "defaults:\n  maxRetries: 0", 1)
        run = Engine(text, {"REVIEW": ["lorem ipsum"]}).finish()
        assert (run.run.status, run.run.error_code, run.run.failed_step) == ("failed", "bad_output", "REVIEW")


class TestSnapshots:
    """What a run began with is what it ends with, whatever happens to the files meanwhile."""

    TEXT = """
id: three
defaults: {tools: []}
steps:
  - {id: A, agent: writer, input: a, outputs: [x], onComplete: B}
  - {id: B, agent: writer, input: b, outputs: [y], onComplete: C}
  - {id: C, agent: writer, input: "then {{y}}", outputs: [z]}
"""

    def changed(self, change: Callable[[], object]) -> Engine:
        """The run at its end; the change came while B was at work, and nothing is remembered from before it."""
        run = Engine(self.TEXT, {"B": ["bee"]})
        taken = steps.work(*claims.claim(run.run_id))
        change()
        walks.definition.cache_clear()
        while taken:
            taken = steps.work(*taken)
        assert (run.run.status, run.counts) == ("completed", {"A": 1, "B": 1, "C": 1}), run.run.error
        return run

    def file(self) -> Path:
        return config.get().pipelines_dir / "test.yml"

    def test_an_edited_file_changes_no_run(self) -> None:
        other = self.TEXT.replace("then {{y}}", "something else").replace("outputs: [z]", "outputs: [other]")
        run = self.changed(lambda: self.file().write_text(other))
        assert set(run.run.outputs) == {"x", "y", "z"} and "then bee" in run.of("C")[0].prompt

    def test_a_deleted_file_changes_no_run(self) -> None:
        run = self.changed(lambda: self.file().unlink())
        assert run.restart(from_="C").run.status == "completed"

    def test_a_deleted_agent_stops_no_run(self) -> None:
        self.changed(lambda: shutil.rmtree(config.get().agents_dir / "writer"))


class TestRestart:
    def test_from_failed_keeps_what_was_done(self) -> None:
        failing = chain().replace("B, agent: a", "B, maxRetries: 0, agent: a")
        run = Engine(failing, {"A": ["one"], "B": ["STATUS: failed\nERROR: no", "two"]}).finish()
        assert run.run.status == "failed"
        run.restart(from_="failed", context="be bold")
        assert (run.run.status, run.run.epoch, run.run.outputs) == ("completed", 2, {"x": "one", "y": "two"})
        assert run.of("A")[0].attempt == 1 and "be bold" in run.of("B")[0].prompt
        run.check_invariants()

    def test_from_a_step_drops_what_came_after_it(self) -> None:
        replies = {"REVIEW": [CHANGES, APPROVED], "TEST": [PASS]}
        run = Engine("feature", replies).finish().restart(from_="REVIEW")
        assert run.run.status == "completed"
        assert run.counts == {"DESIGN": 1, "IMPLEMENT": 2, "REVIEW": 2, "TEST": 1}

    def test_from_the_start_forgets_everything_but_the_guidance(self) -> None:
        run = Engine(chain(), {"A": ["STATUS: failed\nERROR: no"]}, human_context="use tabs").finish()
        run.script({})
        run.restart(context="and be quick")
        assert run.run.status == "completed" and run.run.error is None and run.counts == {"A": 1, "B": 1}
        assert "use tabs" in run.of("A")[0].prompt and "and be quick" in run.of("A")[0].prompt


class TestForks:
    REPLIES = {"REVIEW": [CHANGES, APPROVED], "TEST": [PASS], "IMPLEMENT": ["CHANGES: one", "CHANGES: two"]}

    def test_a_fork_begins_at_a_step_with_what_was_done_before_it(self) -> None:
        source = Engine("feature", self.REPLIES).finish()
        before = source.events
        fork = source.fork(from_step="TEST", changes={"outputs": {"review_feedback": "changed"}})
        assert (fork.run.status, source.events) == ("completed", before)
        assert fork.counts == {"DESIGN": 1, "IMPLEMENT": 2, "REVIEW": 2, "TEST": 1}
        assert {visit.copied_from for visit in fork.visits} == {source.run_id, None}
        assert fork.run.outputs["review_feedback"] == "changed" and fork.run.llm_calls == 1
        fork.check_invariants()

    def test_a_step_that_was_never_reached_cannot_be_forked_from(self) -> None:
        source = Engine("bugfix", {"FIX": ["STATUS: failed\nERROR: no"]}).finish()
        with pytest.raises(Conflict, match="never reached"):
            source.fork(from_step="VALIDATE", changes={})

    def test_a_removed_run_leaves_nothing(self) -> None:
        run = Engine(chain()).finish()
        commands.remove(run.run_id)
        with database.connection():
            for table, column in runs.OWNED.items():
                sql = f"SELECT count(*) FROM {table} WHERE {column} = ?"
                assert database.execute(sql, (run.run_id,)).fetchone()[0] == 0


class TestWorkspaces:
    WRITE = '[{{"tool_calls": [{{"name": "write", "arguments": {{"path": "{0}", "content": "{0}"}}}}]}}, "done"]'
    TEXT = """
id: files
agents: [{id: a}]
defaults: {tools: [write, ls], retry: {delaySeconds: 0}}
steps:
  - {id: A, agent: a, input: a, outputs: [x], onComplete: B}
  - {id: B, agent: a, input: b, outputs: [y], workspaceOnRetry: reset}
"""

    def writes(self, *names: str) -> list:
        return [json.loads(self.WRITE.format(name)) for name in names]

    def files(self, run: Engine) -> list[str]:
        return sorted(path.name for path in workspaces.folder(run.run_id).iterdir())

    def test_a_restart_from_a_step_finds_the_files_as_they_were(self) -> None:
        run = Engine(self.TEXT, {"A": self.writes("one"), "B": self.writes("two", "three")}).finish()
        assert self.files(run) == ["one", "two"]
        run.restart(from_="B")
        assert (run.run.status, self.files(run)) == ("completed", ["one", "three"])

    def test_a_restart_from_the_start_finds_nothing(self) -> None:
        run = Engine(self.TEXT, {"A": self.writes("one", "uno"), "B": self.writes("two")}).finish()
        run.restart()
        assert self.files(run) == ["two", "uno"]

    def test_a_repeat_can_begin_from_a_clean_tree(self) -> None:
        bad = [*self.writes("mess")[0][:1], "STATUS: failed\nERROR: no"]
        run = Engine(self.TEXT, {"A": self.writes("one"), "B": [bad, *self.writes("two")]}).finish()
        assert (run.run.status, self.files(run)) == ("completed", ["one", "two"])

    def test_a_fork_gets_a_copy(self) -> None:
        source = Engine(self.TEXT, {"A": self.writes("one"), "B": self.writes("two", "three")}).finish()
        fork = source.fork(from_step="B", changes={})
        assert self.files(fork) == ["one", "two"] and self.files(source) == ["one", "two"]
