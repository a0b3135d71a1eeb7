"""The budget of the day: what all runs together may cost, whatever each of them may."""

from __future__ import annotations

import pytest

from models import daily, database, settings
from models.approvals import Approval
from models.base import now_ms
from tests.api import factories
from tests.end_to_end.test_people_and_branches import until_paused
from tests.engine import Engine
from workers import approvals

pytestmark = pytest.mark.usefixtures("store")
PIPELINE = """
id: one
agents: [{id: a}]
defaults: {maxRetries: 0, tools: []}
steps: [{id: A, agent: a, input: go, outputs: [x]}]
"""


def limit(usd: float | None) -> None:
    with database.transaction():
        settings.update({"dailyBudgetUsd": usd})
    daily.day._looked = float("-inf")


def test_a_run_fails_once_the_day_is_spent() -> None:
    factories.call(cost_usd=1.5)
    limit(1)
    run = Engine(PIPELINE).finish().run
    assert (run.status, run.error_code) == ("failed", "budget_exceeded")
    assert "1.5 of 1 USD" in run.error and "dailyBudgetUsd" in run.error


def test_yesterday_does_not_count() -> None:
    factories.call(cost_usd=9, created_at=now_ms() - 86_400_000)
    factories.call(cost_usd=0.5)
    limit(1)
    assert Engine(PIPELINE).finish().run.status == "completed"


def test_what_is_free_runs_on_a_budget_of_nothing() -> None:
    limit(0)
    assert Engine(PIPELINE, max_cost_usd=0.0).finish().run.status == "completed"


def test_a_run_that_would_rather_pause_goes_on_when_the_day_was_given_more() -> None:
    factories.call(cost_usd=2)
    limit(1)
    run = until_paused(Engine(PIPELINE, on_budget="pause"))
    with database.connection():
        approval = Approval.select().where(Approval.run_id == run.run_id).get()
    assert (approval.kind, approval.data, run.run.status_reason) == ("budget", {"limit": "day"}, "budget")
    limit(5)
    approvals.decide(approval.id, "raise")
    assert run.finish().run.status == "completed"


def test_calls_that_have_just_begun_count_with_what_they_may_cost() -> None:
    limit(1)
    with database.connection():
        day = daily.Day()
        assert [day.refuses(0.4) is None for _ in range(3)] == [True, True, False]
