"""For each guard a platform without it: the storm must notice. What holds with every guard is tested elsewhere."""

from __future__ import annotations

import time
from concurrent.futures import wait

import pytest

from models import database, visits
from models.errors import LeaseLost
from tests import github
from tests.engine import Engine
from tests.platform import wait_for
from tests.storm import invariants, mutants, pipelines, test_webhooks
from tests.storm.target import Storm, storming
from workers import walks


def seen(storm: Storm) -> str:
    """All that the invariants find, as text."""
    return "\n".join(invariants.over(storm.store, storm.history.acknowledged()).all)


def test_two_plans_from_one_state_are_noticed(seed) -> None:
    with storming(seed, mutant="plan", kinds=("web", "worker", "worker")) as storm:
        storm.settle(storm.post(10, "fork"), 3)
        assert storm.upsets()


def test_a_lost_doorbell_is_noticed(seed) -> None:
    with storming(seed, mutant="doorbell", kinds=("web", "worker")) as storm:
        storm.kill("redis")
        posted = storm.post(3, "one")
        wait([*posted], 30)
        storm.complete()
        storm.settle(posted, 3)
        assert "waits for a worker without a doorbell" in seen(storm)


def test_a_sweeper_that_sleeps_is_noticed(seed) -> None:
    with storming(seed, mutant="sweeper", kinds=("web", "relay", "worker")) as storm:
        storm.script({"SAY": [pipelines.said(30)]})
        posted = storm.post(6, "speech")
        wait_for(lambda: storm.busy(6))
        for name in storm.named("worker"):
            storm.kill(name)
        storm.complete()
        storm.settle(posted, 4)
        assert "held by a dead worker" in "\n".join(invariants.dead_holders(storm.store))


def some_wait(storm: Storm) -> None:
    assert storm.store.value("SELECT count(*) FROM visits WHERE status = 'queued'") >= 3


def test_transactions_that_lock_late_are_noticed(seed) -> None:
    with storming(seed, mutant="deferred") as storm:
        storm.script({})
        storm.settle(storm.post(60), 20)
        assert "database is locked" in "".join(storm.upsets())


def test_a_claim_without_a_new_token_is_noticed(seed) -> None:
    with storming(seed, mutant="claim", kinds=("web", "worker")) as storm:
        storm.settle(storm.post(3, "one"), 10)
        assert "was claimed 1 times under 0 tokens" in seen(storm)


def test_a_replay_that_is_taken_for_another_delivery_is_noticed(seed) -> None:
    with storming(seed, mutant="inbox", GITHUB_WEBHOOK_SECRET=github.SECRET) as storm:
        project = test_webhooks.listen(storm)
        for copy in test_webhooks.three_of(storm, project, 1):
            test_webhooks.deliver(storm, *copy)
        wait_for(lambda: test_webhooks.all_is_processed(storm, 2))
        assert "2 rows" in test_webhooks.check(storm, project, 1).broken


def test_a_step_boundary_in_two_halves_is_noticed(seed) -> None:
    with storming(seed, mutant="halves", kinds=("web", "worker")) as storm:
        posted = storm.post(10)
        wait_for(lambda: storm.busy(5))
        wait_for(lambda: some_wait(storm))
        for name in storm.named("worker"):
            storm.kill(name)
        wait(posted, 30)
        assert "waits as queued without a doorbell" in seen(storm)


@pytest.mark.parametrize("mutant", ["deaf", "deaf,fence"])
def test_writes_of_a_worker_that_was_given_up_are_noticed(seed, mutant) -> None:
    with storming(seed, mutant=mutant, LEASE_SECONDS="2") as storm:
        storm.script({"SAY": [pipelines.said(5)]})
        posted = storm.post(6, "speech")
        wait_for(lambda: storm.busy(6))
        time.sleep(0.5)
        storm.freeze_past_its_lease()
        storm.settle(posted, 30)
        assert ("heard" in seen(storm)) == ("fence" in mutant), seen(storm)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mutant", ["", "token"])
def test_a_visit_that_was_taken_over_is_not_overwritten(store, monkeypatch, mutant) -> None:
    """The plan's version stands before this guard in every command, so only a direct write can show it."""
    engine = Engine(pipelines.ONE)
    engine.finish()
    walk = walks.load(engine.run_id)
    stale = {n: (token - 1, status) for n, (token, status) in walk.stored.items()}
    if mutant:
        mutants.apply(mutant, monkeypatch.setattr)
    with database.transaction():
        assert refused(walk, stale) == (not mutant)


def refused(walk: walks.Walk, stale: dict) -> bool:
    try:
        visits.save([walks.row(walk.run.id, visit) for visit in walk.state.visits], stale)
    except LeaseLost:
        return True
    return False
