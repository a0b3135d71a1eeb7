"""Claims: a task is had by one agent at a time, as a lease with a fencing token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import database, settings, tasks
from models.boards import DONE
from models.errors import Conflict, NotFound
from models.tasks import Task
from workers.boards import Change, changing
from workers.tasks import held, refuse_other_holder

MOST_TITLE = 40  # characters of a title in a branch's name


def claim(
    project_id: str,
    task_id: str,
    agent_id: str,
    *,
    holder: str | None = None,
    ttl_seconds: int | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    """Takes the task for the agent: `{status: claimed or already_claimed, task}`.

    The same holder again keeps its claim and extends it. Raises NotFound, Conflict.
    """
    with changing(project_id, actor) as change:
        return take(change, task_id, agent_id, holder, ttl_seconds)


def take(change: Change, task_id: str, agent_id: str, holder: str | None, ttl_seconds: int | None) -> dict[str, Any]:
    """The same within a larger change."""
    task = change.task(task_id)
    ttl = _ttl(change, ttl_seconds)
    if task.claim_live and (task.assigned_agent, task.holder) == (agent_id, holder):
        tasks.renew(task_id, task.fence, ttl)
        return {"status": "already_claimed", "task": change.reload(task_id)}
    refuse_inactive(change)
    board = change.board
    if not tasks.claim(
        task_id, board.semantics["claimable"], board.of_class(DONE), agent_id=agent_id, holder=holder, ttl_seconds=ttl
    ):
        raise _why_not(change, task)
    task = change.reload(task_id)
    change.touch(task)
    task.version -= 1  # the claim itself has made the new version
    if "git_branch" not in task.metadata:
        task.metadata = task.metadata | {"git_branch": branch(task)}
    change.note(task, "claimed", data={"agent_id": agent_id, "holder": holder, "fence": task.fence})
    change.event("task_claimed", task, agent_id=agent_id, title=task.title, fence=task.fence)
    return {"status": "claimed", "task": task}


def _ttl(change: Change, given: int | None) -> int:
    for seconds in (given, change.project.claim_ttl_seconds):
        if seconds is not None:
            return seconds
    return settings.get("taskClaimTtlSec")


def refuse_inactive(change: Change) -> None:
    """Raises Conflict if no work is begun in the project now."""
    if change.project.status != "active":
        raise Conflict(f"Project {change.project.id} is {change.project.status}", "project_not_active")


def _why_not(change: Change, task: Task) -> Conflict:
    if task.claim_live or task.assigned_agent:
        return held(task)
    if task.status not in change.board.semantics["claimable"]:
        allowed = list(change.board.semantics["claimable"])
        why = f"A task in {task.status!r} cannot be claimed"
        return Conflict(why, "not_claimable", allowed=allowed, status_now=task.status)
    blockers = tasks.blockers(task.id, change.done)
    return Conflict("It waits for other tasks", "dependencies_open", blockers=blockers)


def branch(task: Task) -> str:
    """The name of the branch that work on the task goes to."""
    words = "".join(char if char.isascii() and char.isalnum() else "-" for char in task.title.lower())
    title = "-".join(word for word in words.split("-") if word)[:MOST_TITLE].strip("-")
    return f"feat/{task.id}-{title}" if title else f"feat/{task.id}"


def claim_next(
    project_id: str,
    agent_id: str,
    *,
    holder: str | None = None,
    ttl_seconds: int | None = None,
    work_type: str | None = None,
    tags: Sequence[str] = (),
    actor: str | None = None,
) -> dict[str, Any] | None:
    """Takes the best task that can be claimed (priority, then place, then age); None if there is none."""
    with changing(project_id, actor) as change:
        refuse_inactive(change)
        for task_id in claimable(change, agent_id, work_type, tags, 1):
            return take(change, task_id, agent_id, holder, ttl_seconds)
    return None


def claimable(
    change: Change, agent_id: str | None, work_type: str | None = None, tags: Sequence[str] = (), limit: int = 20
) -> list[str]:
    """Ids of the tasks that could be claimed, the best first; those with open subtasks are left out."""
    statuses, done = change.board.semantics["claimable"], change.done
    where = [
        "t.project_id = ?",
        f"t.status IN ({', '.join('?' * len(statuses))})",
        "NOT t.claim_live",
        "NOT EXISTS (SELECT 1 FROM tasks c WHERE c.parent_task_id = t.id)",
        "NOT EXISTS (SELECT 1 FROM task_dependencies d JOIN tasks b ON b.id = d.from_task_id WHERE d.to_task_id = t.id"
        f" AND d.type = 'blocks' AND b.status NOT IN ({', '.join('?' * len(done))}))",
        "(t.assigned_agent IS NULL OR t.assigned_agent = ?)",
    ]
    params: list[Any] = [change.project.id, *statuses, *done, agent_id]
    if work_type is not None:
        where.append("t.work_type = ?")
        params.append(work_type)
    for tag in tags:
        where.append("t.tags LIKE ? ESCAPE '\\'")
        params.append(f'%"{database.literal(tag)}"%')
    sql = f"SELECT t.id FROM tasks t WHERE {' AND '.join(where)} ORDER BY t.priority, t.column_position, t.id LIMIT ?"
    return [row[0] for row in database.execute(sql, (*params, limit)).fetchall()]


def renew(
    project_id: str,
    task_id: str,
    agent_id: str,
    fence: int,
    *,
    holder: str | None = None,
    ttl_seconds: int | None = None,
) -> Task:
    """Keeps a claim alive, a late one too as long as nobody else has taken it. Raises NotFound, Conflict."""
    with changing(project_id, None) as change:
        task = change.task(task_id)
        refuse_other_holder(task, agent_id, holder, fence)
        tasks.renew(task_id, fence, _ttl(change, ttl_seconds))
        return change.reload(task_id)


def release(
    project_id: str,
    task_id: str,
    *,
    agent_id: str | None = None,
    holder: str | None = None,
    fence: int | None = None,
    actor: str | None = None,
) -> None:
    """Gives a claim back. Raises NotFound, Conflict."""
    with changing(project_id, actor) as change:
        task = change.task(task_id)
        if not task.claim_live:
            raise NotFound(f"Nobody has claimed {task_id}", "not_claimed")
        refuse_other_holder(task, agent_id, holder, fence)
        change.end_claim(task, "released")


def expire() -> None:
    """Ends the claims whose time is up."""
    with database.connection():
        found = tasks.expired()
    for project_id, task_id in found:
        try:
            _expire(project_id, task_id)
        except NotFound:  # it was deleted meanwhile
            continue


def _expire(project_id: str, task_id: str) -> None:
    """Looks again under the lock: it may have been renewed."""
    with changing(project_id, None) as change:
        task = change.task(task_id)
        if task.claim_live and task.run_id is None and 0 < task.claim_until < database.now():
            change.end_claim(task, "expired")
