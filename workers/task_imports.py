"""Plans become tasks: what a planning pipeline has found out is put on its project's board."""

from __future__ import annotations

import json
from typing import Any

from models import tasks
from models.errors import Conflict, Invalid
from models.runs import Run
from models.tasks import Task
from workers import task_links
from workers.boards import Change
from workers.tasks import create_in

TASKS, SUBTASKS = ("validated_tasks", "tasks"), ("validated_subtasks", "subtasks")  # (output, key of its list)
MOST = 500
KEPT = ("title", "description", "priority", "estimated_hours", "tags")


def take_over(change: Change, run: Run) -> None:
    """Creates the tasks, then the subtasks, then what waits for what. A plan that cannot be read is left alone."""
    made: dict[str, Task] = {}
    planned = [(entry, None) for entry in _entries(run, *TASKS)]
    planned += [(entry, entry.get("parent_title")) for entry in _entries(run, *SUBTASKS)]
    for entry, parent_title in planned[:MOST]:
        parent = made.get(str(parent_title)) if parent_title else None
        fields = {name: entry[name] for name in KEPT if entry.get(name) is not None}
        facts = {"parent_task_id": parent and parent.id, "metadata": {"source": "plan", "plan_run_id": run.id}}
        key = _key(entry["title"], parent_title)
        made[key] = create_in(change, **_sound(fields), **facts, by_server=True)
    change.store()
    for entry, parent_title in planned[:MOST]:
        _connect(change, made, entry, parent_title)


def _entries(run: Run, output: str, key: str) -> list[dict[str, Any]]:
    try:
        found = json.loads((run.outputs or {}).get(output) or "")
    except ValueError:
        return []
    entries = found.get(key) if isinstance(found, dict) else None
    return [entry for entry in entries or [] if isinstance(entry, dict) and str(entry.get("title") or "").strip()]


def _key(title: str, parent_title: str | None) -> str:
    """Subtasks of different tasks may have the same title."""
    return f"{parent_title}\n{title}" if parent_title else title


def _sound(fields: dict[str, Any]) -> dict[str, Any]:
    """Within what a task may hold."""
    if fields.get("priority") not in tasks.PRIORITIES:
        fields.pop("priority", None)
    tags = fields.get("tags") if isinstance(fields.get("tags"), list) else []
    fields["tags"] = [str(tag)[:64] for tag in tags if str(tag).strip()][:32]
    hours = fields.get("estimated_hours")
    if not isinstance(hours, int | float) or not 0 <= hours <= 10_000:
        fields.pop("estimated_hours", None)
    texts = {"title": str(fields["title"]).strip()[:512], "description": str(fields.get("description") or "")[:262_144]}
    return fields | texts


def _connect(change: Change, made: dict[str, Task], entry: dict[str, Any], parent_title: str | None) -> None:
    task = made[_key(entry["title"], parent_title)]
    for title in entry.get("dependencies") or []:
        blocker = made.get(_key(str(title), parent_title))
        if blocker is None or blocker is task:
            continue
        try:
            task_links.add(change, blocker, task, tasks.BLOCKS)
        except (Conflict, Invalid) as error:  # named twice, or a circle
            change.note(task, "updated", error.message)
    task_links.block_if_needed(change, task)
