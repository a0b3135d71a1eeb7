"""Projects: the commands on projects, their columns, workflows and agents."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from typing import Any

from models import boards, config, database, projects
from models.base import new_id, now_ms
from models.boards import DEFAULT_TEMPLATE, TEMPLATES, Board, Column
from models.errors import Conflict, Invalid, NotFound
from models.projects import Project, ProjectAgent, Workflow
from workers.broker import doorbell

HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?", re.IGNORECASE)
PATH = re.compile(r"[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)+")


def create(
    name: str,
    *,
    template_id: str | None = None,
    columns: Sequence[dict[str, Any]] | None = None,
    status_semantics: dict[str, list[str]] | None = None,
    transitions: dict[str, list[str]] | None = None,
    repository: str | None = None,
    **fields: Any,
) -> str:
    """A new project with a board from a template or from columns; returns its id. Raises NotFound, Invalid.

    `fields`: description, default_pipeline_id, workspace_type, vision, claim_ttl_seconds, created_by.
    """
    template = None if columns else _template(template_id or DEFAULT_TEMPLATE)
    made = template.columns if template else columns_of(columns)
    sets = status_semantics or (template and template.semantics)
    board = Board(made, boards.derived(made, sets), _tuples(transitions))
    refuse_broken(board)
    url, full_name = repository_of(repository) if repository else (None, None)
    given = {key: value for key, value in fields.items() if value is not None}
    facts = {"name": name, "template_id": template and template.id, "repository": url, "repo_full_name": full_name}
    rules = {"status_semantics": board.semantics, "transitions": transitions}
    return _add(facts | rules | _defaults(template) | given, made)


def _add(row: dict[str, Any], columns: Sequence[Column]) -> str:
    now, project_id = now_ms(), new_id(projects.PREFIX)
    with database.transaction():
        Project.add(row | {"id": project_id, "created_at": now, "updated_at": now} | _setup(row["repository"]))
        projects.add_columns(project_id, columns)
        _ring(project_id, row["repository"])
        project = projects.lock(project_id)
        projects.write(project, [projects.event(project, "project_created", name=project.name)])
    return project_id


def _setup(repository: str | None) -> dict[str, Any]:
    """The state of the workspace when the repository is new."""
    return {"workspace_status": "queued" if repository else "none", "workspace_error": None}


def _ring(project_id: str, repository: str | None) -> None:
    if repository:
        doorbell("prepare_workspace", project_id, projects.WORKSPACE)


def _defaults(template: boards.Template | None) -> dict[str, Any]:
    if template is None:
        return {}
    return {"default_pipeline_id": template.pipeline_id, "workspace_type": template.workspace_type}


def _template(template_id: str) -> boards.Template:
    found = TEMPLATES.get(template_id)
    if found is None:
        raise NotFound(f"Template {template_id} not found", "template_not_found")
    return found


def columns_of(entries: Sequence[dict[str, Any]]) -> tuple[Column, ...]:
    """`{name, position?, task_statuses?, wip_limit?}` as columns in order."""
    placed = sorted(enumerate(entries), key=lambda item: (item[1].get("position", item[0]), item[0]))
    return tuple(_column(entry) for _, entry in placed)


def _column(entry: dict[str, Any]) -> Column:
    statuses = entry.get("task_statuses") or [boards.slug(entry["name"])]
    return Column("", entry["name"], tuple(statuses), entry.get("wip_limit"))


def _tuples(transitions: dict[str, list[str]] | None) -> dict[str, tuple[str, ...]] | None:
    return transitions and {status: tuple(goals) for status, goals in transitions.items()}


def refuse_broken(board: Board) -> None:
    """Raises Invalid."""
    found = boards.problems(board)
    if found:
        raise Invalid("; ".join(why for reasons in found.values() for why in reasons), "invalid_board", found)


def repository_of(text: str) -> tuple[str, str | None]:
    """(the address with a scheme and `.git`, `owner/name` in lower case). Raises Invalid."""
    text = text.strip()
    host, path, scheme = _parts(text)
    path = path.removesuffix("/").removesuffix(".git")
    parts = path.split("/")
    wrong = not HOST.fullmatch(host) or not PATH.fullmatch(path) or any(part.startswith((".", "-")) for part in parts)
    if wrong:
        why = "give https://host/owner/name, git@host:owner/name or host/owner/name"
        raise Invalid(f"{text[:100]!r} is no repository: {why}", "invalid_repository", {"repository": [why]})
    full_name = path.lower() if len(parts) == 2 else None
    return f"{scheme}{host.lower()}/{path}.git", full_name


def _parts(text: str) -> tuple[str, str, str]:
    """(host, path, scheme with //)."""
    if text.startswith("git@"):
        host, _, path = text.removeprefix("git@").partition(":")
        return host, path, "ssh://git@"
    host, _, path = text.removeprefix("https://").partition("/")
    return host, path, "https://"


def update(project_id: str, fields: dict[str, Any], check: Any = None) -> Project:
    """Changes the fields that are given. `check` is called with the project before. Raises NotFound, Invalid."""
    with database.transaction():
        project = projects.lock(project_id)
        if check is not None:
            check(project)
        if "repository" in fields:
            url = fields["repository"]
            fields["repository"], fields["repo_full_name"] = repository_of(url) if url else (None, None)
        _check_board(project, fields)
        differs = {name: value for name, value in fields.items() if getattr(project, name) != value}
        if differs:
            if "status" in differs:
                differs["completed_at"] = now_ms() if differs["status"] == "completed" else None
            names = sorted(set(differs) & set(fields))
            if "repository" in differs:
                differs |= _setup(differs["repository"])
                _ring(project_id, differs["repository"])
            projects.write(project, [projects.event(project, "project_updated", fields=names)], **differs)
    return project


def _check_board(project: Project, fields: dict[str, Any]) -> None:
    board = projects.board(project)
    semantics = {name: tuple(found) for name, found in (fields.get("status_semantics") or board.semantics).items()}
    sets = {name: semantics.get(name, ()) for name in boards.SETS}
    table = _tuples(fields["transitions"]) if "transitions" in fields else board.transitions
    if {"status_semantics", "transitions"} & set(fields):
        refuse_broken(Board(board.columns, sets, table))
    if fields.get("status_semantics"):
        fields["status_semantics"] = {name: list(found) for name, found in sets.items()}
    for name in ("on_success_status", "on_failure_status"):
        if fields.get(name) and fields[name] not in board.statuses:
            raise Invalid(f"{fields[name]!r} is no status of the board", errors={name: ["no status of the board"]})


def archive(project_id: str) -> None:
    """Raises NotFound, Conflict."""
    with database.transaction():
        project = projects.lock(project_id)
        _refuse_live_runs(project_id)
        if project.status == "archived":
            raise NotFound(f"Project {project_id} is archived already", "project_archived")
        projects.write(project, [projects.event(project, "project_deleted", purged=False)], status="archived")


def purge(project_id: str) -> None:
    """Removes the project with its board; its runs stay. Raises NotFound, Conflict."""
    with database.transaction():
        projects.lock(project_id)
        _refuse_live_runs(project_id)
        projects.delete(project_id)
        database.on_commit(lambda: shutil.rmtree(config.get().repositories_dir / project_id, ignore_errors=True))


def _refuse_live_runs(project_id: str) -> None:
    sql = "SELECT count(*) FROM runs WHERE project_id = ? AND status IN ('pending', 'running', 'paused')"
    count = database.execute(sql, (project_id,)).fetchone()[0]
    if count:
        raise Conflict(f"{count} runs of project {project_id} go on: cancel them first", "project_has_live_runs")


# --- agents and workflows ---


def assign_agent(project_id: str, agent_id: str, role: str, by: str | None) -> None:
    """Makes the agent a member; again with another role changes the role."""
    with database.transaction():
        project = projects.lock(project_id)
        row = {"project_id": project_id, "agent_id": agent_id, "role": role, "assigned_at": now_ms(), "assigned_by": by}
        keys = (ProjectAgent.project_id, ProjectAgent.agent_id)
        ProjectAgent.insert(row).on_conflict(conflict_target=keys, update={"role": role}).execute()
        projects.write(project, [projects.event(project, "project_updated", fields=["agents"])])


def remove_agent(project_id: str, agent_id: str) -> None:
    """Raises NotFound."""
    _remove(project_id, "agents", ProjectAgent, ProjectAgent.agent_id == agent_id, "agent", agent_id)


def save_workflow(project_id: str, workflow_id: str | None, fields: dict[str, Any]) -> str:
    """A new workflow, or changes of one; only one is the default. Raises NotFound."""
    with database.transaction():
        project = projects.lock(project_id)
        if fields.get("is_default"):
            Workflow.update(is_default=False).where(Workflow.project_id == project_id).execute()
        if workflow_id is None:
            workflow_id = new_id("wf_")
            Workflow.add({"id": workflow_id, "project_id": project_id} | fields)
        elif fields:
            mine = (Workflow.id == workflow_id) & (Workflow.project_id == project_id)
            if not Workflow.update(**fields).where(mine).execute():
                raise NotFound(f"Workflow {workflow_id} not found", "workflow_not_found")
        projects.write(project, [projects.event(project, "project_updated", fields=["workflows"])])
    return workflow_id


def remove_workflow(project_id: str, workflow_id: str) -> None:
    """Raises NotFound."""
    _remove(project_id, "workflows", Workflow, Workflow.id == workflow_id, "workflow", workflow_id)


def _remove(project_id: str, what: str, table: Any, condition: Any, kind: str, id: str) -> None:
    with database.transaction():
        project = projects.lock(project_id)
        if not table.delete().where(condition, table.project_id == project_id).execute():
            raise NotFound(f"{kind.title()} {id} not found", f"{kind}_not_found")
        projects.write(project, [projects.event(project, "project_updated", fields=[what])])
