"""Tasks on a project's board: their rows, what blocks them, their claims and their history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import peewee

from models import database
from models.base import JSONField, Model, dumps, new_id, now_ms
from models.errors import NotFound

PRIORITIES = ("P0", "P1", "P2", "P3")
WORK_TYPES = ("feature", "bugfix", "test", "refactor", "docs", "infrastructure", "design", "custom")
REVIEWS = ("pending", "passed", "failed", "skipped")
BLOCKS, INFORMS = "blocks", "informs"
BATCH = 100  # rows of one statement


class Task(Model):
    id = peewee.TextField(primary_key=True)
    project_id = peewee.TextField()
    title = peewee.TextField()
    description = peewee.TextField(default="")
    status = peewee.TextField()
    priority = peewee.TextField(default="P2")
    assigned_agent = peewee.TextField(null=True)
    workflow_id = peewee.TextField(null=True)
    pipeline_id = peewee.TextField(null=True)
    run_id = peewee.TextField(null=True)  # while one is live
    last_run_id = peewee.TextField(null=True)
    parent_task_id = peewee.TextField(null=True)
    tags = JSONField(default=list)
    estimated_hours = peewee.DoubleField(null=True)
    column_id = peewee.TextField()
    column_position = peewee.IntegerField()
    metadata = JSONField(default=dict)
    work_type = peewee.TextField(null=True)
    completed_stages = JSONField(default=list)
    spec_review_status = peewee.TextField(null=True)
    spec_review_notes = peewee.TextField(null=True)
    quality_review_status = peewee.TextField(null=True)
    quality_review_notes = peewee.TextField(null=True)
    blocked_reason = peewee.TextField(null=True)  # dependency, manual
    blocked_from = peewee.TextField(null=True)  # the status it was blocked in
    holder = peewee.TextField(null=True)  # who of the agent's workers, or the run
    fence = peewee.IntegerField(default=0)
    claim_live = peewee.BooleanField(default=False)
    claimed_at = peewee.BigIntegerField(null=True)
    claim_until = peewee.BigIntegerField(default=0)  # ms, the database's clock; 0: no end
    claimed_from = peewee.TextField(null=True)  # the status it was claimed in
    history_seq = peewee.IntegerField(default=0)
    version = peewee.IntegerField(default=1)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "tasks"
        indexes = (
            (("project_id", "column_id", "column_position", "id"), False),
            (("project_id", "status"), False),
        )


def _index_some(table: type[Model], name: str, where: str, *columns: str) -> None:
    fields = [table._meta.fields[column] for column in columns]
    table.add_index(table.index(*fields, where=peewee.SQL(where), name=name))


_index_some(Task, "tasks_of_parents", "parent_task_id IS NOT NULL", "parent_task_id")
_index_some(Task, "tasks_of_runs", "run_id IS NOT NULL", "run_id")
_index_some(Task, "tasks_of_last_runs", "last_run_id IS NOT NULL", "last_run_id")
_index_some(Task, "tasks_claimed", "claim_until > 0", "claim_until")


class Dependency(Model):
    """`from` blocks `to`, or only informs it."""

    id = peewee.TextField(primary_key=True)
    project_id = peewee.TextField(index=True)
    from_task_id = peewee.TextField(index=True)
    to_task_id = peewee.TextField()
    type = peewee.TextField(default=BLOCKS)

    class Meta:
        table_name = "task_dependencies"
        indexes = ((("to_task_id", "from_task_id", "type"), True),)


class TaskEvent(Model):
    """One entry of a task's history."""

    task_id = peewee.TextField()
    seq = peewee.IntegerField()
    project_id = peewee.TextField(index=True)
    at = peewee.BigIntegerField()
    actor = peewee.TextField(null=True)
    kind = peewee.TextField()  # created, updated, status, claimed, released, expired, comment, forced, run
    from_status = peewee.TextField(null=True)
    to_status = peewee.TextField(null=True)
    note = peewee.TextField(null=True)
    data = JSONField(default=dict)

    class Meta:
        table_name = "task_events"
        primary_key = peewee.CompositeKey("task_id", "seq")


