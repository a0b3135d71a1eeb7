"""Questions that memory could not answer, as tasks for somebody to find out."""

from __future__ import annotations

from models import database
from models.memory_life import MemoryGap
from workers.boards import changing
from workers.tasks import create_in

TITLE = 200  # characters of the question in the task's title


def make_task(row: MemoryGap, project_id: str, by: str) -> str:
    """The task's id; a gap that has one already keeps it. Raises NotFound, Conflict."""
    if row.task_id is not None:
        return row.task_id
    with changing(project_id, by) as change:
        asked = f"Memory was asked {row.count} times and had no answer:\n\n> {row.question}\n\n"
        described = f"{asked}Find out and remember it."
        fields = {"description": described, "metadata": {"source": "memory", "gap_id": row.id}}
        task = create_in(change, title=f"Find out: {row.question[:TITLE]}", **fields)
        database.execute("UPDATE memory_gaps SET task_id = ? WHERE id = ?", (task.id, row.id))
    return task.id
