"""Tasks: the commands that create, change, move and connect them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from models import database, tasks
from models.boards import BLOCKED, QUEUE
from models.errors import Conflict, Invalid, NotFound
from models.tasks import Task
from workers import task_links
from workers.boards import Change, changing

MOST_DEPTH = 20  # of tasks in tasks
WORDS = {  # first word that is found -> work type
    "bugfix": ("fix", "bug", "bugfix", "hotfix", "crash"),
    "test": ("test", "tests", "testing"),
    "refactor": ("refactor", "refactoring", "cleanup"),
    "docs": ("docs", "doc", "documentation", "document", "readme"),
    "infrastructure": ("ci", "infrastructure", "deploy", "docker", "infra"),
    "design": ("design", "ux", "ui"),
    "feature": ("feature", "add", "implement", "build"),
}


def create(project_id: str, *, actor: str | None = None, dependencies: Sequence[dict] = (), **fields: Any) -> Task:
    """A new task, placed on the board. Raises NotFound, Invalid, Conflict."""
    with changing(project_id, actor) as change:
        return create_in(change, dependencies=dependencies, **fields)


def create_in(change: Change, *, dependencies: Sequence[dict] = (), by_server: bool = False, **fields: Any) -> Task:
    """The same within a larger change; the server itself minds no limits."""
    project_id, board = change.project.id, change.board
    edges = task_links.resolved(project_id, dependencies)
    status = _placement(change, fields.pop("column_id", None), fields.pop("status", None), fields)
    _check_parent(change, fields.get("parent_task_id"))
    fields["work_type"] = fields.get("work_type") or inferred(fields.get("tags") or (), fields["title"])
    if not by_server:
        change.check_limit(status)
    column = board.column(status)
    task = tasks.new(
        project_id, **fields, status=status, column_id=column.id, column_position=change.place(column.id, None)
    )
    change.touch(task)
    task.version = 1
    change.note(task, "created", to_status=status)
    change.event("task_created", task, title=task.title, status=status, parent_task_id=task.parent_task_id)
    for blocker, type in edges:
        task_links.add(change, blocker, task, type)
    task_links.block_if_needed(change, task)
    if task.parent_task_id:
        change.parents.add(task.parent_task_id)
    return task


def _placement(change: Change, column_id: str | None, status: str | None, fields: dict[str, Any]) -> str:
    board = change.board
    if status is not None:
        good = board.of_class(QUEUE, BLOCKED)
        if status not in good:
            raise Invalid(
                f"A new task cannot be {status!r}", "unknown_status", {"status": [f"one of: {', '.join(good)}"]}
            )
        return status
    if column_id is not None:
        return status_of_column(change, column_id)
    return board.initial if fields.get("parent_task_id") else board.fresh


def status_of_column(change: Change, column_id: str) -> str:
    """The first status of a column. Raises Invalid."""
    for column in change.board.columns:
        if column.id == column_id:
            return column.statuses[0]
    raise Invalid(f"{column_id} is no column of this project", errors={"column_id": ["no column of this project"]})


def _check_parent(change: Change, parent_id: str | None, child: Task | None = None) -> None:
    """Raises Invalid if the parent is not of this project, beneath the child, or too deep."""
    depth = 0
    while parent_id is not None:
        depth += 1
        problem = "beneath this task" if child and parent_id == child.id else depth >= MOST_DEPTH and "too deep"
        try:
            parent = change.task(parent_id)
        except NotFound:
            problem = "no task of this project"
        if problem:
            raise Invalid(f"{parent_id} is {problem}", errors={"parent_task_id": [problem]})
        parent_id = parent.parent_task_id


def inferred(tags: Sequence[str], title: str) -> str | None:
    """The kind of work, from the tags first, then from the words of the title."""
    for words in ([tag.lower() for tag in tags], re.findall(r"[a-z]+", title.lower())):
        for word in words:
            for kind, known in WORDS.items():
                if word in known:
                    return kind
    return None


def update(
    project_id: str,
    task_id: str,
    fields: dict[str, Any],
    *,
    actor: str | None = None,
    force: bool = False,
    check: Any = None,
) -> Task:
    """Changes the fields that are given; a status or column goes by the board's rules.

    `check` is called with the task before it is changed. Raises NotFound, Invalid, Conflict.
    """
    with changing(project_id, actor) as change:
        task = change.task(task_id)
        if check is not None:
            check(task)
        moved = {name: fields.pop(name) for name in ("status", "column_id", "column_position") if name in fields}
        if "assigned_agent" in fields:
            _assign(change, task, fields.pop("assigned_agent") or None, force)
        _set(change, task, fields)
        _move(change, task, force=force, **moved)
    return task


def _set(change: Change, task: Task, fields: dict[str, Any]) -> None:
    if "parent_task_id" in fields:
        _check_parent(change, fields["parent_task_id"], task)
        change.parents |= {id for id in (task.parent_task_id, fields["parent_task_id"]) if id}
    if "metadata" in fields:
        fields["metadata"] = _merged(task.metadata, fields["metadata"])
    differs = {name: value for name, value in fields.items() if getattr(task, name) != value}
    if not differs:
        return
    for name, value in differs.items():
        setattr(task, name, value)
    change.note(task, "updated", data={"fields": sorted(differs)})
    change.event("task_updated", task, fields=sorted(differs))


def _merged(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A JSON merge patch of the first level: null deletes."""
    return {name: value for name, value in (old | patch).items() if value is not None}


