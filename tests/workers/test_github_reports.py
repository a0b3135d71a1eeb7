"""What GitHub is told about a run."""

from __future__ import annotations

import pytest

from models import database, firings, leases, settings
from models.base import now_ms
from models.firings import Firing
from models.outbox import Outbox
from tests.engine import Engine
from tests.github import encode, labeled
from tests.github_double import GitHubDouble
from tests.workers.clients.test_github import PAT, key  # noqa: F401
from workers import deliveries, reports
from workers import runs as commands
from workers.clients import github

PIPELINE = "id: one\nsteps:\n  - id: FIX\n    agent: writer\n    input: Fix it\n    outputs: [pr_url]\n"
REPLIES = {"FIX": ["PR_URL: https://github.com/octo/a/pull/9"]}
TAINT = "github octo/a#7"


@pytest.fixture
def double(key, store, setting):  # noqa: F811
    """GitHub, and us as an App of it."""
    github._tokens.clear()
    made = GitHubDouble(key[1])
    setting(GITHUB_API_URL=made.url, EGRESS_ALLOW=made.place, GITHUB_APP_ID="42", GITHUB_APP_PRIVATE_KEY=key[0])
    yield made
    made.close()


def about(sha: str | None = None, is_pull: bool = False, number: int = 7) -> str:
    """A run about something at octo/a, not begun; its id."""
    run_id = Engine(PIPELINE, REPLIES, tainted_by=TAINT).run_id
    with database.transaction():
        place = {"repository": "octo/a", "number": number, "is_pull": is_pull, "head_sha": sha}
        firings.add(scope=f"x{number}", run_id=run_id, installation_id=11, **place)
    return run_id


def finish(run_id: str) -> None:
    made = object.__new__(Engine)
    made.run_id = run_id
    made.finish()


def test_one_comment_is_made_and_edited_in_place(double) -> None:
    run_id = about()
    reports.github_report(run_id)
    (comment,) = double.comments.values()
    assert "pipeline `one` is waiting for a worker" in comment["body"] and run_id in comment["body"]
    finish(run_id)
    reports.github_report(run_id)
    assert len(double.comments) == 1 and "has completed" in comment["body"]
    assert "| FIX | ✅ completed |" in comment["body"] and "https://github.com/octo/a/pull/9" in comment["body"]
    assert double.checks == {} and Outbox.select().where(Outbox.actor == "github_report").count() == 0


def test_the_next_run_at_the_same_issue_edits_the_same_comment(double) -> None:
    for _ in range(2):
        reports.github_report(about())
    assert len(double.comments) == 1 and len(double.calls("PATCH", "/comments/")) == 1


def test_an_attempt_that_was_cut_off_after_its_call_posts_nothing_twice(double) -> None:
    run_id = about(sha="a" * 40, is_pull=True)
    reports.github_report(run_id)
    with database.transaction():
        firings.GitHubComment.delete().execute()
        Firing.update(check_id=None).execute()
    reports.github_report(run_id)
    assert (len(double.comments), len(double.checks)) == (1, 1)


def test_a_comment_that_somebody_has_deleted_is_made_again(double) -> None:
    run_id = about()
    reports.github_report(run_id)
    double.comments.clear()
    reports.github_report(run_id)
    assert len(double.comments) == 1


def test_a_check_is_in_progress_and_then_has_a_conclusion(double) -> None:
    run_id = about(sha="a" * 40, is_pull=True)
    reports.github_report(run_id)
    (check,) = double.checks.values()
    assert (check["status"], check["external_id"], check["head_sha"]) == ("in_progress", run_id, "a" * 40)
    commands.cancel(run_id)
    reports.github_report(run_id)
    assert (check["status"], check["conclusion"], len(double.checks)) == ("completed", "cancelled", 1)


def test_the_commit_of_a_comment_at_a_pull_request_is_looked_up(double) -> None:
    double.pulls["octo/a#7"] = {"head": {"sha": "b" * 40}}
    reports.github_report(about(is_pull=True))
    assert [check["head_sha"] for check in double.checks.values()] == ["b" * 40]


@pytest.mark.parametrize(
    ("wanted", "expected"), [("off", (0, 0)), ("check", (1, 0)), ("comment", (0, 1)), ("both", (1, 1))]
)
def test_what_is_told_is_a_setting(double, wanted, expected) -> None:
    with database.transaction():
        settings.update({"githubReports": wanted})
    reports.github_report(about(sha="a" * 40, is_pull=True))
    assert (len(double.checks), len(double.comments)) == expected


def test_with_a_personal_token_there_is_only_the_comment(double, setting) -> None:
    setting(GITHUB_APP_ID="", GITHUB_APP_PRIVATE_KEY="", GITHUB_TOKEN=PAT)
    reports.github_report(about(sha="a" * 40, is_pull=True))
    assert (len(double.checks), len(double.comments)) == (0, 1)


def test_unconfigured_nobody_is_told(double, setting) -> None:
    setting(GITHUB_APP_ID="", GITHUB_APP_PRIVATE_KEY="")
    run_id = about()
    reports.github_report(run_id)
    assert double.journal == [] and Outbox.select().where(Outbox.object_id == run_id).count() == 1


def test_a_failure_is_repeated_later_and_not_for_ever(double) -> None:
    run_id = about()
    double.fail("/comments", 422, times=100)
    for attempt in range(1, reports.MOST_ATTEMPTS + 1):
        reports.github_report(run_id)
        assert Firing.get().report_attempts == attempt
        waiting = Outbox.select().where(Outbox.actor == "github_report").count()
        assert waiting == (1 if attempt < reports.MOST_ATTEMPTS else 0)
    assert "422" in Firing.get().report_error


def test_a_rate_limit_decides_when_it_is_repeated(double) -> None:
    run_id = about()
    double.fail("/comments", 403, message="You have exceeded a secondary rate limit", Retry_After="600")
    reports.github_report(run_id)
    wait = Outbox.get(Outbox.actor == "github_report").not_before - now_ms()
    assert 500_000 < wait <= 600_000


def test_two_reports_at_one_place_do_not_post_at_once(double) -> None:
    run_id = about()
    leases.hold("report octo/a#7", "another", 60_000)
    reports.github_report(run_id)
    assert double.comments == {}
    leases.release("report octo/a#7", "another")
    reports.github_report(run_id)
    assert len(double.comments) == 1


def test_nobody_is_called_by_an_error(double) -> None:
    run_id = about()
    commands.cancel(run_id)
    with database.transaction():
        database.execute("UPDATE runs SET error = 'ask @mona' WHERE id = ?", (run_id,))
    reports.github_report(run_id)
    (comment,) = double.comments.values()
    assert "@mona" not in comment["body"] and "mona" in comment["body"]


def test_the_end_of_a_run_rings_for_a_report_and_starts_what_waits(double) -> None:
    first = about()
    with database.transaction():
        trigger_id, delivery_id = "issue-resolve", _delivery()
        place = {"repository": "octo/a", "number": 7, "installation_id": 11}
        firings.add(scope="x7", trigger_id=trigger_id, delivery_id=delivery_id, waiting=True, **place)
    finish(first)
    assert [box.ref for box in Outbox.select().where(Outbox.object_id == first)] == ["github.end"]
    reports.github_report(first)
    with database.connection():
        assert firings.live_runs("x7") and not Firing.select().where(Firing.waiting).count()
        assert firings.of_run(firings.live_runs("x7")[0]).delivery_id == delivery_id


def _delivery() -> str:
    payload = labeled(7)
    return deliveries.receive(deliveries.Heads("guid", "issues"), encode(payload), payload)["id"]
