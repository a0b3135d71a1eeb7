"""A walk's copy of the run: it must follow what is stored, whatever goes wrong in between."""

from __future__ import annotations

import pytest

from models import database, runs, visits
from models.errors import LeaseLost, Unavailable
from tests.engine import Engine
from workers import claims, walks

pytestmark = pytest.mark.usefixtures("store")
CHAIN = """
id: chain
agents: [{id: a}]
defaults: {tools: []}
steps:
  - {id: A, agent: a, input: a, outputs: [x], onComplete: B}
  - {id: B, agent: a, input: b, outputs: [y]}
"""


def planned_by_another(run_id: str) -> None:
    with database.transaction():
        database.execute("UPDATE runs SET plan_version = plan_version + 1 WHERE id = ?", (run_id,))


def test_a_decision_on_a_stale_copy_is_made_again() -> None:
    walk, _ = claims.claim(Engine(CHAIN).run_id)
    planned_by_another(walk.run.id)
    versions = []

    def decide(walk: walks.Walk) -> None:
        versions.append(walk.state.version)
        runs.write(walk.run.id, [], at_epoch=1, at_version=walk.state.version)

    walks.change(walk, decide)
    assert versions == [1, 2]


def test_a_failed_write_leaves_no_trace_in_the_copy() -> None:
    walk, _ = claims.claim(Engine(CHAIN).run_id)
    tries = []

    def decide(walk: walks.Walk) -> str:
        tries.append(walk.state.visits[0].status)
        walk.state.visits[0].status = "completed"
        if len(tries) == 1:
            raise Unavailable("the database went away")
        return tries[-1]

    with pytest.raises(Unavailable):
        walks.change(walk, decide)
    assert walks.change(walk, decide) == "running"


def test_a_write_under_an_old_token_is_refused() -> None:
    walk, visit = claims.claim(Engine(CHAIN).run_id)
    claims.release(walk.run.id, 1, visit.n, visit.token, "worker_lost")
    walk.stale = True
    with pytest.raises(LeaseLost):
        walks.change(walk, lambda walk: claims.mine(walk, visit.n, visit.token))


def test_a_fence_on_a_visit_refuses_who_lost_it() -> None:
    walk, visit = claims.claim(Engine(CHAIN).run_id)
    with database.transaction(), pytest.raises(LeaseLost):
        runs.write(walk.run.id, [], at_epoch=1, fence=visits.fence(walk.run.id, 1, visit.n, visit.token + 1))


def test_a_step_that_costs_three_workers_their_lives_is_failed() -> None:
    run = Engine(CHAIN)
    for _ in range(claims.MAX_LOSSES):
        _, visit = claims.claim(run.run_id)
        assert claims.release(run.run_id, 1, visit.n, visit.token, "worker_lost")
    assert (run.run.status, run.run.error_code) == ("failed", "worker_lost")


def test_a_deploy_costs_a_step_nothing() -> None:
    run = Engine(CHAIN)
    for _ in range(claims.MAX_LOSSES + 1):
        _, visit = claims.claim(run.run_id)
        claims.release(run.run_id, 1, visit.n, visit.token, "deploy")
    assert run.finish().run.status == "completed" and run.of("A")[0].attempt == 1


def test_nobody_claims_what_somebody_holds() -> None:
    run = Engine(CHAIN)
    assert claims.claim(run.run_id) and claims.claim(run.run_id) is None
