"""Triggers: what an event on GitHub starts, for whom, and how often."""

from __future__ import annotations

import pytest

from models import database, deliveries, firings, github_approvals, runs, settings, triggers
from models.deliveries import Delivery
from models.errors import Conflict
from models.runs import Run
from models.status import RunStatus
from models.triggers import Trigger
from tests.boards import Board
from tests.github import commented, labeled
from tests.workers.test_github_merges import deliver
from workers import definitions, executions
from workers import deliveries as workers
from workers import runs as run_commands
from workers import triggers as commands

pytestmark = pytest.mark.usefixtures("store")
STRANGER = {"login": "stranger", "type": "User"}


def kinds(row: Delivery) -> list[str]:
    return [effect["kind"] for effect in row.effects]


def started() -> list[Run]:
    with database.connection():
        return list(Run.select().order_by(Run.id))


def add(**fields) -> Trigger:
    given = {"name": "mine", "event": "issues", "target": {"kind": "pipeline", "pipeline_id": "quickstart"}}
    with database.transaction():
        return triggers.add(given | {"task_template": "Look at {{issue.title}} by {{issue.user.login}}"} | fields)


def test_the_label_resolve_starts_the_pipeline_once_for_an_issue() -> None:
    first, again, other = (deliver("issues", labeled(number)) for number in (7, 7, 8))
    assert [kinds(row) for row in (first, again, other)] == [["run"], ["skipped"], ["run"]]
    run, _ = started()
    with database.connection():
        inputs = runs.inputs(run.id)
    assert (run.pipeline_id, inputs.task_description) == ("resolve", "Resolve Octo/Hello#7: It is broken")
    assert run.tainted_by == "github Octo/Hello#7"
    assert '"issue_body":"It says {{secret}} and stops."' in inputs.human_context


def test_another_label_starts_nothing_on_an_issue_that_has_it() -> None:
    assert kinds(deliver("issues", labeled(7, label="bug"))) == []


def test_the_command_in_a_comment_does_the_same_for_the_same_issue() -> None:
    assert kinds(deliver("issue_comment", commented("/resolve please\nthanks"))) == ["run"]
    assert kinds(deliver("issues", labeled(7))) == ["skipped"]


@pytest.mark.parametrize("text", ["please /resolve", "/resolved", "> /resolve", "hello\n/resolve", ""])
def test_a_command_is_the_first_word_of_the_first_line(text) -> None:
    assert kinds(deliver("issue_comment", commented(text))) == []


def test_when_the_run_is_over_the_issue_can_be_resolved_again() -> None:
    deliver("issues", labeled(7))
    run_commands.cancel(started()[0].id)
    assert kinds(deliver("issues", labeled(7))) == ["run"]


def test_a_stranger_starts_nothing_until_an_admin_approves() -> None:
    row = deliver("issue_comment", commented("/resolve", association="NONE", sender=STRANGER))
    assert kinds(row) == ["approval"] and started() == []
    with database.transaction():
        item = commands.approve(row.effects[0]["ref"], "boss", "looks fine")
    assert [run.id for run in started()] == [item.result]
    assert (item.status, item.decided_by, item.comment, item.sender) == ("approved", "boss", "looks fine", "stranger")
    with pytest.raises(Conflict, match="boss"), database.transaction():
        github_approvals.decide(item.id, "rejected", "other", None)


@pytest.mark.parametrize(("key", "value"), [("githubTrustedUsers", ["Stranger"]), ("githubTrustedAssociations", [])])
def test_who_is_trusted_is_a_setting(key, value) -> None:
    with database.transaction():
        settings.update({key: value})
    strange = deliver("issue_comment", commented("/resolve", 1, association="NONE", sender=STRANGER))
    member = deliver("issue_comment", commented("/resolve", 2))
    assert (kinds(strange), kinds(member)) == ((["run"], ["run"]) if value else (["approval"], ["approval"]))


