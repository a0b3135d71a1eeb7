"""The commands about tasks on a board."""

from __future__ import annotations

from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, ago, out, print_json
from api.terminal import table

app = typer.Typer(help="Tasks: list, show, add, move, run, comment.", no_args_is_help=True)
PROJECT = typer.Argument(help="Id of the project.")
TASK = typer.Argument(help="Id of the task.")


@app.command("list")
def list_tasks(
    project_id: Annotated[str, PROJECT],
    status: Annotated[str | None, typer.Option(help="Only in this status.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only what this agent has.")] = None,
    q: Annotated[str | None, typer.Option("--find", help="Only with this text.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks of a project in the order of its board."""
    found = Client().get(_url(project_id), status=status, agent=agent, q=q)
    if as_json:
        print_json(found)
        return
    rows = ((t["id"], t["status"], t["priority"], t["assigned_agent"] or "", t["title"][:80]) for t in found)
    out.print(table(["task", "status", "", "agent", "title"], rows))


@app.command("show")
def show_task(project_id: Annotated[str, PROJECT], task_id: Annotated[str, TASK], as_json: AsJson = False) -> None:
    """Show a task, what it waits for and what happened to it."""
    client = Client()
    task = client.get(_url(project_id, task_id))
    if as_json:
        print_json(task)
        return
    out.print(f"{task['title']}  {task['status']}, {task['priority']}", markup=False, highlight=False)
    out.print(task["description"], markup=False, highlight=False)
    for edge in task["blocking_dependencies"]:
        out.print(f"after  {edge['from_task_id']}  {edge['from_task_status']}  {edge['from_task_title']}", markup=False)
    out.print(f"may go to: {', '.join(task['allowed'])}")
    for entry in client.get(_url(project_id, task_id, "history"), limit=10):
        moved = f"{entry['from']} -> {entry['to']}" if entry["to"] else ""
        said = f"  {ago(entry['at'])}  {entry['actor'] or ''}  {entry['kind']}  {moved}  {entry['note'] or ''}"
        out.print(said, markup=False, highlight=False)


@app.command("add")
def add_task(
    project_id: Annotated[str, PROJECT],
    title: str,
    description: Annotated[str, typer.Option(help="What is to be done.")] = "",
    priority: Annotated[str, typer.Option(help="P0 to P3.")] = "P2",
    after: Annotated[list[str] | None, typer.Option(help="A task that must be done before; repeatable.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent may take it.")] = None,
) -> None:
    """Add a task to a board."""
    body = {"title": title, "description": description, "priority": priority, "assigned_agent": agent}
    task = Client().post(_url(project_id), body | {"dependencies": after or []})
    out.print(f"{task['id']} {task['status']}")


@app.command("move")
def move_task(
    project_id: Annotated[str, PROJECT],
    task_id: Annotated[str, TASK],
    status: Annotated[str, typer.Argument(help="Where to; `tasks show` lists what is possible.")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
    force: Annotated[bool, typer.Option(help="Past limits and rules (admin).")] = False,
) -> None:
    """Move a task to another status."""
    body = {"status": status, "note": note, "force": force}
    moved = Client().post(_url(project_id, task_id, "transition"), body)
    out.print(f"{task_id} {moved['from_status']} -> {moved['to_status']}")


@app.command("run")
def run_task(
    project_id: Annotated[str, PROJECT],
    task_id: Annotated[str, TASK],
    pipeline: Annotated[str | None, typer.Option(help="Instead of the task's or the project's.")] = None,
    context: Annotated[str | None, typer.Option(help="Guidance for the agents.")] = None,
) -> None:
    """Let a pipeline work on a task; the end of the run moves the task."""
    body = {"pipeline_id": pipeline, "human_context": context}
    started = Client().post(_url(project_id, task_id, "execute"), body)
    out.print(f"{started['run_id']} {started['status']}; follow it with: djinnbot runs follow {started['run_id']}")


@app.command("comment")
def comment_task(project_id: Annotated[str, PROJECT], task_id: Annotated[str, TASK], text: str) -> None:
    """Add a comment to a task's history."""
    Client().post(_url(project_id, task_id, "comments"), {"text": text})
    out.print(f"{task_id} commented")


def _url(project_id: str, *parts: str) -> str:
    return "/".join((f"/v1/projects/{project_id}/tasks", *parts))
