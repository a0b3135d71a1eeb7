"""In which order the open tasks of a board can be worked on: waves, and the longest way through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from models import database, projects
from models.projects import Project

HOURS = 1.0  # of a task that nobody has estimated

Task = dict[str, Any]


def preview(project: Project) -> dict[str, Any]:
    """`{waves: [[task]], critical_path: [task], hours, stuck: [task]}`, a task with id, title, status, estimated_hours.

    Each wave can begin when the ones before are done. `hours` is what the critical path takes. `stuck` are tasks behind
    one that has failed.
    """
    semantics = projects.board(project).semantics
    rows = _open(project.id, semantics["terminal_done"])
    blockers = _blockers(project.id, rows)
    failed = {id for id, row in rows.items() if row["status"] in semantics["terminal_fail"]}
    waves = _waves([id for id in rows if id not in failed], blockers)
    path, hours = _longest(rows, waves, blockers)
    placed = failed.union(*waves)
    return {
        "waves": [[rows[id] for id in wave] for wave in waves],
        "critical_path": [rows[id] for id in path],
        "hours": hours,
        "stuck": [row for id, row in rows.items() if id not in placed],
    }


def _open(project_id: str, done: Sequence[str]) -> dict[str, Task]:
    sql = (
        f"SELECT id, title, status, estimated_hours FROM tasks WHERE project_id = ?"
        f" AND status NOT IN ({', '.join('?' * len(done))}) ORDER BY priority, created_at, id"
    )
    return {row["id"]: row for row in database.rows(sql, (project_id, *done))}


def _blockers(project_id: str, rows: dict[str, Task]) -> dict[str, list[str]]:
    """What each open task still waits for."""
    sql = "SELECT from_task_id, to_task_id FROM task_dependencies WHERE project_id = ? AND type = 'blocks'"
    found: dict[str, list[str]] = {id: [] for id in rows}
    for blocker, blocked in database.execute(sql, (project_id,)).fetchall():
        if blocker in rows and blocked in rows:
            found[blocked].append(blocker)
    return found


def _waves(ids: Iterable[str], blockers: dict[str, list[str]]) -> list[list[str]]:
    waves, left, done = [], list(ids), set()
    while wave := [id for id in left if done.issuperset(blockers[id])]:
        waves.append(wave)
        done.update(wave)
        left = [id for id in left if id not in done]
    return waves


def _longest(rows: dict[str, Task], waves: list[list[str]], blockers: dict[str, list[str]]) -> tuple[list[str], float]:
    """(tasks of the way that takes longest, its hours)."""
    hours, before = {}, {}
    for id in (id for wave in waves for id in wave):
        before[id] = max(blockers[id], key=hours.__getitem__, default=None)
        own = rows[id]["estimated_hours"]
        hours[id] = (HOURS if own is None else own) + hours.get(before[id], 0)
    path, at = [], max(hours, key=hours.__getitem__, default=None)
    total = hours.get(at, 0.0)
    while at is not None:
        path.append(at)
        at = before[at]
    return path[::-1], total
