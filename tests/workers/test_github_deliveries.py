"""Deliveries under workers that die or wake up late."""

from __future__ import annotations

import pytest

from models import database, deliveries
from models.deliveries import Delivery
from models.errors import LeaseLost
from models.outbox import Outbox
from models.runs import Run
from tests.boards import Board
from tests.github import closed, encode, labeled
from workers import deliveries as workers

pytestmark = pytest.mark.usefixtures("store")


def receive(event: str, payload: dict) -> str:
    return workers.receive(workers.Heads("guid", event), encode(payload), payload)["id"]


def claim(id: str) -> Delivery | None:
    with database.transaction():
        return deliveries.claim(id)


def expire() -> None:
    with database.transaction():
        Delivery.update(claimed_until=1).execute()


def test_who_works_on_a_delivery_has_it_alone() -> None:
    id = receive("issues", labeled())
    assert claim(id) is not None and claim(id) is None
    workers.github_delivery(id)
    assert Run.select().count() == 0 and Outbox.select().where(Outbox.object_id == id).count() == 1


def test_another_worker_goes_on_where_one_has_died() -> None:
    boards = [Board(repository="https://github.com/octo/hello") for _ in range(2)]
    tasks = [board.add(metadata={"git_branch": "topic"}) for board in boards]
    id = receive("pull_request", closed(5, "topic"))
    row = claim(id)
    workers._once(row, f"merge:{boards[0].id}", lambda: ("task_done", "by the one that died"))
    expire()
    workers.github_delivery(id)
    shown = deliveries.view(id)
    assert [board.status(task) for board, task in zip(boards, tasks, strict=True)] == ["ready", "done"]
    assert [effect["ref"] for effect in shown["effects"]] == ["by the one that died", tasks[1]]
    assert shown["status"] == "processed" and Outbox.select().where(Outbox.object_id == id).count() == 0


def test_a_worker_that_wakes_up_late_writes_nothing() -> None:
    id = receive("issues", labeled())
    late = claim(id)
    expire()
    workers.github_delivery(id)
    with pytest.raises(LeaseLost):
        workers._once(late, "other", lambda: ("run", "twice"))
    with pytest.raises(LeaseLost):
        workers._settle(late, None, ValueError("late"))
    assert [effect["kind"] for effect in deliveries.view(id)["effects"]] == ["run"]


def test_a_delivery_that_kills_its_workers_is_given_up() -> None:
    id = receive("issues", labeled())
    for _ in range(workers.MOST_ATTEMPTS):
        assert claim(id) is not None
        expire()
    workers.github_delivery(id)
    shown = deliveries.view(id)
    assert (shown["status"], shown["error"], Run.select().count()) == ("failed", "workers have died of it", 0)


def test_an_effect_and_its_note_are_one_commit() -> None:
    id = receive("issues", labeled())
    row = claim(id)

    def fails() -> None:
        Board()
        raise ValueError

    with pytest.raises(ValueError):
        workers._once(row, "x", fails)
    assert database.execute("SELECT count(*) FROM projects").fetchone()[0] == 0


def test_a_doorbell_of_what_is_settled_or_gone_is_answered() -> None:
    id = receive("issues", labeled())
    workers.github_delivery(id)
    with database.transaction():
        for left in (id, "dlv_gone"):
            workers.outbox.add("github_delivery", left)
    for left in (id, "dlv_gone"):
        workers.github_delivery(left)
    assert Outbox.select().where(Outbox.actor == "github_delivery").count() == 0
