"""Claims: one holder at a time, whoever comes, and late holders are refused. Runs move their tasks."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from models import database, tasks
from models.errors import Conflict, NotFound
from models.outbox import Outbox
from pipelines.catalog import Entry
from tests.boards import Board
from tests.engine import Engine
from workers import executions, task_claims, task_runs
from workers import projects as project_commands
from workers import runs as run_commands
from workers import tasks as commands

pytestmark = pytest.mark.usefixtures("store")
ONE = """
id: one
agents: [{id: writer}]
defaults: {tools: []}
steps: [{id: A, agent: writer, input: "{{task_description}}", outputs: [x, pr_url], maxRetries: 0}]
"""


def claim(board: Board, task_id: str, agent_id: str = "ann", **options) -> dict:
    return task_claims.claim(board.id, task_id, agent_id, **options)


def pass_time(task_id: str) -> None:
    """The claim's time is up."""
    with database.transaction():
        database.execute("UPDATE tasks SET claim_until = 1 WHERE id = ?", (task_id,))


def test_a_claim_names_a_branch_and_a_fence() -> None:
    board = Board()
    task = claim(board, board.add("Fix the *Login* page!"))["task"]
    assert task.metadata["git_branch"] == f"feat/{task.id}-fix-the-login-page"
    assert (task.assigned_agent, task.fence, task.status) == ("ann", 1, "ready")
    assert "task_claimed" in board.types


