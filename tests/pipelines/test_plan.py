"""The planner alone: no database, no clock; whoever completes the visits may do so in any order."""

from __future__ import annotations

import json
import random

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.errors import AgentFailed
from models.status import StepStatus
from pipelines import catalog, plan
from pipelines.state import State, Visit


def state_of(steps: list[dict], **root) -> State:
    text = yaml.safe_dump({"id": "p", "agents": [{"id": "a"}], "steps": steps, **root})
    state = State(catalog.parse(text), [])
    plan.begin(state)
    return state


def agent(id: str, **more) -> dict:
    return {"id": id, "agent": "a", "input": "x", "outputs": ["out"], **more}


def ready(state: State) -> list[Visit]:
    return [visit for visit in state.visits if visit.status == StepStatus.QUEUED]


def finish(state: State, visit: Visit, **outputs: str) -> None:
    given = {"out": visit.step_key, **outputs}
    visit.status = StepStatus.RUNNING
    plan.complete(state, visit, given, plan.judge(state, visit, given))
    state.saved()


def drain(state: State, choose: random.Random, **outputs: str) -> list[str]:
    """Completes what is ready in a random order until nothing is; returns the order."""
    order = []
    while not state.ending and (waiting := ready(state)):
        visit = choose.choice(waiting)
        order.append(visit.step_key)
        finish(state, visit, **outputs)
    return order


@st.composite
def graphs(draw) -> dict[int, list[int]]:
    """A step to the earlier steps that it needs."""
    size = draw(st.integers(1, 12))
    return {n: sorted(draw(st.sets(st.integers(0, n - 1), max_size=3))) if n else [] for n in range(size)}


@given(graphs(), st.randoms(use_true_random=False))
def test_every_step_of_a_graph_runs_once_and_after_all_it_needs(graph, choose) -> None:
    state = state_of([agent(f"S{n}", needs=[f"S{m}" for m in needs]) for n, needs in graph.items()])
    order = drain(state, choose)
    assert sorted(order) == sorted(f"S{n}" for n in graph) and state.ending.status == "completed"
    for n, needs in graph.items():
        assert all(order.index(f"S{m}") < order.index(f"S{n}") for m in needs)


@given(st.integers(0, 5), st.integers(0, 4), st.randoms(use_true_random=False))
def test_nested_loops_visit_every_pair_in_order(outer, inner, choose) -> None:
    steps = [
        agent("LIST", outputs=["rows", "cells"], onComplete="ROW"),
        agent("ROW", loop={"over": "rows", "onEachComplete": "CELL", "onAllComplete": "END"}),
        agent("CELL", loop={"over": "cells"}),
        agent("END"),
    ]
    state = state_of(steps)
    lists = {"rows": json.dumps(list(range(outer))), "cells": json.dumps(list(range(inner)))}
    order = drain(state, choose, **lists)
    assert order == ["LIST", *(["ROW"] + ["CELL"] * inner) * outer, "END"]
    assert state.ending.status == "completed"


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_map_ends_when_every_item_has_ended(fails, choose) -> None:
    spec = {"over": "rows", "concurrency": 3, "onItemFailure": "continue"}
    state = state_of([agent("LIST", outputs=["rows"], onComplete="EACH"), agent("EACH", map=spec)])
    finish(state, ready(state)[0], rows=json.dumps(list(range(len(fails)))))
    while not state.ending:
        assert len(ready(state)) <= 3
        item = choose.choice(ready(state))
        if fails[item.scope[-1][2]]:
            item.status = StepStatus.RUNNING
            plan.fail(state, item, AgentFailed("no"))
            state.saved()
        else:
            finish(state, item)
    if all(fails):
        assert state.ending.status == "failed"
    else:
        assert json.loads(state.view(())["out"]) == [None if failed else "EACH" for failed in fails]


def test_a_value_of_an_item_is_gone_for_the_next_one_and_stays_after_the_last() -> None:
    steps = [
        agent("LIST", outputs=["rows"], onComplete="ROW"),
        agent("ROW", outputs=["seen"], loop={"over": "rows", "onAllComplete": "END"}),
        agent("END"),
    ]
    state = state_of(steps)
    finish(state, ready(state)[0], rows='["a", "b"]')
    first = ready(state)[0]
    finish(state, first, seen="first")
    second = ready(state)[0]
    assert state.lookup("seen", second.scope) is None
    finish(state, second, seen="second")
    assert state.lookup("seen", ()) == "second"
    assert [item["seen"] for item in state.items_of("ROW", ())] == ["first", "second"]


def test_a_step_that_is_at_work_remembers_one_further_visit() -> None:
    steps = [agent("A", onComplete=["B", "C"]), agent("B", onComplete="D"), agent("C", onComplete="D"), agent("D")]
    state = state_of(steps)
    finish(state, ready(state)[0])
    for visit in ready(state):
        finish(state, visit)
    assert [visit.status for visit in state.of("D", ())] == ["queued", "pending"]
    finish(state, ready(state)[0])
    assert [visit.status for visit in state.of("D", ())] == ["completed", "queued"]


def test_a_join_that_cannot_be_met_is_named() -> None:
    steps = [
        agent("A", outputs=["result"], onResult={"GO": {"goto": "B"}, "STOP": {}}, onComplete="C"),
        agent("B"),
        agent("C"),
        agent("D", needs=["B", "C"]),
    ]
    state = state_of(steps)
    finish(state, ready(state)[0], result="STOP")
    drain(state, random.Random(1))
    assert (state.ending.error_code, state.ending.failed_step) == ("join_starved", "D") and "B" in state.ending.error


def test_when_skips_a_step_and_counts_it_as_done() -> None:
    steps = [agent("A", outputs=["kind"], onComplete="B"), agent("B", when={"kind": "bug"}, onComplete="C"), agent("C")]
    state = state_of(steps)
    finish(state, ready(state)[0], kind="feature")
    assert [visit.status for visit in state.visits] == ["completed", "skipped", "queued"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_needs_a_map_starts_when_the_map_is_over(fails) -> None:
    spec = {"over": "rows", "onItemFailure": "continue"}
    state = state_of(
        [agent("LIST", outputs=["rows"]), agent("EACH", map=spec, needs=["LIST"]), agent("SUM", needs=["EACH"])]
    )
    finish(state, ready(state)[0], rows='["a", "b"]')
    first, last = ready(state)
    finish(state, first)
    assert [visit.step_key for visit in ready(state)] == ["EACH"]
    if fails:
        last.status = StepStatus.RUNNING
        plan.fail(state, last, AgentFailed("no"))
    else:
        finish(state, last)
    assert [visit.step_key for visit in ready(state)] == ["SUM"]


def test_a_goto_that_is_taken_is_not_a_finish_for_a_join() -> None:
    steps = [
        agent("A", onComplete="B"),
        agent("B", outputs=["result"], onResult={"AGAIN": {"goto": "A"}, "DONE": {}}),
        agent("C", needs=["B"]),
    ]
    state = state_of(steps)
    finish(state, ready(state)[0])
    finish(state, ready(state)[0], result="AGAIN")
    assert [visit.step_key for visit in ready(state)] == ["A"]
    finish(state, ready(state)[0])
    finish(state, ready(state)[0], result="DONE")
    assert [visit.step_key for visit in ready(state)] == ["C"]


def test_a_cycle_is_cut_off_and_named() -> None:
    steps = [agent("A", onComplete="B"), agent("B", onComplete="A")]
    state = state_of(steps, maxVisits=3)
    drain(state, random.Random(1))
    assert state.ending.error_code == "too_many_visits" and "A -> B -> A" in state.ending.error
