"""Columns of a board: the commands that add, change and remove them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models import database, projects
from models.base import new_id
from models.boards import Board, Column
from models.errors import Conflict, NotFound
from models.projects import BoardColumn
from workers.boards import changing
from workers.projects import columns_of, refuse_broken


def add(project_id: str, entry: dict[str, Any]) -> str:
    """Returns the new column's id. Raises NotFound, Invalid."""
    with changing(project_id, None) as change:
        column = columns_of([entry])[0]
        at = entry.get("position", len(change.board.columns))
        refuse_broken(Board((*change.board.columns, column), change.board.semantics, change.board.transitions))
        column_id = new_id("col_")
        BoardColumn.add(
            {
                "id": column_id,
                "project_id": project_id,
                "name": column.name,
                "position": at,
                "wip_limit": column.wip_limit,
                "task_statuses": list(column.statuses),
            }
        )
        _renumber(project_id, column_id, at)
        projects.write(change.project, [projects.event(change.project, "project_updated", fields=["columns"])])
    return column_id


def update(project_id: str, column_id: str, fields: dict[str, Any]) -> None:
    """Raises NotFound, Invalid, Conflict if tasks stand in a status that would be gone."""
    with changing(project_id, None) as change:
        row = get(project_id, column_id)
        lost = sorted(set(row.task_statuses) - set(fields.get("task_statuses", row.task_statuses)))
        _refuse_used(project_id, lost)
        _refuse_without(change.board, column_id, fields.get("task_statuses", row.task_statuses))
        position = fields.pop("position", None)
        for name, value in fields.items():
            setattr(row, name, value)
        changes = {name: getattr(row, name) for name in ("name", "wip_limit", "task_statuses")}
        BoardColumn.update(**changes, version=row.version + 1).where(BoardColumn.id == column_id).execute()
        if position is not None:
            _renumber(project_id, column_id, position)
        projects.write(change.project, [projects.event(change.project, "project_updated", fields=["columns"])])


def remove(project_id: str, column_id: str, move_to: str | None = None) -> None:
    """Raises NotFound, Invalid; Conflict if it holds tasks and no other column is named for them."""
    with changing(project_id, None) as change:
        row = get(project_id, column_id)
        standing = _standing(project_id, row.task_statuses)
        if standing and move_to is None:
            raise Conflict(f"{len(standing)} tasks stand in {row.name}: say where to (move_to)", "column_not_empty")
        _refuse_without(change.board, column_id, ())
        if standing:
            goal = get(project_id, move_to).task_statuses[0]
            for task_id in standing:
                change.move(change.task(task_id), goal, f"column {row.name} was removed", by_server=True)
        change.store()
        BoardColumn.delete().where(BoardColumn.id == column_id).execute()
        projects.write(change.project, [projects.event(change.project, "project_updated", fields=["columns"])])


def get(project_id: str, column_id: str | None) -> BoardColumn:
    """Raises NotFound."""
    found = BoardColumn.fetch("id = ? AND project_id = ?", (column_id, project_id))
    if not found:
        raise NotFound(f"Column {column_id} not found", "column_not_found")
    return found[0]


def _standing(project_id: str, statuses: Sequence[str]) -> list[str]:
    marks = ", ".join("?" * len(statuses)) or "NULL"
    sql = f"SELECT id FROM tasks WHERE project_id = ? AND status IN ({marks})"
    return [row[0] for row in database.execute(sql, (project_id, *statuses)).fetchall()]


def _refuse_used(project_id: str, statuses: Sequence[str]) -> None:
    standing = _standing(project_id, statuses)
    if standing:
        raise Conflict(f"{len(standing)} tasks are {', '.join(statuses)}", "status_in_use")


def _refuse_without(board: Board, column_id: str, statuses: Sequence[str]) -> None:
    """The board must still work when a column has these statuses (none: is gone)."""
    changed = (Column(c.id, c.name, tuple(statuses), c.wip_limit) if c.id == column_id else c for c in board.columns)
    kept = tuple(column for column in changed if column.statuses)
    refuse_broken(Board(kept, board.semantics, board.transitions))


def _renumber(project_id: str, column_id: str, position: int) -> None:
    ids = [row.id for row in projects.columns(project_id) if row.id != column_id]
    ids.insert(min(position, len(ids)), column_id)
    for at, id in enumerate(ids):
        BoardColumn.update(position=at).where(BoardColumn.id == id).execute()
