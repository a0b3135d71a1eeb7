"""Pull requests and tasks: a merge finishes the task that it was made for."""

from __future__ import annotations

import re
from typing import Any

from models import database, tasks
from models.base import now_ms
from models.tasks import Task
from pipelines import github_events
from pipelines.github_events import Facts
from workers.boards import Change, changing

ACTOR = "github"  # in histories
TASK_ID = re.compile(r"task_[0-9a-z]{26}")


def concerns(facts: Facts) -> bool:
    return facts.event == "pull_request" and facts.action == "closed" and facts.is_pull and bool(facts.repository)


def apply(project_id: str, facts: Facts, payload: dict[str, Any]) -> tuple[str, str] | None:
    """What the end of a pull request means to one project, in the enclosing transaction: (kind, task id)."""
    pull = payload["pull_request"]
    with changing(project_id, ACTOR) as change:
        task = _task(change, facts.number, pull)
        if task is None:
            return None
        if pull.get("merged"):
            return _merged(change, task, facts, pull)
        change.note(task, "comment", f"pull request #{facts.number} was closed without a merge")
        return "task_comment", task.id


def _merged(change: Change, task: Task, facts: Facts, pull: dict[str, Any]) -> tuple[str, str]:
    change.touch(task)
    known = {"pr_number": facts.number, "pr_url": facts.html_url}
    merged = {"pr_merged": True, "pr_merged_at": github_events.moment(pull.get("merged_at")) or now_ms()}
    task.metadata = known | task.metadata | merged
    change.event("task_updated", task, fields=["metadata"])
    done = change.board.first("terminal_done")
    change.transition(task, done, f"pull request #{facts.number} was merged", forced=True)
    return "task_done", task.id


def _task(change: Change, number: int | None, pull: dict[str, Any]) -> Task | None:
    """The task that the pull request belongs to: by its number, by an id in the branch's name, by the branch."""
    head = pull.get("head")
    branch = str(head.get("ref") or "") if isinstance(head, dict) else ""
    of_branch = tasks.some(change.project.id, TASK_ID.findall(branch))
    found = _having(change, "pr_number", str(number)) or of_branch or _having(change, "git_branch", branch)
    return change.know(found[0]) if found else None


def _having(change: Change, name: str, value: str) -> list[Task]:
    """Tasks of the project that have it in their metadata, oldest first."""
    pattern = f'%"{name}":%{database.literal(value)}%'
    condition = "project_id = ? AND metadata LIKE ? ESCAPE '\\' ORDER BY id"
    found = Task.fetch(condition, (change.project.id, pattern)) if value else []
    return [task for task in found if str(task.metadata.get(name)) == value]
