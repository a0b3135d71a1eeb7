"""Tasks and runs: a task is worked on by a run, whose end moves it."""

from __future__ import annotations

import structlog

from models import database, outbox, projects, runs, tasks
from models.base import now_ms
from models.boards import BLOCKED, DONE, FAIL
from models.errors import Invalid, NotFound
from models.runs import Run
from models.status import TERMINAL, RunStatus
from models.tasks import Task, TaskRun
from workers import task_imports
from workers.boards import Change, changing
from workers.broker import actor

log = structlog.get_logger(__name__)

DOORBELL = "task"  # in the outbox: a run of the project has ended
COPIED = ("pr_url", "pr_number", "git_branch")  # outputs of the run that the task keeps


def attach(change: Change, task: Task, run_id: str, pipeline_id: str) -> None:
    """The run works on the task from now on."""
    change.touch(task)
    task.run_id = run_id
    row = {"run_id": run_id, "task_id": task.id, "project_id": change.project.id, "pipeline_id": pipeline_id}
    TaskRun.add(row | {"status": "running", "started_at": now_ms()})
    change.note(task, "run", data={"run_id": run_id, "pipeline_id": pipeline_id})
    change.event("task_execution_started", task, run_id=run_id, pipeline_id=pipeline_id)


@actor
def task_on_run_end(run_id: str) -> None:
    """What the end of a run means to its project's board; the doorbell goes with it, so it happens once."""
    with database.connection():
        run = _ended(run_id)
    if run is None:
        with database.transaction():
            outbox.answered(run_id, DOORBELL)
        return
    with changing(run.project_id, None) as change:
        if outbox.stands(run_id, DOORBELL):
            outbox.answered(run_id, DOORBELL)
            _end(change, run)
            if run.status == RunStatus.COMPLETED:
                task_imports.take_over(change, run)


def _ended(run_id: str) -> Run | None:
    """The run if it is over and its project is there."""
    try:
        run = runs.get(run_id)
        projects.get(run.project_id or "")
    except NotFound:
        return None
    return run if run.status in TERMINAL else None


def _end(change: Change, run: Run) -> None:
    try:
        task = change.task(run.task_id) if run.task_id else None
    except NotFound:  # deleted meanwhile
        return
    if task is None or task.run_id != run.id:
        return
    change.touch(task)
    task.run_id, task.last_run_id = None, run.id
    task.metadata = task.metadata | {name: run.outputs[name] for name in COPIED if (run.outputs or {}).get(name)}
    claimed_from = task.claimed_from
    change.drop_claim(task)
    TaskRun.update(status=run.status, completed_at=run.completed_at).where(TaskRun.run_id == run.id).execute()
    _follow(change, task, run, claimed_from)
    kind = "task_execution_completed" if run.status == RunStatus.COMPLETED else "task_execution_failed"
    change.event(kind, task, run_id=run.id, status=run.status, error=run.error)


def _follow(change: Change, task: Task, run: Run, claimed_from: str | None) -> None:
    """Where the run's end takes its task; where a gate forbids it, to the blocked ones with a note."""
    goal, note = _goal(change, task, run, claimed_from), f"run {run.id} {run.status}"
    if goal is None or goal == task.status:
        return
    waits = change.board.classes[goal] == DONE and tasks.blockers(task.id, change.done)
    if waits:
        goal, note = change.board.first(BLOCKED), f"{note}, but other tasks must be done first"
    if goal is None:
        change.note(task, "run", note)
    else:
        change.move(task, goal, note, by_server=True)


def _goal(change: Change, task: Task, run: Run, claimed_from: str | None) -> str | None:
    board, project = change.board, change.project
    if run.status == RunStatus.COMPLETED:
        outputs = run.outputs or {}
        open_pull = outputs.get("pr_url") and not task.metadata.get("pr_merged")
        under_review = open_pull and "review" in board.statuses
        return project.on_success_status or ("review" if under_review else board.first("terminal_done"))
    if run.status == RunStatus.FAILED:
        return project.on_failure_status or board.first("terminal_fail")
    return claimed_from if claimed_from in board.statuses else board.fresh


def take_back(run: Run) -> None:
    """A run that begins again has its task again, unless another has it now; in the restart's transaction."""
    if run.task_id is None or run.project_id is None:
        return
    try:
        with changing(run.project_id, None) as change:
            task = change.task(run.task_id)
            if task.run_id is None and not task.claim_live and task.last_run_id == run.id:
                _retake(change, task, run)
    except (NotFound, Invalid):
        log.info("task_not_taken_back", run_id=run.id, task_id=run.task_id)


def _retake(change: Change, task: Task, run: Run) -> None:
    change.touch(task)
    task.run_id, task.holder, task.claim_live, task.claimed_from = run.id, run.id, True, task.status
    task.fence, task.claimed_at = task.fence + 1, now_ms()
    TaskRun.update(status="running", completed_at=None).where(TaskRun.run_id == run.id).execute()
    goal = change.board.first("in_progress")
    if goal is not None and change.board.classes[task.status] in (DONE, FAIL, BLOCKED):
        change.move(task, goal, f"run {run.id} restarted", by_server=True)
