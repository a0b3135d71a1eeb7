"""maxConcurrentSteps: over all runs and workers an agent works at no more steps than its file says."""

from __future__ import annotations

import threading

import pytest

from api import definitions
from models import database, why
from tests.chat import install
from tests.engine import Engine
from workers import claims, steps
from workers.agent import settings

pytestmark = pytest.mark.usefixtures("store")
ONE = """
id: one
agents: [{id: ann}, {id: free}]
defaults: {tools: []}
steps:
  - {id: A, agent: ann, input: a, outputs: [x], onComplete: B}
  - {id: B, agent: ann, input: b, outputs: [y]}
"""


@pytest.fixture(autouse=True)
def fresh():
    """Agents as they are on disk now."""
    settings._agent.cache_clear()
    definitions.pinned.cache_clear()


def limited(limit: int | None) -> None:
    install("ann", **({} if limit is None else {"max_concurrent_steps": limit}))


def runs(count: int) -> list[Engine]:
    return [Engine(ONE, {}) for _ in range(count)]


def test_an_agent_works_at_two_steps_unless_its_file_says_otherwise() -> None:
    limited(None)
    assert [claims.claim(run.run_id) is not None for run in runs(3)] == [True, True, False]


def test_the_limit_of_the_file_counts() -> None:
    limited(1)
    first, second = runs(2)
    taken = claims.claim(first.run_id)
    assert claims.claim(second.run_id) is None
    while taken:
        taken = steps.work(*taken)
    assert claims.claim(second.run_id) is not None


def test_an_agent_without_a_folder_has_no_limit() -> None:
    assert all(claims.claim(run.run_id) for run in runs(5))


def test_a_run_goes_on_with_the_agent_that_it_has() -> None:
    limited(1)
    (run,) = runs(1)
    assert run.finish().run.status == "completed"


def test_who_was_lost_is_taken_over_whatever_the_limit() -> None:
    limited(1)
    first, second = runs(2)
    walk, visit = claims.claim(first.run_id)
    claims.release(walk.run.id, 1, visit.n, visit.token, "worker_lost")
    assert claims.claim(second.run_id) is not None
    assert claims.claim(first.run_id) is not None


def test_the_next_run_is_rung_as_soon_as_there_is_room(monkeypatch) -> None:
    limited(1)
    first, second = runs(2)
    taken, rung = claims.claim(first.run_id), []
    claims.claim(second.run_id)
    monkeypatch.setattr(steps.saves.broker.ringer, "ring_soon", lambda actor, id: rung.append(id))
    while taken:
        taken = steps.work(*taken)
    assert second.run_id in rung


def test_many_claims_at_once_do_not_pass_the_limit() -> None:
    limited(2)
    taken, waiting = [], runs(8)

    def claim(run: Engine) -> None:
        try:
            taken.append(claims.claim(run.run_id))
        finally:
            database.release()

    threads = [threading.Thread(target=claim, args=(run,)) for run in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 8 and sum(one is not None for one in taken) == 2


def test_why_names_who_has_the_agent() -> None:
    limited(1)
    first, second = runs(2)
    claims.claim(first.run_id)
    claims.claim(second.run_id)
    with database.connection():
        (reason,) = why.explain(second.run_id, definitions.rules)["reasons"]
    assert (reason["code"], reason["step_id"]) == ("agent_limit", "A")
    assert reason["refs"]["holders"] == [{"run_id": first.run_id, "step_id": "A"}]
