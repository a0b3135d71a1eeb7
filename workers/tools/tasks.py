"""The tools of a project's board: `list_tasks`, `claim_task`, `create_task`, `transition_task`, `add_note`.

What they make carries the key of the call, so that a repeat finds it.
"""

from __future__ import annotations

import json
from typing import Any

from models import database, projects, task_views, tasks
from models.errors import Conflict
from models.tasks import Task
from workers import task_claims
from workers import tasks as commands
from workers.boards import Change, changing
from workers.tools.base import Context, Tool, ToolError, parameters

NAMES = ("list_tasks", "claim_task", "create_task", "transition_task", "add_note")
MOST_LISTED = 50
SHOWN = ("id", "title", "status", "priority", "assigned_agent", "work_type", "tags", "depends_on", "parent_task_id")
TASK_ID = {"type": "string", "description": "id of the task (task_...)"}


def _project(context: Context) -> str:
    if context.project_id is None:
        raise ToolError("This work belongs to no project, so there is no board")
    return context.project_id


def list_tasks(context: Context, arguments: dict[str, Any]) -> str:
    project_id, statuses = _project(context), arguments.get("status") or []
    with database.connection():
        project = projects.get(project_id)
        board = projects.board(project)
        if arguments.get("ready"):
            ids = task_claims.claimable(Change(project, board, None), context.agent_id, limit=MOST_LISTED)
            rows = {row.id: row for row in tasks.some(project_id, ids)}
            found = [rows[id] for id in ids]
        else:
            page = task_views.page(board, project_id, MOST_LISTED, None, status=statuses, q=arguments.get("query"))
            found = [row for _, row in page]
        shown = [{name: one[name] for name in SHOWN} for one in task_views.many(found)]
    return json.dumps({"statuses": board.statuses, "tasks": shown}, ensure_ascii=False)


def claim_task(context: Context, arguments: dict[str, Any]) -> str:
    taken = task_claims.claim(
        _project(context), arguments["task_id"], context.agent_id, holder=context.holder, actor=context.agent_id
    )
    task = taken["task"]
    facts = {"status": taken["status"], "branch": task.metadata.get("git_branch"), "description": task.description}
    return json.dumps({"task_id": task.id, "title": task.title} | facts, ensure_ascii=False)


def create_task(context: Context, arguments: dict[str, Any]) -> str:
    blockers = arguments.pop("depends_on", [])
    with changing(_project(context), context.agent_id) as change:
        task = _made_before(context.project_id, context.key)
        if task is None:
            mark = {"source": "agent", "call": context.key}
            edges = [{"task_id": id} for id in blockers]
            task = commands.create_in(change, dependencies=edges, metadata=mark, **arguments)
    return json.dumps({"task_id": task.id, "status": task.status})


def _made_before(project_id: str, key: str) -> Task | None:
    """The task that an earlier try of this very call has made."""
    found = Task.fetch("project_id = ? AND metadata LIKE ?", (project_id, f'%"call":"{key}"%')) if key else []
    return found[0] if found else None


def transition_task(context: Context, arguments: dict[str, Any]) -> str:
    try:
        done = commands.transition(
            _project(context),
            arguments["task_id"],
            arguments["status"],
            note=arguments.get("note"),
            actor=context.agent_id,
        )
    except Conflict as error:
        allowed = f" Allowed now: {', '.join(error.allowed)}." if error.allowed else ""
        raise ToolError(f"{error.message}.{allowed}") from error
    return json.dumps({"task_id": arguments["task_id"], "status": done["task"].status, "allowed": done["allowed"]})


def add_note(context: Context, arguments: dict[str, Any]) -> str:
    with changing(_project(context), context.agent_id) as change:
        task = change.task(arguments["task_id"])
        if not any(entry.data.get("call") == context.key for entry in tasks.history(task.id, None, 50)):
            change.note(task, "comment", arguments["text"], data={"call": context.key})
    return "Noted."


TOOLS = (
    Tool(
        "list_tasks",
        "List the tasks of the project's board. `ready`: only those that can be claimed now, the best first.",
        parameters(
            status={"type": "array", "items": {"type": "string"}, "description": "only these statuses"},
            query={"type": "string", "description": "part of the title"},
            ready={"type": "boolean"},
        ),
        list_tasks,
    ),
    Tool(
        "claim_task",
        "Take a task for yourself, so that nobody else works on it. Tells its branch and description.",
        parameters(("task_id",), task_id=TASK_ID),
        claim_task,
        effect="idempotent",
    ),
    Tool(
        "create_task",
        "Put a new task on the board.",
        parameters(
            ("title",),
            title={"type": "string", "minLength": 1, "maxLength": 512},
            description={"type": "string", "maxLength": 100_000},
            priority={"type": "string", "enum": list(tasks.PRIORITIES)},
            tags={"type": "array", "items": {"type": "string", "maxLength": 64}, "maxItems": 32},
            parent_task_id=TASK_ID,
            depends_on={"type": "array", "items": TASK_ID, "maxItems": 100},
        ),
        create_task,
        effect="idempotent",  # a repeat finds the task of its key
    ),
    Tool(
        "transition_task",
        "Move a task to another status of the board.",
        parameters(
            ("task_id", "status"),
            task_id=TASK_ID,
            status={"type": "string"},
            note={"type": "string", "maxLength": 4000},
        ),
        transition_task,
        effect="idempotent",
    ),
    Tool(
        "add_note",
        "Add a note to a task's history.",
        parameters(("task_id", "text"), task_id=TASK_ID, text={"type": "string", "maxLength": 20_000}),
        add_note,
        effect="idempotent",  # a repeat finds the note of its key
    ),
)


def tools() -> list[Tool]:
    return list(TOOLS)