class TaskRun(Model):
    run_id = peewee.TextField(primary_key=True)
    task_id = peewee.TextField(index=True)
    project_id = peewee.TextField(index=True)
    pipeline_id = peewee.TextField()
    status = peewee.TextField()
    started_at = peewee.BigIntegerField()
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "task_runs"


COLUMNS = [column.column_name for column in Task._meta.sorted_fields]


def get(task_id: str, project_id: str) -> Task:
    """Raises NotFound, also for a task of another project."""
    found = Task.fetch("id = ? AND project_id = ?", (task_id, project_id))
    if not found:
        raise NotFound(f"Task {task_id} not found", "task_not_found")
    return found[0]


def some(project_id: str, ids: Iterable[str]) -> list[Task]:
    """Those of the ids that are tasks of the project."""
    wanted, found = list(dict.fromkeys(ids)), []
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        condition = f"project_id = ? AND id IN ({', '.join('?' * len(part))})"
        found += Task.fetch(condition, (project_id, *part))
    return found


def save(rows: Sequence[Task]) -> None:
    """Inserts or overwrites whole rows; the caller has locked the project."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")
    values = [[Task._meta.fields[name].db_value(getattr(row, name)) for name in COLUMNS] for row in rows]
    database.insert("tasks", COLUMNS, values, f"ON CONFLICT (id) DO UPDATE SET {changes}")


def add_history(entries: Sequence[TaskEvent]) -> None:
    names = ("task_id", "seq", "project_id", "at", "actor", "kind", "from_status", "to_status", "note")
    values = [(*(getattr(entry, name) for name in names), dumps(entry.data)) for entry in entries]
    database.insert("task_events", (*names, "data"), values)


def history(task_id: str, before_seq: int | None, limit: int) -> list[TaskEvent]:
    """The latest entries first."""
    condition = "task_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
    return TaskEvent.fetch(condition, (task_id, before_seq or 2**31 - 1, limit))


# --- what blocks what ---


def blockers(task_id: str, done: Sequence[str]) -> list[dict[str, Any]]:
    """`[{id, title, status}]` of the tasks that must still be done before this one."""
    sql = (
        "SELECT t.id, t.title, t.status FROM task_dependencies d JOIN tasks t ON t.id = d.from_task_id"
        f" WHERE d.to_task_id = ? AND d.type = 'blocks' AND t.status NOT IN ({_marks(done)}) ORDER BY t.id"
    )
    return database.rows(sql, (task_id, *done))


def dependents(task_ids: Sequence[str], project_id: str, far: bool = False) -> list[Task]:
    """The tasks that these block; `far`: theirs too, to the end."""
    found: dict[str, Task] = {}
    for start in range(0, len(task_ids), BATCH):
        part = task_ids[start : start + BATCH]
        seed = (
            f"SELECT to_task_id AS id FROM task_dependencies WHERE type = 'blocks' AND from_task_id IN ({_marks(part)})"
        )
        more = (
            " UNION SELECT d.to_task_id FROM task_dependencies d JOIN reached r ON d.from_task_id = r.id"
            " WHERE d.type = 'blocks'"
        )
        sql = f"WITH RECURSIVE reached(id) AS ({seed}{more if far else ''}) SELECT id FROM reached"
        ids = [row[0] for row in database.execute(sql, part).fetchall()]
        found |= {task.id: task for task in some(project_id, ids)}
    return list(found.values())


def with_open_blockers(task_ids: Sequence[str], done: Sequence[str]) -> set[str]:
    """Those of the tasks that something still blocks."""
    found: set[str] = set()
    for start in range(0, len(task_ids), BATCH):
        part = task_ids[start : start + BATCH]
        sql = (
            "SELECT DISTINCT d.to_task_id FROM task_dependencies d JOIN tasks t ON t.id = d.from_task_id"
            f" WHERE d.type = 'blocks' AND d.to_task_id IN ({_marks(part)}) AND t.status NOT IN ({_marks(done)})"
        )
        found |= {row[0] for row in database.execute(sql, (*part, *done)).fetchall()}
    return found


def path(from_id: str, to_id: str) -> list[str] | None:
    """Titles of the tasks on a way by which the first already blocks the second, None if it does not."""
    sql = (
        "WITH RECURSIVE way(id, parent) AS (SELECT to_task_id, from_task_id FROM task_dependencies"
        " WHERE type = 'blocks' AND from_task_id = ? UNION SELECT d.to_task_id, d.from_task_id"
        " FROM task_dependencies d JOIN way w ON d.from_task_id = w.id WHERE d.type = 'blocks')"
        " SELECT id, parent FROM way"
    )
    before = dict(database.execute(sql, (from_id,)).fetchall())
    if to_id not in before:
        return None
    way = [to_id]
    while way[-1] != from_id:
        way.append(before[way[-1]])
    titles = dict(database.execute(f"SELECT id, title FROM tasks WHERE id IN ({_marks(way)})", way).fetchall())
    return [titles[id] for id in reversed(way)]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


# --- claims ---


def claim(task_id: str, claimable: Sequence[str], done: Sequence[str], **by: Any) -> bool:
    """The one conditional update that decides who has a task: `by` is agent_id, holder, ttl_seconds."""
    now = database.now_sql()
    until = f"{now} + ?" if by["ttl_seconds"] else "?"
    sql = (
        "UPDATE tasks SET assigned_agent = ?, holder = ?, fence = fence + 1, claimed_at = ?, claim_live = ?,"
        f" claim_until = {until}, claimed_from = status, version = version + 1, updated_at = ?"
        f" WHERE id = ? AND status IN ({_marks(claimable)})"
        " AND ((NOT claim_live AND (assigned_agent IS NULL OR assigned_agent = ?))"
        f" OR (claim_live AND claim_until > 0 AND claim_until < {now}))"
        " AND NOT EXISTS (SELECT 1 FROM task_dependencies d JOIN tasks b ON b.id = d.from_task_id"
        f" WHERE d.to_task_id = tasks.id AND d.type = 'blocks' AND b.status NOT IN ({_marks(done)}))"
    )
    moment, lease = now_ms(), (by["ttl_seconds"] or 0) * 1000
    values = (by["agent_id"], by["holder"], moment, True, lease, moment, task_id, *claimable, by["agent_id"], *done)
    return database.execute(sql, values).rowcount == 1


def renew(task_id: str, fence: int, ttl_seconds: int) -> bool:
    """Extends a live claim, even one that is late."""
    until = f"{database.now_sql()} + ?" if ttl_seconds else "?"
    sql = f"UPDATE tasks SET claim_until = {until} WHERE id = ? AND fence = ? AND claim_live"
    return database.execute(sql, (ttl_seconds * 1000, task_id, fence)).rowcount == 1


def expired(limit: int = 100) -> list[tuple[str, str]]:
    """(project id, task id) of live claims whose time is up and which no live run renews."""
    sql = (
        "SELECT project_id, id FROM tasks WHERE claim_until > 0 AND claim_live AND run_id IS NULL"
        f" AND claim_until < {database.now_sql()} ORDER BY claim_until LIMIT ?"
    )
    return [tuple(row) for row in database.execute(sql, (limit,)).fetchall()]


# --- places in a column ---


def last_position(column_id: str, project_id: str) -> int:
    """The place after the last task of a column."""
    sql = "SELECT coalesce(max(column_position), -1) + 1 FROM tasks WHERE project_id = ? AND column_id = ?"
    return database.execute(sql, (project_id, column_id)).fetchone()[0]


def make_room(project_id: str, column_id: str, position: int) -> None:
    """Moves what stands at a place and after it one down."""
    sql = (
        "UPDATE tasks SET column_position = column_position + 1"
        " WHERE project_id = ? AND column_id = ? AND column_position >= ?"
    )
    database.execute(sql, (project_id, column_id, position))


def count_in(column_id: str, project_id: str) -> int:
    sql = "SELECT count(*) FROM tasks WHERE project_id = ? AND column_id = ?"
    return database.execute(sql, (project_id, column_id)).fetchone()[0]


def new(project_id: str, **fields: Any) -> Task:
    """A row that is not stored yet."""
    now = now_ms()
    facts = {"id": new_id("task_"), "project_id": project_id, "created_at": now, "updated_at": now}
    return Task(**Task._meta.get_default_dict() | facts | fields)
