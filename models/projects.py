"""Projects and their boards. A project's row is the lock and the event counter of everything on its board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from models import database, events
from models.base import JSONField, Model, new_id, now_ms
from models.boards import Board, Column
from models.errors import NotFound
from models.events import Event

STATUSES = ("active", "paused", "completed", "archived")
PREFIX = "proj_"
WORKSPACE = "workspace"  # doorbell: the repository is to be fetched


class Project(Model):
    id = peewee.TextField(primary_key=True)
    name = peewee.TextField()
    description = peewee.TextField(default="")
    status = peewee.TextField(default="active")
    repository = peewee.TextField(null=True)
    repo_full_name = peewee.TextField(null=True, index=True)  # owner/name in lower case
    default_pipeline_id = peewee.TextField(null=True)
    template_id = peewee.TextField(null=True)
    status_semantics = JSONField()
    transitions = JSONField(null=True)
    workspace_type = peewee.TextField(null=True)
    workspace_status = peewee.TextField(default="none")  # none, queued, ready, error
    workspace_error = peewee.TextField(null=True)
    vision = peewee.TextField(null=True)
    onboarding_context = peewee.TextField(null=True)
    on_success_status = peewee.TextField(null=True)
    on_failure_status = peewee.TextField(null=True)
    claim_ttl_seconds = peewee.IntegerField(null=True)
    last_seq = peewee.IntegerField(default=0)
    version = peewee.IntegerField(default=1)
    created_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()
    completed_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "projects"
        indexes = ((("updated_at", "id"), False), (("name",), False))


class BoardColumn(Model):
    id = peewee.TextField(primary_key=True)
    project_id = peewee.TextField()
    name = peewee.TextField()
    position = peewee.IntegerField()
    wip_limit = peewee.IntegerField(null=True)
    task_statuses = JSONField()
    version = peewee.IntegerField(default=1)

    class Meta:
        table_name = "board_columns"
        indexes = ((("project_id", "position"), False),)


class Workflow(Model):
    """A way to work on tasks: which pipeline runs those that its filter lets through."""

    id = peewee.TextField(primary_key=True)
    project_id = peewee.TextField(index=True)
    name = peewee.TextField()
    pipeline_id = peewee.TextField()
    is_default = peewee.BooleanField(default=False)
    task_filter = JSONField(default=dict)
    trigger = peewee.TextField(null=True)

    class Meta:
        table_name = "workflows"


class ProjectAgent(Model):
    project_id = peewee.TextField()
    agent_id = peewee.TextField(index=True)
    role = peewee.TextField(default="member")
    assigned_at = peewee.BigIntegerField()
    assigned_by = peewee.TextField(null=True)

    class Meta:
        table_name = "project_agents"
        primary_key = peewee.CompositeKey("project_id", "agent_id")


def get(project_id: str) -> Project:
    """Raises NotFound."""
    return _only(Project.fetch("id = ?", (project_id,)), project_id)


def lock(project_id: str) -> Project:
    """The project, on whose board nobody else changes anything before the enclosing transaction ends."""
    found = database.execute("UPDATE projects SET last_seq = last_seq WHERE id = ?", (project_id,)).rowcount
    return _only(Project.fetch("id = ?", (project_id,)) if found else [], project_id)


def _only(found: list[Project], project_id: str) -> Project:
    if not found:
        raise NotFound(f"Project {project_id} not found", "project_not_found")
    return found[0]


def columns(project_id: str) -> list[BoardColumn]:
    return BoardColumn.fetch("project_id = ? ORDER BY position, id", (project_id,))


def board(project: Project) -> Board:
    """What the project's statuses are and mean."""
    shown = (Column(row.id, row.name, tuple(row.task_statuses), row.wip_limit) for row in columns(project.id))
    sets = {name: tuple(statuses) for name, statuses in project.status_semantics.items()}
    table = project.transitions and {status: tuple(goals) for status, goals in project.transitions.items()}
    return Board(tuple(shown), sets, table)


def add_columns(project_id: str, made: Sequence[Column]) -> None:
    """Stores the columns of a new board, in order."""
    for position, column in enumerate(made):
        row = {"id": new_id("col_"), "project_id": project_id, "name": column.name, "position": position}
        BoardColumn.add(row | {"wip_limit": column.wip_limit, "task_statuses": list(column.statuses)})


def event(project: Project, type: str, **payload: Any) -> Event:
    """An event of the project."""
    agent_id = payload.get("agent_id")
    return Event(type, agent_id=agent_id, payload={"project_id": project.id} | payload)


def write(project: Project, recorded: Sequence[Event] = (), **changes: Any) -> None:
    """Changes the locked project's row and stores `recorded` as its next events.

    A change of columns other than counters makes a new version.
    """
    project.last_seq += len(recorded)
    sets, values = ["last_seq = ?"], [project.last_seq]
    if changes:
        changes |= {"version": project.version + 1, "updated_at": now_ms()}
    for name, value in changes.items():
        setattr(project, name, value)
        sets.append(f"{name} = ?")
        values.append(getattr(Project, name).db_value(value))
    database.execute(f"UPDATE projects SET {', '.join(sets)} WHERE id = ?", (*values, project.id))
    if recorded:
        events.append(project.id, project.last_seq, recorded)


def of_repository(full_name: str) -> list[str]:
    """Ids of the projects whose repository it is (owner/name)."""
    sql = "SELECT id FROM projects WHERE repo_full_name = ? AND status <> 'archived' ORDER BY id"
    return [row[0] for row in database.execute(sql, (full_name.lower(),)).fetchall()]


def named(name: str) -> list[str]:
    """Ids of the projects of that name, up to two."""
    sql = "SELECT id FROM projects WHERE name = ? AND status <> 'archived' LIMIT 2"
    return [row[0] for row in database.execute(sql, (name,)).fetchall()]


OWNED = {
    "tasks": "project_id",
    "task_dependencies": "project_id",
    "task_events": "project_id",
    "task_runs": "project_id",
    "workflows": "project_id",
    "project_agents": "project_id",
    "board_columns": "project_id",
    "events": "stream",
    "projects": "id",
}


def delete(project_id: str) -> None:
    """Removes every row of the project in the enclosing transaction; its runs stay, without it."""
    for table in ("runs", "llm_calls", "chat_sessions"):
        database.execute(f"UPDATE {table} SET project_id = NULL WHERE project_id = ?", (project_id,))
    for table, column in OWNED.items():
        database.execute(f"DELETE FROM {table} WHERE {column} = ?", (project_id,))
