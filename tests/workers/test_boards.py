"""Boards: every move by the table, the gates, what follows from a move, and histories that say so."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import boards, database, tasks
from models.boards import TEMPLATES
from models.errors import Conflict, Invalid, NotFound
from models.tasks import TaskEvent
from tests.boards import Board
from workers import columns, task_links
from workers import tasks as commands

pytestmark = pytest.mark.usefixtures("store")
A = [{"name": "A"}]


# --- the table ---


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_pair_of_statuses_goes_by_the_table(template) -> None:
    board = Board(template)
    rules = board.rules
    task_id = board.add()
    for before, after in itertools.permutations(rules.statuses, 2):
        board.move(task_id, before, force=True)
        if after in rules.may_follow(before):
            assert board.move(task_id, after)["moved"]
        else:
            with pytest.raises(Conflict):
                board.move(task_id, after)


@pytest.mark.parametrize(
    ("before", "after", "legal"),
    [
        *(("ready", "in_progress", True), ("in_progress", "review", True), ("review", "done", True)),
        *(("backlog", "done", True), ("ready", "review", False), ("blocked", "done", False), ("done", "test", False)),
    ],
)
def test_the_default_board_knows_its_ways(before, after, legal) -> None:
    found = boards.Board(TEMPLATES["software-dev"].columns, TEMPLATES["software-dev"].semantics)
    assert (after in found.may_follow(before)) is legal


def test_an_illegal_move_says_what_is_allowed() -> None:
    board = Board()
    task_id = board.add()
    with pytest.raises(Conflict) as refusal:
        board.move(task_id, "review")
    assert refusal.value.code == "transition_not_allowed"
    assert refusal.value.allowed == [
        *("backlog", "planning", "planned", "ux", "blocked", "in_progress", "done", "failed")
    ]


def test_an_unknown_status_is_invalid() -> None:
    board = Board()
    with pytest.raises(Invalid, match="no status of this board"):
        board.move(board.add(), "heaven")


def test_the_same_status_again_changes_nothing() -> None:
    board = Board()
    task_id = board.add()
    before = board.task(task_id).version
    assert not board.move(task_id, "ready")["moved"]
    assert board.task(task_id).version == before


def test_a_project_may_have_a_table_of_its_own() -> None:
    board = Board("kanban-simple", transitions={"todo": ["done"], "in_progress": ["done"], "done": []})
    task_id = board.add()
    with pytest.raises(Conflict):
        board.move(task_id, "in_progress")
    assert board.move(task_id, "done")["moved"]


@pytest.mark.parametrize(
    ("board", "field"),
    [
        ({"columns": [{"name": "A"}, {"name": "B", "task_statuses": ["a"]}]}, "columns"),
        (
            {"columns": [{"name": "A"}], "status_semantics": {"initial": ["x"], "terminal_done": ["a"]}},
            "status_semantics",
        ),
        ({"columns": A, "status_semantics": {"initial": ["a"]}}, "status_semantics"),
        ({"transitions": {"ready": ["nowhere"]}}, "transitions"),
        ({"transitions": {"ready": ["backlog"]}}, "transitions"),
    ],
)
def test_a_board_that_cannot_work_is_refused(board, field) -> None:
    with pytest.raises(Invalid) as refusal:
        Board(**board)
    assert list(refusal.value.errors) == [field]


# --- limits ---


def test_a_full_column_takes_no_more() -> None:
    board = Board()
    for _ in range(5):
        board.move(board.add(), "in_progress")
    with pytest.raises(Conflict) as refusal:
        board.move(board.add(), "in_progress")
    assert refusal.value.code == "wip_limit" and refusal.value.details["count"] == 5


def test_twenty_moves_at_once_do_not_overfill_a_column() -> None:
    board = Board()
    waiting, moved = [board.add() for _ in range(20)], []

    def start(task_id: str) -> None:
        try:
            moved.append(board.move(task_id, "in_progress"))
        except Conflict as refusal:
            assert refusal.code == "wip_limit"
        finally:
            database.release()

    threads = [threading.Thread(target=start, args=(task_id,)) for task_id in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(moved) == 5 and board.status(*waiting).count("in_progress") == 5


def test_force_goes_where_the_rules_do_not_and_is_written_down() -> None:
    board = Board()
    task_id = board.add()
    board.move(task_id, "review", force=True)
    with database.connection():
        assert tasks.history(task_id, None, 1)[0].kind == "forced"


# --- what blocks what ---


def test_a_task_behind_others_is_blocked_until_they_are_done() -> None:
    board = Board()
    first, second = board.add(), board.add()
    third = board.add("Third", first, second, status="planned")
    assert board.status(third) == "blocked"
    board.move(first, "done")
    assert board.status(third) == "blocked"
    board.move(second, "done")
    assert board.status(third) == "planned"


def test_what_waits_cannot_be_started_or_done() -> None:
    board = Board("kanban-simple")  # no blocked status: the gate still holds
    first = board.add()
    second = board.add("Second", first)
    assert board.status(second) == "todo"
    for status in ("in_progress", "done"):
        with pytest.raises(Conflict) as refusal:
            board.move(second, status)
        assert refusal.value.code == "dependencies_open"
        assert [blocker["id"] for blocker in refusal.value.details["blockers"]] == [first]


def test_what_only_informs_blocks_nothing() -> None:
    board = Board()
    first, second = board.add(), board.add()
    task_links.connect(board.id, second, first, "informs")
    task_links.connect(board.id, first, second, "informs")
    assert board.move(second, "in_progress")["moved"]


def test_a_failure_blocks_everything_behind_it() -> None:
    board = Board()
    first = board.add()
    second = board.add("Second")
    third = board.add("Third")
    task_links.connect(board.id, third, second)
    board.move(second, "done")
    task_links.connect(board.id, second, first)
    board.move(first, "failed")
    assert board.status(second, third) == ["done", "blocked"]


def test_who_is_at_work_is_told_of_a_failure() -> None:
    board = Board()
    first, second = board.add(), board.add()
    board.move(second, "in_progress")
    task_links.connect(board.id, second, first)
    board.move(first, "failed")
    assert board.status(second) == "in_progress" and "task_blocker_failed" in board.types


def test_a_reopened_task_blocks_again() -> None:
    board = Board()
    first = board.add()
    second = board.add("Second", first)
    board.move(first, "done")
    assert board.status(second) == "ready"
    board.move(first, "ready")
    assert board.status(second) == "blocked"


def test_a_block_by_hand_is_lifted_by_hand() -> None:
    board = Board()
    first = board.add()
    second = board.add("Second")
    board.move(second, "blocked")
    task_links.connect(board.id, second, first)
    board.move(first, "done")
    assert board.status(second) == "blocked"
    assert board.task(second).blocked_reason == "manual"


def test_tasks_cannot_wait_for_each_other() -> None:
    board = Board()
    first = board.add("First")
    second = board.add("Second", first)
    third = board.add("Third", second)
    with pytest.raises(Invalid) as refusal:
        task_links.connect(board.id, first, third)
    assert refusal.value.code == "dependency_cycle"
    assert refusal.value.details["path"] == ["First", "Second", "Third"]


def test_a_dependency_is_there_once_and_not_on_itself() -> None:
    board = Board()
    first = board.add()
    second = board.add("Second", first)
    with pytest.raises(Conflict, match="already"):
        task_links.connect(board.id, second, first)
    with pytest.raises(Invalid, match="itself"):
        task_links.connect(board.id, first, first)
    with pytest.raises(Invalid, match="not found"):
        task_links.connect(board.id, first, Board().add())


def test_a_dependency_that_goes_sets_its_task_free() -> None:
    board = Board()
    first = board.add()
    second = board.add("Second")
    edge = task_links.connect(board.id, second, first)
    task_links.disconnect(board.id, second, edge.id)
    assert board.status(second) == "ready"
    with pytest.raises(NotFound):
        task_links.disconnect(board.id, second, edge.id)


def test_a_task_that_goes_sets_others_free() -> None:
    board = Board()
    first = board.add()
    second = board.add("Second", first)
    commands.remove(board.id, first)
    assert board.status(second) == "ready"


# --- parents ---


def test_a_parent_follows_its_children() -> None:
    board = Board()
    parent = board.add()
    one, two = (board.add(parent_task_id=parent) for _ in "ab")
    assert board.status(one) == "backlog"
    board.move(one, "in_progress")
    assert board.status(parent) == "in_progress"
    board.move(one, "done")
    board.move(two, "done")
    assert board.status(parent) == "done"


def test_a_parent_fails_when_all_is_over_and_something_failed() -> None:
    board = Board()
    parent = board.add()
    one, two = (board.add(parent_task_id=parent) for _ in "ab")
    board.move(one, "failed")
    assert board.status(parent) == "ready"
    board.move(two, "done")
    assert board.status(parent) == "failed"


def test_a_parent_is_not_beneath_its_own_child() -> None:
    board = Board()
    parent = board.add()
    child = board.add(parent_task_id=parent)
    with pytest.raises(Invalid, match="beneath"):
        commands.update(board.id, parent, {"parent_task_id": child})


# --- the rest ---


def test_stages_are_kept_forward_and_taken_back() -> None:
    board = Board()
    task_id = board.add(status="planning")
    done = board.move(task_id, "planned", "ready", "in_progress", "review")
    assert done["task"].completed_stages == ["spec", "design", "implement"]
    assert board.move(task_id, "in_progress")["task"].completed_stages == ["spec", "design"]


def test_the_end_has_a_time_and_a_reopened_task_has_none() -> None:
    board = Board()
    task_id = board.add()
    board.move(task_id, "done")
    assert board.task(task_id).completed_at
    board.move(task_id, "ready")
    assert board.task(task_id).completed_at is None


@pytest.mark.parametrize(
    ("tags", "title", "expected"),
    [
        *(((), "Fix the login", "bugfix"), ((), "Add a page", "feature"), (("docs",), "Fix it", "docs")),
        *(((), "Make it so", None), ((), "Write tests", "test"), ((), "CI for all", "infrastructure")),
    ],
)
def test_the_kind_of_work_is_read_from_tags_and_title(tags, title, expected) -> None:
    assert commands.inferred(tags, title) == expected


def test_a_column_that_goes_hands_its_tasks_on() -> None:
    board = Board()
    task_id = board.add(status="ux")
    ux, ready = (board.rules.column(status).id for status in ("ux", "ready"))
    with pytest.raises(Conflict, match="say where to"):
        columns.remove(board.id, ux)
    with pytest.raises(Invalid):
        columns.remove(board.id, ux, move_to=ready)  # `claimable` names its status
    made = columns.add(board.id, {"name": "Extra"})
    board.move(task_id, "extra", force=True)
    columns.remove(board.id, made, move_to=ready)
    assert board.status(task_id) == "ready"


def test_the_history_is_complete_and_in_order() -> None:
    board = Board()
    task_id = board.add()
    board.move(task_id, "in_progress", "review", "done", actor="ann")
    commands.comment(board.id, task_id, "well done")
    with database.connection():
        entries = tasks.history(task_id, None, 100)
    assert [entry.seq for entry in entries] == [5, 4, 3, 2, 1]
    assert [entry.to_status for entry in reversed(entries)] == ["ready", "in_progress", "review", "done", None]


ACTIONS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["ready", "in_progress", "review", "done", "failed", "blocked"])),
    max_size=25,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8), actions=ACTIONS)
def test_whatever_is_moved_the_board_stays_true(edges, actions) -> None:
    board = Board()
    ids = [board.add(f"T{n}") for n in range(6)]
    for first, second in edges:
        if first < second:  # a graph without cycles
            task_links.connect(board.id, ids[second], ids[first])
    for number, status in actions:
        try:
            board.move(ids[number], status)
        except Conflict:
            continue
    check(board)


def check(board: Board) -> None:
    """Column and status agree; who is blocked for a dependency has one that is open; the history is whole."""
    rules = board.rules
    with database.connection():
        found = tasks.Task.fetch("project_id = ?", (board.id,))
        for task in found:
            assert task.column_id == rules.column(task.status).id
            if task.blocked_reason == "dependency":
                assert tasks.blockers(task.id, rules.of_class("done"))
            assert (task.blocked_reason is None) == (rules.classes[task.status] != "blocked")
            kinds = [entry.to_status for entry in tasks.history(task.id, None, 1000) if entry.to_status]
            assert kinds[0] == task.status
        assert TaskEvent.select().where(TaskEvent.project_id == board.id).count() == sum(t.history_seq for t in found)
