"""What GitHub has failed to deliver is asked for again."""

from __future__ import annotations

import time

import pytest

from models import github_cache, workers
from models.deliveries import Delivery
from models.outbox import Outbox
from tests.github import encode, labeled
from tests.github_double import delivery
from tests.workers.clients.test_github import PAT, key  # noqa: F401
from tests.workers.test_github_reports import double  # noqa: F401
from workers import deliveries, reconciling, sweeper
from workers import github as commands


def ago(hours: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * 3600))


def arrives(guid: str, **hook: str) -> None:
    payload = labeled()
    deliveries.receive(deliveries.Heads(guid, "issues", **hook), encode(payload), payload)


def test_what_failed_and_what_is_not_in_the_inbox_is_asked_for(double) -> None:  # noqa: F811
    arrives("here")
    arrives("late")
    double.deliveries = [
        delivery(5, "here", at=ago(1)),
        delivery(4, "late", status="timeout", at=ago(1)),
        delivery(3, "lost", at=ago(2)),
        delivery(2, "failed", status="500", at=ago(3)),
        delivery(1, "old", status="500", at=ago(80)),
    ]
    reconciling.github_reconcile("github")
    assert double.redelivered == [4, 3, 2]


def test_what_came_with_the_second_try_is_not_asked_for(double) -> None:  # noqa: F811
    arrives("here")
    double.deliveries = [delivery(2, "here", at=ago(1)), delivery(1, "here", status="500", at=ago(2))]
    reconciling.github_reconcile("github")
    assert double.redelivered == []


def test_it_is_asked_for_three_times_at_most(double) -> None:  # noqa: F811
    double.deliveries = [delivery(1, "lost", at=ago(1))]
    for _ in range(5):
        reconciling.github_reconcile("github")
    assert double.redelivered == [1, 1, 1]


def test_the_next_look_begins_where_nothing_was_open(double) -> None:  # noqa: F811
    double.deliveries = [delivery(n, f"lost{n}", at=ago(n)) for n in (1, 2)]
    reconciling.github_reconcile("github")
    state, _ = github_cache.state("reconcile")
    assert abs(state["since"] - (time.time() - 7200) * 1000) < 10_000
    arrives("lost1")
    arrives("lost2")
    double.deliveries = [delivery(n + 10, f"lost{n}", at=ago(0)) for n in (1, 2)] + double.deliveries
    reconciling.github_reconcile("github")
    state, at = github_cache.state("reconcile")
    assert at - state["since"] < 10_000 and len(double.redelivered) == 2


def test_a_look_that_fails_is_made_again_from_the_same_place(double) -> None:  # noqa: F811
    double.deliveries = [delivery(1, "lost", at=ago(1))]
    double.fail("/app/hook/deliveries", 500, times=3)
    reconciling.github_reconcile("github")
    assert double.redelivered == []
    reconciling.github_reconcile("github")
    assert double.redelivered == [1]


def test_with_a_personal_token_the_known_hooks_are_asked(double, setting) -> None:  # noqa: F811
    setting(GITHUB_APP_ID="", GITHUB_APP_PRIVATE_KEY="", GITHUB_TOKEN=PAT)
    arrives("here", hook_id="77", hook_target="repository")
    double.deliveries = [delivery(1, "lost", at=ago(1))]
    reconciling.github_reconcile("github")
    assert double.redelivered == [1] and double.calls("GET", "^/repos/octo/hello/hooks/77/deliveries$")


def test_what_is_delivered_again_is_processed_once(double) -> None:  # noqa: F811
    double.deliveries = [delivery(1, "lost", at=ago(1))]
    reconciling.github_reconcile("github")
    for _ in range(2):
        arrives("lost")
    assert Delivery.select().count() == 1


@pytest.mark.parametrize(("since", "now", "rung"), [(None, 0, True), (0, 59 * 60_000, False), (0, 3_600_000, True)])
def test_it_is_rung_for_at_the_start_and_then_every_hour(double, since, now, rung) -> None:  # noqa: F811
    assert commands.reconcile_if_due(60, since, now) is rung
    assert Outbox.select().where(Outbox.actor == "github_reconcile").count() == int(rung)


def test_the_sweeper_rings_for_it(double) -> None:  # noqa: F811
    workers.register("test", 1)
    sweeper.Sweeper().sweep()
    assert Outbox.select().where(Outbox.actor == "github_reconcile").count() == 1
