"""Working on a task with a pipeline: claim, move and run are one transaction."""

from __future__ import annotations

from typing import Any

from models.errors import Conflict
from pipelines.catalog import Entry
from workers import runs, task_claims, task_runs
from workers.boards import changing

NOBODY = "pipeline"  # who holds a task that a pipeline works on for no agent in particular


def execute(
    project_id: str, task_id: str, entry: Entry, *, agent_id: str | None = None, by: str | None = None, **request: Any
) -> str:
    """Claims the task for a run, moves it on and starts the run; returns the run's id.

    `request`: human_context, model_override. Raises NotFound, Invalid, Conflict, TooMany.
    """
    with changing(project_id, by) as change:
        task = change.task(task_id)
        if task.run_id:
            raise Conflict(f"Run {task.run_id} works on it", "task_has_live_run")
        text = f"{task.title}\n\n{task.description}".strip()
        origin = task.metadata.get("html_url") if task.metadata.get("source") == "github" else None
        facts = {"project_id": project_id, "project_name": change.project.name, "task_id": task_id, "created_by": by}
        facts["tainted_by"] = origin and f"github {origin}"
        run_id = runs.start(entry, task_description=text, **facts, **request)
        task = task_claims.take(change, task_id, agent_id or task.assigned_agent or NOBODY, run_id, 0)["task"]
        task_runs.attach(change, task, run_id, entry.pipeline.id)
        goal = change.board.first("in_progress")
        if goal is not None:
            change.transition(task, goal, f"run {run_id}")
    return run_id