def _assign(change: Change, task: Task, agent_id: str | None, force: bool) -> None:
    if agent_id == task.assigned_agent:
        return
    if task.claim_live:
        if not force:
            raise held(task)
        change.drop_claim(task)
        task.fence += 1
    task.assigned_agent = agent_id
    change.note(task, "updated", data={"fields": ["assigned_agent"], "agent_id": agent_id})
    change.event("task_updated", task, fields=["assigned_agent"], agent_id=agent_id)


def held(task: Task) -> Conflict:
    """That somebody else has the task."""
    until = f" until {task.claim_until}" if task.claim_until else ""
    holder = {"agent_id": task.assigned_agent, "holder": task.holder, "since": task.claimed_at}
    holder["until"] = task.claim_until or None
    why = f"Task {task.id} is held by agent {task.assigned_agent!r}{until}"
    return Conflict(why, "already_claimed", holder=holder)


def _move(
    change: Change,
    task: Task,
    force: bool,
    status: str | None = None,
    column_id: str | None = None,
    column_position: int | None = None,
) -> None:
    if column_id is not None and column_id != task.column_id and status is None:
        status = status_of_column(change, column_id)
    if status is not None and change.transition(task, status, forced=force, position=column_position):
        return
    if column_position is not None and column_position != task.column_position:
        place = change.place(task.column_id, column_position)
        change.touch(task).column_position = place
        change.event("task_moved", task, column_id=task.column_id, column_position=column_position)


def transition(
    project_id: str,
    task_id: str,
    status: str,
    *,
    note: str | None = None,
    agent_id: str | None = None,
    holder: str | None = None,
    fence: int | None = None,
    force: bool = False,
    actor: str | None = None,
) -> dict[str, Any]:
    """Moves the task: `{task, from_status, moved, allowed, stages}`. Raises NotFound, Invalid, Conflict."""
    with changing(project_id, actor) as change:
        task = change.task(task_id)
        before = task.status
        refuse_other_holder(task, agent_id, holder, fence)
        moved = change.transition(task, status, note, forced=force)
    with database.connection():
        allowed = change.allowed(task)
    stages = change.board.stages_of(change.board.may_follow(task.status))
    return {"task": task, "from_status": before, "moved": moved, "allowed": allowed, "stages": stages}


def refuse_other_holder(task: Task, agent_id: str | None, holder: str | None, fence: int | None) -> None:
    """Raises Conflict if what the caller says of its claim is not so (any more)."""
    facts = ((agent_id, task.assigned_agent), (holder, task.holder), (fence, task.fence))
    named = [(said, so) for said, so in facts if said is not None]
    if named and (not task.claim_live or any(said != so for said, so in named)):
        raise Conflict(f"Your claim of {task.id} is over", "claim_lost", fence=task.fence)


def bulk_transition(project_id: str, items: Sequence[dict[str, Any]], actor: str | None = None) -> list[dict[str, Any]]:
    """Each in a transaction of its own: `[{task_id, ok, status?, code?, detail?}]`."""
    return [_transition_item(project_id, item, actor) for item in items]


def _transition_item(project_id: str, item: dict[str, Any], actor: str | None) -> dict[str, Any]:
    try:
        done = transition(project_id, item["task_id"], item["status"], note=item.get("note"), actor=actor)
    except (NotFound, Conflict, Invalid) as error:
        return {"task_id": item["task_id"], "ok": False, "code": error.code, "detail": error.message}
    return {"task_id": item["task_id"], "ok": True, "status": done["task"].status}


def move(project_id: str, task_id: str, column_id: str, position: int | None, actor: str | None = None) -> Task:
    """Drag and drop. Raises NotFound, Invalid, Conflict."""
    with changing(project_id, actor) as change:
        task = change.task(task_id)
        if column_id == task.column_id:
            _move(change, task, False, column_position=position)
        else:
            _move(change, task, False, status=status_of_column(change, column_id), column_position=position)
    return task


def comment(project_id: str, task_id: str, text: str, actor: str | None = None) -> None:
    with changing(project_id, actor) as change:
        change.note(change.task(task_id), "comment", text)


def remove(project_id: str, task_id: str, actor: str | None = None) -> None:
    """Deletes a task; who waited for it is free, its children have no parent. Raises NotFound, Conflict."""
    with changing(project_id, actor) as change:
        task = change.task(task_id)
        if task.run_id:
            raise Conflict(f"Run {task.run_id} works on it", "task_has_live_run")
        waiting = [change.know(one) for one in tasks.dependents([task_id], project_id)]
        database.execute("DELETE FROM task_dependencies WHERE from_task_id = ? OR to_task_id = ?", (task_id, task_id))
        database.execute("UPDATE tasks SET parent_task_id = NULL WHERE parent_task_id = ?", (task_id,))
        for table, column in (("task_events", "task_id"), ("task_runs", "task_id"), ("tasks", "id")):
            database.execute(f"DELETE FROM {table} WHERE {column} = ?", (task_id,))
        change.release(waiting)
        change.event("task_deleted", task, title=task.title)
        if task.parent_task_id:
            change.parents.add(task.parent_task_id)