def test_a_label_that_a_template_has_put_on_a_strangers_issue_is_the_strangers() -> None:
    row = deliver("issues", labeled(7, sender=STRANGER, user=STRANGER, author_association="NONE"))
    assert kinds(row) == ["approval"]
    by_maintainer = deliver("issues", labeled(7, user=STRANGER, author_association="NONE"))
    assert kinds(by_maintainer) == ["run"]


def test_paths_in_a_template_are_values_and_never_templates() -> None:
    add()
    deliver("issues", labeled(7, title="{{issue.body}}", label="other"))
    with database.connection():
        assert runs.inputs(started()[0].id).task_description == "Look at {{issue.body}} by mona"


def test_a_trigger_makes_one_task_per_thing() -> None:
    board = Board()
    target = {"kind": "task", "project_id": board.id, "priority": "P1", "tags": ["github"]}
    add(target=target, task_template="{{issue.title}}\n{{issue.body}}", actions=["labeled"])
    first, again = (deliver("issues", labeled(7, label="x")) for _ in range(2))
    assert (kinds(first), kinds(again)) == (["task"], ["skipped"])
    task = board.task(first.effects[0]["ref"])
    assert (task.title, task.description, task.priority) == ("It is broken", "It says {{secret}} and stops.", "P1")
    run_id = executions.execute(board.id, task.id, definitions.startable("quickstart"))
    assert [run.tainted_by for run in started() if run.id == run_id] == [
        "github https://github.com/Octo/Hello/issues/7"
    ]
    assert task.metadata == {
        "source": "github",
        "delivery_id": first.id,
        "issue_number": 7,
        "html_url": "https://github.com/Octo/Hello/issues/7",
    }


def test_queue_waits_for_the_end_of_the_run() -> None:
    add(on_conflict="queue")
    first, second = (deliver("issues", labeled(7, label="x")) for _ in range(2))
    assert (kinds(first), kinds(second)) == (["run"], ["waiting"])
    run_id = first.effects[0]["ref"]
    with database.transaction():
        commands.run_ended(run_id)
    assert len(started()) == 1
    run_commands.cancel(run_id)
    for _ in range(2):
        with database.transaction():
            commands.run_ended(run_id)
    assert [run.status for run in started()] == [RunStatus.CANCELLED, RunStatus.PENDING]


def test_cancel_previous_takes_its_place() -> None:
    add(on_conflict="cancel_previous")
    for _ in range(2):
        deliver("issues", labeled(7, label="x"))
    assert [run.status for run in started()] == [RunStatus.CANCELLED, RunStatus.PENDING]


def test_a_run_belongs_to_the_only_project_of_the_repository() -> None:
    board = Board(repository="https://github.com/octo/hello")
    deliver("issues", labeled(7))
    Board(repository="https://github.com/octo/hello")
    deliver("issues", labeled(8))
    assert [run.project_id for run in started()] == [board.id, None]


def test_what_fails_is_tried_again_without_what_was_done() -> None:
    add(target={"kind": "pipeline", "pipeline_id": "gone"}, name="broken")
    row = deliver("issues", labeled(7))
    assert (row.status, kinds(row), row.attempts) == ("queued", ["run"], 1) and "gone" in row.error
    for _ in range(4):
        workers.github_delivery(row.id)
    with database.connection():
        row = deliveries.get(row.id)
    assert (row.status, row.attempts, len(started())) == ("failed", 5, 1)


def test_a_disabled_trigger_starts_nothing() -> None:
    with database.transaction():
        triggers.update(triggers.get("issue-resolve"), {"enabled": False})
    row = deliver("issues", labeled(7))
    assert (row.status, row.effects) == ("ignored", [])


def test_it_counts_what_it_has_started() -> None:
    deliver("issues", labeled(7))
    deliver("issues", labeled(7))
    with database.connection():
        trigger = triggers.get("issue-resolve")
        assert trigger.fired == 1 and trigger.last_fired_at and firings.of_run(started()[0].id).number == 7
