"""The structures of the acceptance scenarios that the product does not ship: a chain, a row of needs, and T3."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import approvals as stored
from models import config, database, runs
from tests.engine import Engine
from workers import approvals, steps
from workers import runs as commands

FILES = Path(__file__).parent.parent / "fixtures" / "pipelines"
ITEMS = [f"item {number}" for number in range(10)]
T3 = {"A": [json.dumps(ITEMS)], "MAP": ["mapped"], "SECOND": ["polished"], "PUBLISH": ["published"]}
pytestmark = pytest.mark.usefixtures("store")


def test_two_steps_in_a_chain_hand_on_what_they_wrote() -> None:
    run = Engine(FILES / "t1.yml", {"FIRST": ["a draft"], "SECOND": ["a text"]}).finish()
    assert (run.run.status, run.counts) == ("completed", {"FIRST": 1, "SECOND": 1})
    assert "a draft" in run.of("SECOND")[0].prompt and run.run.outputs == {"draft": "a draft", "text": "a text"}
    run.check_invariants()


def test_five_steps_that_need_each_other_keep_an_output_of_one_name_apart() -> None:
    names = ["ONE", "TWO", "THREE", "FOUR", "FIVE"]
    run = Engine(FILES / "t2.yml", {name: [f"RESULT: {name.lower()}"] for name in names}).finish()
    assert run.statuses == [(name, "completed") for name in names]
    assert run.run.outputs["result"] == "five" and "four" in run.of("FIVE")[0].prompt
    run.check_invariants()


def t3(replies: dict, **replaced: str) -> Engine:
    """T3 as far as it goes without a person; `replaced` are words of the file."""
    config.get().pipelines_dir.mkdir(parents=True, exist_ok=True)
    (config.get().pipelines_dir / "t1.yml").write_text((FILES / "t1.yml").read_text())
    text = (FILES / "t3.yml").read_text()
    for word, other in replaced.items():
        text = text.replace(word, other)
    return Engine(text, T3 | replies)


def walk_on(run: Engine, until: str) -> Engine:
    """Rings for the run and its child runs until it has that status, or that step has been entered."""
    for _ in range(40):
        steps.advance_run(run.run_id)
        if run.run.status == until or until in run.counts:
            return run
        for child in filter(None, (visit.child_run_id for visit in run.visits)):
            steps.advance_run(child)
    raise AssertionError((run.run.status, run.run.error, run.statuses))


def decide(run: Engine, decision: str) -> None:
    with database.connection():
        waiting = stored.pending_of(run.run_id)
    approvals.decide(waiting[0].id, decision, comment="go")


def test_t3_goes_through_join_map_child_and_approval() -> None:
    run = walk_on(t3({}), "paused")
    decide(run, "approve")
    assert run.finish().run.status == "completed", run.run.error
    assert run.counts["E"] == 1 and json.loads(run.run.outputs["mapped"]) == ["mapped"] * len(ITEMS)
    assert "polished" in run.of("PUBLISH")[0].prompt and "go" in run.of("PUBLISH")[0].prompt
    run.check_invariants()


def test_t3_ends_where_nobody_wants_it_published() -> None:
    run = walk_on(t3({}), "paused")
    decide(run, "reject")
    assert (run.run.status, run.run.failed_step, run.run.error) == ("failed", "GATE", "not published")
    run.check_invariants()


LOST = {"MAP[3]": [{"error": {"class": "provider_rejected"}}]}


def test_a_failed_item_of_t3_leaves_a_hole() -> None:
    run = walk_on(t3(LOST), "paused")
    assert json.loads(run.of("MAP")[0].outputs["mapped"])[2:5] == ["mapped", None, "mapped"]


def test_a_failed_item_of_t3_may_fail_the_run() -> None:
    run = walk_on(t3(LOST, **{"onItemFailure: continue": "onItemFailure: fail"}), "failed")
    assert (run.run.failed_step, run.run.error_code) == ("MAP", "provider_rejected")
    run.check_invariants()


def test_a_cancel_in_the_middle_of_t3_takes_the_child_run_along() -> None:
    run = walk_on(t3({}), "CHILD")
    commands.cancel(run.run_id)
    with database.connection():
        child = runs.get(run.of("CHILD")[0].child_run_id)
    assert (run.run.status, child.status) == ("cancelled", "cancelled")
    run.check_invariants()
