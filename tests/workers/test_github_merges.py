"""A pull request on GitHub and the tasks on boards."""

from __future__ import annotations

import pytest

from models import database, deliveries, events
from models.base import now_ms
from models.deliveries import Delivery
from models.tasks import TaskEvent
from tests.boards import Board
from tests.github import closed, encode
from workers import deliveries as workers

pytestmark = pytest.mark.usefixtures("store")
REPOSITORY = "https://github.com/octo/hello"


@pytest.fixture
def board():
    return Board(repository=REPOSITORY)


def deliver(event: str, payload: dict) -> Delivery:
    """Received, and worked on once."""
    taken = workers.receive(workers.Heads(f"guid-{now_ms()}-{id(payload)}", event), encode(payload), payload)
    workers.github_delivery(taken["id"])
    with database.connection():
        return deliveries.get(taken["id"])


def test_a_merge_finishes_the_task_with_its_number(board):
    task_id = board.add(metadata={"pr_number": "12"})
    other = board.add(metadata={"pr_number": 112})
    row = deliver("pull_request", closed(12, "anything"))
    task = board.task(task_id)
    assert (board.status(task_id), board.status(other)) == ("done", "ready")
    assert (task.metadata["pr_merged"], task.metadata["pr_merged_at"]) == (True, 1767323045000)
    assert [effect["ref"] for effect in row.effects] == [task_id]


def test_the_number_goes_before_the_id_in_the_branch_and_that_before_the_branch(board):
    named = board.add()
    branch = f"feat/{named}-x"
    branched, numbered = board.add(metadata={"git_branch": branch}), board.add(metadata={"pr_number": 12})
    for expected in (numbered, named, branched):
        deliver("pull_request", closed(12, branch))
        assert board.status(expected) == "done"
        with database.transaction():
            database.execute("DELETE FROM tasks WHERE id = ?", (expected,))


def test_it_is_moved_by_force_with_a_note_and_the_usual_cascade(board):
    first = board.add()
    second = board.add("after", first)
    board.move(first, "blocked")
    assert board.status(second) == "blocked"
    deliver("pull_request", closed(5, f"feat/{first}-x"))
    assert board.status(first, second) == ["done", "ready"]
    entry = TaskEvent.select().where(TaskEvent.task_id == first, TaskEvent.kind == "forced").get()
    assert (entry.actor, entry.note) == ("github", "pull request #5 was merged")


def test_every_project_of_the_repository_follows(board):
    twin, stranger = Board(repository=REPOSITORY), Board(repository="https://github.com/octo/other")
    tasks = [each.add(metadata={"git_branch": "topic"}) for each in (board, twin, stranger)]
    row = deliver("pull_request", closed(5, "topic"))
    found = [each.status(task) for each, task in zip((board, twin, stranger), tasks, strict=True)]
    assert found == ["done", "done", "ready"] and len(row.effects) == 2


def test_closed_without_a_merge_is_only_a_line_in_the_history(board):
    task_id = board.add(metadata={"git_branch": "topic"})
    deliver("pull_request", closed(5, "topic", merged=False))
    entry = TaskEvent.select().where(TaskEvent.task_id == task_id, TaskEvent.kind == "comment").get()
    assert board.status(task_id) == "ready" and "without a merge" in entry.note


def test_a_pull_request_of_no_task_changes_nothing(board):
    task_id = board.add()
    row = deliver("pull_request", closed(5, "topic"))
    assert (board.status(task_id), row.status, row.effects) == ("ready", "processed", [])


def test_a_delivery_that_rings_twice_moves_once(board):
    task_id = board.add(metadata={"git_branch": "topic"})
    row = deliver("pull_request", closed(5, "topic"))
    workers.github_delivery(row.id)
    moves = TaskEvent.select().where(TaskEvent.task_id == task_id, TaskEvent.to_status == "done").count()
    assert moves == 1


def test_the_platform_tells_what_came_and_what_came_of_it(board):
    deliver("pull_request", closed(5, "topic"))
    with database.connection():
        types = [row["type"] for row in events.after(events.PLATFORM, 0)]
    assert types == ["github_delivery_received", "github_delivery_processed"]