def test_two_hundred_claims_have_one_winner() -> None:
    board = Board()
    task_id, answers = board.add(), Counter()

    def try_it(number: int) -> None:
        try:
            answers[claim(board, task_id, f"agent-{number}")["status"]] += 1
        except Conflict as refusal:
            assert refusal.details["holder"]["agent_id"] == board.task(task_id).assigned_agent
            answers[refusal.code] += 1
        finally:
            database.release()

    for start in range(0, 200, 20):
        threads = [threading.Thread(target=try_it, args=(start + n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {"claimed": 1, "already_claimed": 199}


def test_the_holder_keeps_its_claim_and_others_hear_who_has_it() -> None:
    board = Board()
    task_id = board.add()
    first = claim(board, task_id, holder="w1", ttl_seconds=60)["task"]
    again = claim(board, task_id, holder="w1", ttl_seconds=600)
    assert again["status"] == "already_claimed" and again["task"].fence == first.fence
    assert again["task"].claim_until > first.claim_until
    for agent_id, holder in (("ann", "w2"), ("bob", None)):
        with pytest.raises(Conflict, match="held by agent 'ann'"):
            claim(board, task_id, agent_id, holder=holder)


@pytest.mark.parametrize("status", ["in_progress", "review", "blocked", "done"])
def test_what_is_not_claimable_says_what_is(status) -> None:
    board = Board()
    task_id = board.add()
    board.move(task_id, status, force=True)
    with pytest.raises(Conflict) as refusal:
        claim(board, task_id)
    assert refusal.value.code == "not_claimable" and "ready" in refusal.value.allowed


def test_what_waits_for_others_cannot_be_claimed() -> None:
    board = Board("kanban-simple")
    first = board.add()
    with pytest.raises(Conflict) as refusal:
        claim(board, board.add("Second", first))
    assert refusal.value.code == "dependencies_open"


def test_a_reservation_is_for_its_agent() -> None:
    board = Board()
    task_id = board.add(assigned_agent="bob")
    with pytest.raises(Conflict):
        claim(board, task_id, "ann")
    assert claim(board, task_id, "bob")["status"] == "claimed"


def test_nothing_is_claimed_in_a_project_that_rests() -> None:
    board = Board()
    task_id = board.add()
    project_commands.update(board.id, {"status": "paused"})
    with pytest.raises(Conflict) as refusal:
        claim(board, task_id)
    assert refusal.value.code == "project_not_active"


def test_an_expired_claim_goes_to_the_next_and_the_late_holder_is_refused() -> None:
    board = Board()
    task_id = board.add()
    late = claim(board, task_id, "ann")["task"].fence
    pass_time(task_id)
    assert claim(board, task_id, "bob")["task"].fence == late + 1
    with pytest.raises(Conflict) as refusal:
        board.move(task_id, "in_progress", agent_id="ann", fence=late)
    assert refusal.value.code == "claim_lost"
    with pytest.raises(Conflict):
        task_claims.renew(board.id, task_id, "ann", late)


def test_a_late_holder_may_renew_what_nobody_took() -> None:
    board = Board()
    task_id = board.add()
    fence = claim(board, task_id)["task"].fence
    pass_time(task_id)
    assert task_claims.renew(board.id, task_id, "ann", fence).claim_until > 1


def test_the_sweeper_ends_a_claim_and_takes_its_work_back() -> None:
    board = Board()
    task_id = board.add(status="planned")
    claim(board, task_id)
    board.move(task_id, "in_progress")
    task_claims.expire()
    assert board.status(task_id) == "in_progress"
    pass_time(task_id)
    task_claims.expire()
    task = board.task(task_id)
    assert (task.status, task.assigned_agent, task.claim_live) == ("planned", None, False)
    assert "task_claim_expired" in board.types


def test_a_claim_without_an_end_is_never_swept() -> None:
    board = Board()
    task_id = board.add()
    claim(board, task_id, ttl_seconds=0)
    task_claims.expire()
    assert board.task(task_id).claim_live


def test_a_released_task_is_free_again() -> None:
    board = Board()
    task_id = board.add()
    fence = claim(board, task_id)["task"].fence
    with pytest.raises(Conflict):
        task_claims.release(board.id, task_id, agent_id="bob")
    task_claims.release(board.id, task_id, agent_id="ann", fence=fence)
    with pytest.raises(NotFound):
        task_claims.release(board.id, task_id)
    assert claim(board, task_id, "bob")["status"] == "claimed"


def test_the_best_task_comes_next() -> None:
    board = Board()
    low, high = board.add("Low", priority="P3"), board.add("High", priority="P0", tags=["ui"])
    parent = board.add("Parent", priority="P0")
    child = board.add("Child", priority="P1", parent_task_id=parent)
    taken = [task_claims.claim_next(board.id, "ann")["task"].id for _ in range(3)]
    assert taken == [high, child, low]
    assert task_claims.claim_next(board.id, "ann") is None


def test_the_next_task_may_have_to_be_of_a_kind() -> None:
    board = Board()
    board.add("Add a page")
    wanted = board.add("Fix a bug", tags=["100%_sure"])
    assert task_claims.claim_next(board.id, "ann", work_type="bugfix", tags=["100%_sure"])["task"].id == wanted
    assert task_claims.claim_next(board.id, "ann", tags=["100xxsure"]) is None


def test_reassigning_a_held_task_takes_force() -> None:
    board = Board()
    task_id = board.add()
    fence = claim(board, task_id)["task"].fence
    with pytest.raises(Conflict):
        commands.update(board.id, task_id, {"assigned_agent": "bob"})
    task = commands.update(board.id, task_id, {"assigned_agent": "bob"}, force=True)
    assert (task.assigned_agent, task.fence, task.claim_live) == ("bob", fence + 1, False)


# --- runs ---


def entry() -> Entry:
    made = Engine(ONE, {})
    run_commands.cancel(made.run_id)
    return made.entry


def execute(board: Board, task_id: str, replies: list) -> Engine:
    known = entry()
    run = object.__new__(Engine)
    run.entry, run.run_id = known, executions.execute(board.id, task_id, known)
    run.script({"A": replies})
    return run


def ended(run: Engine) -> None:
    """The doorbell of the run's end is answered."""
    with database.connection():
        assert Outbox.select().where(Outbox.object_id == run.run_id, Outbox.actor == "task_on_run_end").count() == 1
    task_runs.task_on_run_end(run.run_id)
    with database.connection():
        assert Outbox.select().where(Outbox.object_id == run.run_id).count() == 0


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("X: y\nPR_URL: ", "done"),
        ("X: y\nPR_URL: https://example.org/pr/1", "review"),
        ({"error": {"class": "provider_rejected"}}, "failed"),
    ],
)
def test_the_end_of_a_run_moves_its_task(reply, status) -> None:
    board = Board()
    task_id = board.add("Do it")
    run = execute(board, task_id, [reply])
    assert board.status(task_id) == "in_progress" and board.task(task_id).run_id == run.run_id
    ended(run.finish())
    task = board.task(task_id)
    assert (task.status, task.run_id, task.last_run_id, task.claim_live) == (status, None, run.run_id, False)


def test_a_cancelled_run_gives_its_task_back() -> None:
    board = Board()
    task_id = board.add("Do it", status="planned")
    run = execute(board, task_id, ["X: y"])
    run_commands.cancel(run.run_id)
    ended(run)
    assert board.status(task_id) == "planned"


def test_a_task_has_one_live_run() -> None:
    board = Board()
    task_id = board.add()
    execute(board, task_id, ["X: y"])
    with pytest.raises(Conflict, match="works on it"):
        execute(board, task_id, ["X: y"])
    with pytest.raises(Conflict):
        commands.remove(board.id, task_id)
    with pytest.raises(Conflict, match="cancel them first"):
        project_commands.archive(board.id)


def test_a_refused_execution_starts_no_run() -> None:
    board = Board()
    task_id = board.add()
    board.move(task_id, "in_progress")
    before = run_count()
    with pytest.raises(Conflict):
        execute(board, task_id, ["X: y"])
    assert run_count() == before + 1  # the one of the harness itself


def run_count() -> int:
    with database.connection():
        return database.execute("SELECT count(*) FROM runs").fetchone()[0]


def test_a_restarted_run_takes_its_task_back() -> None:
    board = Board()
    task_id = board.add()
    run = execute(board, task_id, [{"error": {"class": "provider_rejected"}}])
    ended(run.finish())
    run_commands.restart(run.run_id)
    assert board.status(task_id) == "in_progress" and board.task(task_id).run_id == run.run_id
    run.script({"A": ["X: y\nPR_URL: "]})
    ended(run.finish())
    assert board.status(task_id) == "done"


def test_a_late_end_of_a_run_moves_nothing() -> None:
    board = Board()
    task_id = board.add()
    run = execute(board, task_id, ["X: y\nPR_URL: "])
    ended(run.finish())
    board.move(task_id, "ready")
    task_runs.task_on_run_end(run.run_id)
    assert board.status(task_id) == "ready"


def test_a_claim_under_a_live_run_does_not_expire() -> None:
    board = Board()
    task_id = board.add()
    execute(board, task_id, ["X: y"])
    pass_time(task_id)
    task_claims.expire()
    assert board.task(task_id).claim_live


def test_tasks_know_their_runs() -> None:
    board = Board()
    task_id = board.add()
    run = execute(board, task_id, ["X: y\nPR_URL: "])
    ended(run.finish())
    with database.connection():
        found = tasks.TaskRun.fetch("task_id = ?", (task_id,))
    assert [(row.run_id, row.status) for row in found] == [(run.run_id, "completed")]
