"""Projects and tasks as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import boards, cursors, database, projects, task_views
from models.projects import BoardColumn, Project, ProjectAgent, Workflow
from models.tasks import Dependency, Task

MOST_SHOWN = 1_000  # tasks of a project's page
PROJECT = (
    *("id", "name", "description", "status", "repository", "repo_full_name", "default_pipeline_id", "template_id"),
    *("status_semantics", "transitions", "workspace_type", "vision", "onboarding_context", "on_success_status"),
    *("on_failure_status", "claim_ttl_seconds", "version", "created_at", "updated_at", "completed_at"),
)
COLUMN = ("id", "project_id", "name", "position", "wip_limit", "task_statuses", "version")
SECTIONS = ("columns", "tasks", "dependencies", "workflows", "agents")


def project(row: Project, counts: dict[str, int]) -> dict[str, Any]:
    """The Project object with its counts by status."""
    done = row.status_semantics.get("terminal_done") or ()
    shown = {name: getattr(row, name) for name in PROJECT}
    shown["workspace_setup"] = {"status": row.workspace_status, "error": row.workspace_error}
    figures = {"task_counts": counts, "total_tasks": sum(counts.values())}
    return shown | figures | {"completed_tasks": sum(counts.get(status, 0) for status in done)}


def counts(ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """{project: {status: tasks}} in one query."""
    found: dict[str, dict[str, int]] = {id: {} for id in ids}
    if ids:
        marks = ", ".join("?" * len(ids))
        sql = (
            f"SELECT project_id, status, count(*) FROM tasks WHERE project_id IN ({marks}) GROUP BY project_id, status"
        )
        for project_id, status, count in database.execute(sql, ids).fetchall():
            found[project_id][status] = int(count)
    return found


def page(limit: int, cursor: str | None, status: str | None, q: str | None) -> list[Project]:
    """Up to `limit` projects, most recently updated first; without a status all but the archived."""
    where, params = ["status = ?" if status else "status <> ?"], [status or "archived"]
    if q:
        where.append("lower(name) LIKE ? ESCAPE '\\'")
        params.append(f"%{database.literal(q.lower())}%")
    if cursor is not None:
        where.append("(updated_at, id) < (?, ?)")
        params += cursors.moment_and_id(cursor, projects.PREFIX)
    return Project.fetch(f"{' AND '.join(where)} ORDER BY updated_at DESC, id DESC LIMIT ?", (*params, limit))


def key(row: Project) -> str:
    """The cursor of a project."""
    return f"{row.updated_at}.{row.id}"


def detail(row: Project, include: Sequence[str] = SECTIONS) -> dict[str, Any]:
    """The Project with the sections asked for."""
    shown = project(row, counts([row.id])[row.id])
    parts = {
        "columns": lambda: [column(one) for one in projects.columns(row.id)],
        "dependencies": lambda: [dependency(one) for one in Dependency.fetch("project_id = ? ORDER BY id", (row.id,))],
        "workflows": lambda: [workflow(one) for one in Workflow.fetch("project_id = ? ORDER BY id", (row.id,))],
        "agents": lambda: agents(row.id),
    }
    shown |= {name: parts[name]() for name in parts if name in include}
    if "tasks" in include:
        shown["tasks"], shown["tasks_truncated"] = _shown_tasks(row)
    return shown


def _shown_tasks(row: Project) -> tuple[list[dict[str, Any]], bool]:
    """Open tasks first, then those that were finished last; on the page by column and place."""
    condition = "project_id = ? ORDER BY completed_at IS NOT NULL, completed_at DESC, id LIMIT ?"
    found = Task.fetch(condition, (row.id, MOST_SHOWN + 1))
    order = {one.id: one.position for one in projects.columns(row.id)}
    shown = sorted(found[:MOST_SHOWN], key=lambda one: (order.get(one.column_id, 0), one.column_position, one.id))
    return task_views.many(shown), len(found) > MOST_SHOWN


def column(row: BoardColumn) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COLUMN}


def dependency(row: Dependency) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("id", "project_id", "from_task_id", "to_task_id", "type")}


def workflow(row: Workflow) -> dict[str, Any]:
    names = ("id", "project_id", "name", "pipeline_id", "is_default", "task_filter", "trigger")
    return {name: getattr(row, name) for name in names}


def agents(project_id: str) -> list[dict[str, Any]]:
    names = ("project_id", "agent_id", "role", "assigned_at", "assigned_by")
    found = ProjectAgent.fetch("project_id = ? ORDER BY agent_id", (project_id,))
    return [{name: getattr(row, name) for name in names} for row in found]


def of_agent(agent_id: str) -> list[dict[str, Any]]:
    """The projects of an agent, by their ids."""
    sql = (
        "SELECT a.project_id, a.agent_id, a.role, a.assigned_at, a.assigned_by, p.name AS project_name,"
        " p.status AS project_status, p.description AS project_description"
        " FROM project_agents a JOIN projects p ON p.id = a.project_id WHERE a.agent_id = ? ORDER BY a.project_id"
    )
    return database.rows(sql, (agent_id,))


def template(one: boards.Template) -> dict[str, Any]:
    """A template of boards."""
    shown = [
        {"name": c.name, "position": at, "wip_limit": c.wip_limit, "task_statuses": list(c.statuses)}
        for at, c in enumerate(one.columns)
    ]
    facts = {"id": one.id, "slug": one.id, "name": one.name, "description": one.description, "columns": shown}
    more = {"default_pipeline_id": one.pipeline_id, "workspace_type": one.workspace_type}
    return facts | more | {"status_semantics": one.semantics}
