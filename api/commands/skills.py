"""The commands about skills."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from api.client import ApiError, Client
from api.commands.output import AsJson, err, out, print_json
from api.terminal import table
from pipelines import skills as pages

app = typer.Typer(help="Skills: list, show, import, enable, disable, grant, revoke.", no_args_is_help=True)
NAME = typer.Argument(help="Name of the skill.")
AGENT = typer.Argument(help="Id of the agent.")


@app.command("list")
def list_skills(
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only what this agent has.")] = None,
    as_json: AsJson = False,
) -> None:
    """List skills by name."""
    client = Client()
    found = client.get(f"/v1/skills/agents/{agent}") if agent else client.get("/v1/skills", content="false", tag=tag)
    if as_json:
        print_json(found)
        return
    rows = ((s["id"], "on" if s["enabled"] else "off", ", ".join(s["tags"]), s["description"][:80]) for s in found)
    out.print(table(["skill", "", "tags", "description"], rows))


@app.command("show")
def show_skill(
    name: Annotated[str, NAME],
    version: Annotated[int | None, typer.Option(help="An older one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a skill with its text."""
    skill = Client().get(f"/v1/skills/{name}", version=version)
    if as_json:
        print_json(skill)
        return
    state = "enabled" if skill["enabled"] else "disabled"
    out.print(f"{name}  version {skill['version']}  {state}, from {skill['source']}, used {skill['uses']} times")
    for problem in skill["problems"]:
        out.print(f"[red]{problem}[/red]")
    out.print(f"{skill['description']}\n\n{skill['content']}", markup=False, highlight=False)
    for file in skill["files"]:
        out.print(f"  {file['path']}  {file['size']} bytes", markup=False, highlight=False)


@app.command("import")
def import_skill(
    folder: Annotated[Path, typer.Argument(help="A folder with a SKILL.md.", exists=True, file_okay=False)],
    default_grant: Annotated[bool, typer.Option("--everybody", help="Every agent gets it.")] = False,
) -> None:
    """Add a skill from a folder, or make it the next version of the one of that name."""
    found = pages.read(folder.resolve())
    if found.problems:
        for problem in found.problems:
            err.print(f"[red]{problem}[/red]")
        raise typer.Exit(1)
    skill = _sent(Client(), found.skill, default_grant)
    out.print(f"{skill['name']}: version {skill['version']}")


def _sent(client: Client, skill: pages.Skill, default_grant: bool) -> dict[str, Any]:
    files = [{"path": path, "content_base64": base64.b64encode(data).decode()} for path, data in skill.files.items()]
    body = {"description": skill.description, "content": pages.write(skill), "files": files}
    body |= {"default_grant": True} if default_grant else {}
    try:
        return client.post("/v1/skills", body | {"name": skill.name})
    except ApiError as error:
        if error.status != 409:
            raise
    return client.put(f"/v1/skills/{skill.name}", body)


@app.command("enable")
def enable_skill(name: Annotated[str, NAME]) -> None:
    """Let agents have a skill again."""
    _enable(name, True)


@app.command("disable")
def disable_skill(name: Annotated[str, NAME]) -> None:
    """Let no agent have a skill; runs that began with it keep it."""
    _enable(name, False)


def _enable(name: str, enabled: bool) -> None:
    answer = Client().patch(f"/v1/skills/{name}/enabled", {"enabled": enabled})
    out.print(f"{name}: {'enabled' if answer['enabled'] else 'disabled'}")


@app.command("grant")
def grant_skill(name: Annotated[str, NAME], agent: Annotated[str, AGENT]) -> None:
    """Let an agent load a skill."""
    Client().post(f"/v1/skills/agents/{agent}/{name}/grant")
    out.print(f"{agent} has {name}")


@app.command("revoke")
def revoke_skill(name: Annotated[str, NAME], agent: Annotated[str, AGENT]) -> None:
    """Take a skill from an agent."""
    Client().delete(f"/v1/skills/agents/{agent}/{name}")
    out.print(f"{agent} does not have {name} any more")
