"""The `djinnbot` command: starts the platform, and talks to it over HTTP."""

from __future__ import annotations

import sys

import typer
from environs.exceptions import EnvError

from api import checks
from api.client import ApiError
from api.commands import (
    approvals,
    chat,
    costs,
    door,
    github,
    memory,
    pipelines,
    platform,
    projects,
    providers,
    runs,
    settings,
    skills,
    tasks,
)
from api.commands.output import err

app = typer.Typer(
    name="djinnbot",
    help="Runs teams of AI agents through durable pipelines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (platform.up, platform.migrate, platform.doctor, platform.status, door.login):
    app.command()(command)
for command in (runs.run, chat.chat, costs.costs):
    app.command()(command)
app.add_typer(runs.app, name="runs")
app.add_typer(chat.app, name="chats")
app.add_typer(approvals.app, name="approvals")
app.add_typer(pipelines.app, name="pipelines")
app.add_typer(projects.app, name="projects")
app.add_typer(tasks.app, name="tasks")
app.add_typer(settings.app, name="settings")
app.add_typer(providers.app, name="providers")
app.add_typer(skills.app, name="skills")
app.add_typer(github.app, name="github")
app.add_typer(memory.app, name="memory")


def main() -> None:
    """The entry point: errors are one clear line and an exit code."""
    try:
        app()
    except checks.StartError as error:
        err.print(f"[red]{error}[/red]")
        sys.exit(error.exit_code)
    except EnvError as error:
        err.print(f"[red]{error}[/red] `djinnbot doctor` shows every setting.")
        sys.exit(checks.EXIT_CODES["config"])
    except ApiError as error:
        err.print(f"[red]{error}[/red]", markup=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
