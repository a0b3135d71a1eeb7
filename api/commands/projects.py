"""The commands about projects and their boards."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.client import Client
from api.commands.output import AsJson, ago, out, print_json
from api.terminal import table

app = typer.Typer(help="Projects: list, show, create, plan, archive.", no_args_is_help=True)
PROJECT = typer.Argument(help="Id of the project.")
SHOWN = 10  # tasks of a column


@app.command("list")
def list_projects(
    status: Annotated[str | None, typer.Option(help="active, paused, completed or archived.")] = None,
    as_json: AsJson = False,
) -> None:
    """List projects, the most recently changed first."""
    found = Client().get("/v1/projects", status=status)
    if as_json:
        print_json(found)
        return
    rows = (
        (p["id"], p["status"], f"{p['completed_tasks']}/{p['total_tasks']}", ago(p["updated_at"]), p["name"])
        for p in found
    )
    out.print(table(["project", "status", "done", "changed", "name"], rows))


@app.command("show")
def show_project(project_id: Annotated[str, PROJECT], as_json: AsJson = False) -> None:
    """Show a project's board, column by column."""
    project = Client().get(f"/v1/projects/{project_id}")
    if as_json:
        print_json(project)
        return
    out.print(f"{project['name']}  {project['status']}, {project['completed_tasks']} of {project['total_tasks']} done")
    for column in project["columns"]:
        _print_column(column, [task for task in project["tasks"] if task["column_id"] == column["id"]])


def _print_column(column: dict[str, Any], tasks: list[dict[str, Any]]) -> None:
    limit = f" of at most {column['wip_limit']}" if column["wip_limit"] else ""
    out.print(f"\n[bold]{column['name']}[/bold] ({len(tasks)}{limit})")
    for task in tasks[:SHOWN]:
        holder = f"  @{task['assigned_agent']}" if task["assigned_agent"] else ""
        out.print(f"  {task['id']}  {task['priority']}  {task['title']}{holder}", markup=False, highlight=False)
    if len(tasks) > SHOWN:
        out.print(f"  and {len(tasks) - SHOWN} more: djinnbot tasks list {column['project_id']}")


@app.command("create")
def create_project(
    name: str,
    template: Annotated[
        str | None, typer.Option(help="software-dev, kanban-simple, content-pipeline or research.")
    ] = None,
    repository: Annotated[str | None, typer.Option(help="https address of its Git repository.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Works on its tasks unless they name another.")] = None,
) -> None:
    """Create a project with a board."""
    body = {"name": name, "template_id": template, "repository": repository, "default_pipeline_id": pipeline}
    out.print(f"{Client().post('/v1/projects', body)['id']} created")


@app.command("plan")
def plan_project(project_id: Annotated[str, PROJECT], as_json: AsJson = False) -> None:
    """Show in which order the open tasks can be worked on."""
    plan = Client().post(f"/v1/projects/{project_id}/plan-preview")
    if as_json:
        print_json(plan)
        return
    longest = {task["id"] for task in plan["critical_path"]}
    for number, wave in enumerate(plan["waves"], 1):
        out.print(f"[bold]Wave {number}[/bold]")
        for task in wave:
            mark = "*" if task["id"] in longest else " "
            out.print(f" {mark} {task['id']}  {task['status']}  {task['title']}", markup=False, highlight=False)
    out.print(f"The way through the tasks with * takes longest: {plan['hours']:g} h")
    for task in plan["stuck"]:
        out.print(f"[red]stuck[/red] {task['id']}  {task['title']}")


@app.command("archive")
def archive_project(project_id: Annotated[str, PROJECT]) -> None:
    """Put a project away; nothing is lost."""
    Client().delete(f"/v1/projects/{project_id}")
    out.print(f"{project_id} archived")
