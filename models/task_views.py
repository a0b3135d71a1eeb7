"""Tasks as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import cursors, database, tasks
from models.boards import Board
from models.tasks import Task, TaskEvent, TaskRun

TASK = (
    *("id", "project_id", "title", "description", "status", "priority", "assigned_agent", "workflow_id", "pipeline_id"),
    *("run_id", "last_run_id", "parent_task_id", "tags", "estimated_hours", "column_id", "column_position", "metadata"),
    *("work_type", "completed_stages", "spec_review_status", "spec_review_notes", "quality_review_status"),
    *("quality_review_notes", "blocked_reason", "version", "created_at", "updated_at", "completed_at"),
)


def one(row: Task) -> dict[str, Any]:
    """The Task object."""
    return many([row])[0]


def many(rows: Sequence[Task]) -> list[dict[str, Any]]:
    """Task objects; what blocks them in one query."""
    waits = depends_on([row.id for row in rows])
    return [_task(row) | {"depends_on": waits.get(row.id, [])} for row in rows]


def _task(row: Task) -> dict[str, Any]:
    return {name: getattr(row, name) for name in TASK} | {"claim": claim(row)}


def claim(row: Task) -> dict[str, Any] | None:
    """Who holds the task."""
    if not row.claim_live:
        return None
    until = row.claim_until or None
    facts = {"agent_id": row.assigned_agent, "holder": row.holder, "fence": row.fence}
    return facts | {"claimed_at": row.claimed_at, "until": until}


def depends_on(ids: Sequence[str]) -> dict[str, list[str]]:
    """{task: ids of what blocks it}."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(ids), tasks.BATCH):
        part = ids[start : start + tasks.BATCH]
        marks = ", ".join("?" * len(part))
        sql = (
            f"SELECT to_task_id, from_task_id FROM task_dependencies WHERE type = 'blocks' AND to_task_id IN ({marks})"
        )
        for to_id, from_id in database.execute(f"{sql} ORDER BY id", part).fetchall():
            found.setdefault(to_id, []).append(from_id)
    return found


def page(
    board: Board,
    project_id: str,
    limit: int,
    cursor: str | None,
    *,
    status: Sequence[str] = (),
    q: str | None = None,
    tag: str | None = None,
    parent: str | None = None,
    **equal: str | None,
) -> list[tuple[int, Task]]:
    """Up to `limit` of (position of the column, task) by column, place and id; `equal` filters by columns."""
    where, params = ["project_id = ?"], [project_id]
    filters = {name: value for name, value in equal.items() if value is not None}
    where += [f"{name} = ?" for name in filters]
    params += filters.values()
    if status:
        where.append(f"status IN ({', '.join('?' * len(status))})")
        params += status
    if parent is not None:
        where.append("parent_task_id IS NULL" if parent == "none" else "parent_task_id = ?")
        params += [] if parent == "none" else [parent]
    for column_name, pattern in (
        ("tags", tag and f'%"{database.literal(tag)}"%'),
        ("lower(title)", q and f"%{database.literal(q.lower())}%"),
    ):
        if pattern:
            where.append(f"{column_name} LIKE ? ESCAPE '\\'")
            params.append(pattern)
    return _by_column(board, limit, _place(cursor), status, where, params)


def _by_column(
    board: Board, limit: int, place: tuple[int, int, str], status: Sequence[str], where: list[str], params: list[Any]
) -> list[tuple[int, Task]]:
    """Column after column, each a walk along the index."""
    found: list[tuple[int, Task]] = []
    first, position, task_id = place
    for at, one in enumerate(board.columns):
        if at < first or len(found) == limit or (status and not set(status) & set(one.statuses)):
            continue
        after = (position, task_id) if at == first else (-1, "")
        condition = " AND ".join([*where, "column_id = ?", "(column_position, id) > (?, ?)"])
        rows = Task.fetch(
            f"{condition} ORDER BY column_position, id LIMIT ?", (*params, one.id, *after, limit - len(found))
        )
        found += [(at, row) for row in rows]
    return found


def key(item: tuple[int, Task]) -> str:
    """The cursor of a task."""
    at, row = item
    return f"{at}.{row.column_position}.{row.id}"


def _place(cursor: str | None) -> tuple[int, int, str]:
    if cursor is None:
        return 0, -1, ""
    column_at, _, rest = cursor.partition(".")
    position, _, task_id = rest.partition(".")
    if not (column_at.isdigit() and position.isdigit() and task_id.startswith("task_") and len(cursor) < 100):
        raise cursors.bad()
    return int(column_at), int(position), task_id


def detail(row: Task) -> dict[str, Any]:
    """The Task with what it waits for, what waits for it, its parts and its runs."""
    edges = "SELECT d.id, d.type, t.id AS other, t.title, t.status FROM task_dependencies d JOIN tasks t ON t.id = d."
    before = database.rows(f"{edges}from_task_id WHERE d.to_task_id = ? ORDER BY d.id", (row.id,))
    after = database.rows(f"{edges}to_task_id WHERE d.from_task_id = ? ORDER BY d.id", (row.id,))
    parts = Task.fetch("parent_task_id = ? ORDER BY column_position, id", (row.id,))
    return one(row) | {
        "blocking_dependencies": [_edge(item, "from") for item in before],
        "dependents": [_edge(item, "to") for item in after],
        "subtasks": [{name: getattr(part, name) for name in ("id", "title", "status", "priority")} for part in parts],
        "run_history": run_history(row.id),
    }


def _edge(item: dict[str, Any], side: str) -> dict[str, Any]:
    facts = {f"{side}_task_id": item["other"], f"{side}_task_title": item["title"]}
    return {"id": item["id"], **facts, f"{side}_task_status": item["status"], "type": item["type"]}


def run_history(task_id: str) -> list[dict[str, Any]]:
    """The runs that worked on a task, the newest first."""
    names = ("task_id", "run_id", "pipeline_id", "status", "started_at", "completed_at")
    found = TaskRun.fetch("task_id = ? ORDER BY started_at DESC", (task_id,))
    return [{"id": row.run_id, **{name: getattr(row, name) for name in names}} for row in found]


def entry(row: TaskEvent) -> dict[str, Any]:
    """An entry of a task's history."""
    shown = {name: getattr(row, name) for name in ("seq", "task_id", "at", "actor", "kind", "note", "data")}
    return shown | {"from": row.from_status, "to": row.to_status}
