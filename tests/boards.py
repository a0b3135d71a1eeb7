"""Boards inside the test's process."""

from __future__ import annotations

from typing import Any

from models import database, events, projects, tasks
from workers import projects as project_commands
from workers import tasks as commands


class Board:
    """A project with a board of a template."""

    def __init__(self, template_id: str = "software-dev", **fields: Any) -> None:
        columns = fields.get("columns")
        self.id = project_commands.create("Test", template_id=None if columns else template_id, **fields)

    def add(self, title: str = "Task", *blockers: str, **fields: Any) -> str:
        """A new task behind `blockers`; its id."""
        edges = [{"task_id": id} for id in blockers]
        return commands.create(self.id, title=title, dependencies=edges, **fields).id

    def move(self, task_id: str, *statuses: str, **options: Any) -> dict[str, Any]:
        """Through these statuses; what the last transition said."""
        for status in statuses:
            done = commands.transition(self.id, task_id, status, **options)
        return done

    def task(self, task_id: str) -> tasks.Task:
        with database.connection():
            return tasks.get(task_id, self.id)

    def status(self, *task_ids: str) -> str | list[str]:
        found = [self.task(id).status for id in task_ids]
        return found[0] if len(found) == 1 else found

    @property
    def types(self) -> list[str]:
        with database.connection():
            return [row["type"] for row in events.after(self.id, 0, 100_000)]

    @property
    def project(self) -> projects.Project:
        with database.connection():
            return projects.get(self.id)

    @property
    def rules(self):
        with database.connection():
            return projects.board(projects.get(self.id))
