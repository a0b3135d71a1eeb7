"""What blocks what: the commands on dependencies between tasks."""

from __future__ import annotations

from collections.abc import Sequence

from models import database, tasks
from models.base import new_id
from models.errors import Conflict, Invalid, NotFound
from models.tasks import BLOCKS, Dependency, Task
from workers.boards import Change, changing


def connect(project_id: str, task_id: str, blocker_id: str, type: str = BLOCKS, actor: str | None = None) -> Dependency:
    """`blocker` blocks (or informs) `task`. Raises NotFound, Invalid, Conflict."""
    with changing(project_id, actor) as change:
        task = change.task(task_id)
        if blocker_id == task_id:
            raise Invalid("A task cannot wait for itself", "self_dependency", {"from_task_id": ["is the task itself"]})
        (blocker, _), *_ = resolved(project_id, [{"task_id": blocker_id}])
        made = add(change, change.know(blocker), task, type)
        block_if_needed(change, task)
    return made


def add(change: Change, blocker: Task, task: Task, type: str) -> Dependency:
    """The same within a larger change, which must see to what follows."""
    taken = "from_task_id = ? AND to_task_id = ? AND type = ?"
    if Dependency.fetch(taken, (blocker.id, task.id, type)):
        raise Conflict(f"{blocker.title!r} is a dependency of {task.title!r} already", "duplicate_dependency")
    way = tasks.path(task.id, blocker.id) if type == BLOCKS else None
    if way is not None:
        shown = " -> ".join([*way, task.title])
        why = f"The tasks would wait for each other: {shown}"
        raise Invalid(why, "dependency_cycle", {"from_task_id": ["closes a cycle"]}, path=way)
    edge = {"id": new_id("dep_"), "project_id": change.project.id, "from_task_id": blocker.id, "to_task_id": task.id}
    Dependency.add(edge | {"type": type})
    change.touch(task)
    change.event("dependency_added", task, from_task_id=blocker.id, to_task_id=task.id, dependency_type=type)
    return Dependency(**edge, type=type)


def block_if_needed(change: Change, task: Task) -> None:
    """A task that now waits for something unfinished."""
    change.store()
    if tasks.blockers(task.id, change.done):
        change.block([task])


def disconnect(project_id: str, task_id: str, dependency_id: str, actor: str | None = None) -> None:
    """Raises NotFound."""
    with changing(project_id, actor) as change:
        task = change.task(task_id)
        found = Dependency.fetch("id = ? AND to_task_id = ?", (dependency_id, task_id))
        if not found:
            raise NotFound(f"Dependency {dependency_id} not found", "dependency_not_found")
        database.execute("DELETE FROM task_dependencies WHERE id = ?", (dependency_id,))
        change.touch(task)
        change.event("dependency_removed", task, from_task_id=found[0].from_task_id, to_task_id=task_id)
        change.release([task])


def resolved(project_id: str, dependencies: Sequence[dict]) -> list[tuple[Task, str]]:
    """(task, type) of each `{task_id, type}`. Raises Invalid if one is no task of the project."""
    wanted = {entry["task_id"]: entry.get("type", BLOCKS) for entry in dependencies}
    found = tasks.some(project_id, wanted)
    missing = wanted.keys() - {task.id for task in found}
    if missing:
        reason = {"dependencies": [f"{id} is no task of this project" for id in sorted(missing)]}
        raise Invalid(f"{', '.join(sorted(missing))} not found in this project", "unknown_task", reason)
    return [(task, wanted[task.id]) for task in found]
