"""Agents on a board: their tools, and plans that become tasks."""

from __future__ import annotations

import json

import pytest

from models import database, tasks
from tests.boards import Board
from tests.chat import Chat
from tests.engine import Engine
from workers import task_runs
from workers.tools import tasks as tools
from workers.tools.base import Context, ToolError

pytestmark = pytest.mark.usefixtures("store")
STEP = """
id: worker
agents: [{id: writer}]
steps: [{id: A, agent: writer, input: go, outputs: [x], tools: [read]}]
"""


def context(board: Board, tmp_path, key: str = "k1") -> Context:
    return Context(tmp_path, project_id=board.id, agent_id="ann", holder="run_1", key=key)


def titles(board: Board) -> dict[str, tasks.Task]:
    with database.connection():
        return {task.title: task for task in tasks.Task.fetch("project_id = ?", (board.id,))}


def test_an_agent_finds_claims_and_moves_its_task(tmp_path) -> None:
    board = Board()
    task_id = board.add("Add a page")
    board.add("Later", task_id)
    here = context(board, tmp_path)
    listed = json.loads(tools.list_tasks(here, {"ready": True}))
    assert [task["id"] for task in listed["tasks"]] == [task_id] and "review" in listed["statuses"]
    assert json.loads(tools.claim_task(here, {"task_id": task_id}))["branch"].startswith("feat/")
    tools.transition_task(here, {"task_id": task_id, "status": "in_progress"})
    assert board.task(task_id).holder == "run_1" and board.status(task_id) == "in_progress"


def test_a_refused_move_tells_the_agent_what_it_may_do(tmp_path) -> None:
    board = Board()
    with pytest.raises(ToolError, match=r"cannot move .* Allowed now: .*in_progress"):
        tools.transition_task(context(board, tmp_path), {"task_id": board.add(), "status": "review"})


def test_a_repeated_call_does_nothing_twice(tmp_path) -> None:
    board, made = Board(), set()
    for _ in range(2):
        made.add(json.loads(tools.create_task(context(board, tmp_path), {"title": "New"}))["task_id"])
    for _ in range(2):
        tools.add_note(context(board, tmp_path), {"task_id": next(iter(made)), "text": "seen"})
    with database.connection():
        notes = [entry.note for entry in tasks.history(next(iter(made)), None, 10) if entry.kind == "comment"]
    assert len(made) == 1 and notes == ["seen"]


def test_without_a_project_there_is_no_board(tmp_path) -> None:
    with pytest.raises(ToolError, match="no project"):
        tools.list_tasks(Context(tmp_path), {})


def test_a_run_of_a_project_has_the_tools_of_its_board() -> None:
    board = Board()
    call = {"name": "create_task", "arguments": {"title": "Found on the way"}}
    Engine(STEP, {"A": [[{"tool_calls": [call]}, "X: y"]]}, project_id=board.id).finish()
    assert titles(board)["Found on the way"].status == "ready"


def test_a_chat_about_a_project_has_them_too() -> None:
    board = Board()
    call = {"name": "create_task", "arguments": {"title": "Said in a chat"}}
    Chat([[{"tool_calls": [call]}, "Done."]], project_id=board.id).ask("Note this")
    assert "Said in a chat" in titles(board)


# --- plans ---

PLAN = """
id: plan
agents: [{id: writer}]
defaults: {tools: []}
steps:
  - {id: A, agent: writer, input: go, outputs: [validated_tasks], onComplete: B}
  - {id: B, agent: writer, input: go, outputs: [validated_subtasks]}
"""


def entry(title: str, *waits_for: str, **more) -> dict:
    return {"title": title, "description": "d", "priority": "P1", "dependencies": list(waits_for), **more}


def planned(board: Board, entries: list, parts: list = ()) -> None:
    replies = {
        "A": [f"VALIDATED_TASKS: {json.dumps({'tasks': entries})}"],
        "B": [f"VALIDATED_SUBTASKS: {json.dumps({'subtasks': list(parts)})}"],
    }
    run = Engine(PLAN, replies, project_id=board.id).finish()
    for _ in range(2):  # a doorbell may ring twice
        task_runs.task_on_run_end(run.run_id)


def test_a_plan_becomes_tasks_with_what_they_wait_for() -> None:
    board = Board()
    planned(board, [entry("Base"), entry("House", "Base"), entry("Roof", "House", "Nothing")])
    found = titles(board)
    assert {title: task.status for title, task in found.items()} == {
        "Base": "ready",
        "House": "blocked",
        "Roof": "blocked",
    }
    assert found["Base"].priority == "P1" and found["Base"].metadata["source"] == "plan"


def test_subtasks_are_put_beneath_their_tasks() -> None:
    board = Board()
    parts = [entry("Dig", parent_title="Base"), entry("Pour", "Dig", parent_title="Base")]
    planned(board, [entry("Base")], parts)
    found = titles(board)
    assert found["Dig"].parent_task_id == found["Pour"].parent_task_id == found["Base"].id
    assert found["Pour"].status == "blocked"


def test_a_plan_that_runs_in_circles_is_taken_without_the_circle() -> None:
    board = Board()
    planned(board, [entry("A", "B"), entry("B", "A")])
    assert sorted(task.status for task in titles(board).values()) == ["blocked", "ready"]


@pytest.mark.parametrize("entries", [[1, None, {"title": " "}, {"no": "title"}], "nothing", None])
def test_a_plan_of_nonsense_makes_nothing(entries) -> None:
    board = Board()
    planned(board, entries)
    assert titles(board) == {}
