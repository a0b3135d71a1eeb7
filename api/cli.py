"""The `djinnbot` command: starts the platform, and talks to it over HTTP."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from environs.exceptions import EnvError
from rich.console import Console

from api import checks, supervisor
from api.client import ApiError, Client
from api.terminal import Follower, styled, table
from models import config

READY_SECONDS = 30.0
MAX_DEATHS = 3  # of one process before the first answer

app = typer.Typer(
    name="djinnbot",
    help="Runs teams of AI agents through durable pipelines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
runs_app = typer.Typer(help="Runs: list, show, follow, cancel, restart.", no_args_is_help=True)
pipelines_app = typer.Typer(help="Pipelines: list, show, validate.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")
app.add_typer(pipelines_app, name="pipelines")

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]


# --- the platform ---


@app.command()
def up(
    task: Annotated[str | None, typer.Option(help="Also start a run with this task, and follow it.")] = None,
    pipeline: Annotated[str, typer.Option(help="The pipeline of that run.")] = "quickstart",
) -> None:
    """Start the platform on this machine and keep it running until Ctrl-C."""
    platform = _start_platform(quiet=task is not None)
    try:
        _wait_until_ready(platform)
        _print_addresses()
        if task is not None:
            _follow_first_run(platform, pipeline, task)
        _watch(platform)
    except KeyboardInterrupt:
        err.print("\nStopping.")
    finally:
        platform.stop()


def _start_platform(quiet: bool) -> supervisor.Supervisor:
    checks.before_start()
    settings = config.get()
    environment = config.environment()
    platform = supervisor.Supervisor(environment, settings.data_dir / "logs" if quiet else None)
    signal.signal(signal.SIGTERM, _interrupt)
    if not settings.redis_url:
        socket = supervisor.socket_folder() / "valkey.sock"
        environment["REDIS_URL"] = f"unix://{socket}"
        platform.add("valkey", supervisor.queue_command(socket))
    for name, command in supervisor.processes():
        platform.add(name, command)
    return platform


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _wait_until_ready(platform: supervisor.Supervisor) -> None:
    deadline, client = time.monotonic() + READY_SECONDS, Client()
    while time.monotonic() < deadline:
        platform.watch_once()
        _refuse_if_hopeless(platform)
        try:
            client.get("/readyz")
            return
        except ApiError:
            time.sleep(0.05)
    raise checks.StartError("not_ready", f"The API did not answer within {READY_SECONDS:g} s. {_where(platform)}")


def _refuse_if_hopeless(platform: supervisor.Supervisor) -> None:
    for child in platform.children:
        if child.deaths >= MAX_DEATHS:
            last = platform.last_words(child)
            raise checks.StartError("not_ready", f"{child.name} does not start: {last} {_where(platform)}")


def _where(platform: supervisor.Supervisor) -> str:
    return f"The logs are in {platform.log_folder}." if platform.log_folder else "See the log above."


def _print_addresses() -> None:
    settings = config.get()
    err.print(f"API      {settings.base_url}/v1", highlight=False)
    err.print(f"Docs     {settings.base_url}/docs", highlight=False)
    err.print(f"Token    {settings.token_file}", highlight=False)


def _follow_first_run(platform: supervisor.Supervisor, pipeline: str, task: str) -> None:
    client = Client()
    try:
        run = client.post("/v1/runs", {"pipeline_id": pipeline, "task": task})
        Follower(out).follow(_watching(platform, client.events(run["id"])))
    except ApiError as error:
        err.print(f"[red]{error}[/red]")
    err.print("\nThe platform stays up. Ctrl-C stops it.")


def _watching(platform: supervisor.Supervisor, events):
    for event in events:
        platform.watch_once()
        yield event


def _watch(platform: supervisor.Supervisor) -> None:
    while True:
        platform.watch_once()
        time.sleep(0.1)


@app.command()
def migrate() -> None:
    """Bring the database up to date."""
    checks.check_data_dir(config.get().data_dir)
    checks.check_database()
    out.print("The database is up to date.")


@app.command()
def doctor() -> None:
    """Show every setting with its source, and what is missing on this machine."""
    shown = ((name, _masked(name, value), source, text) for name, value, source, text in config.sources())
    out.print(table(["setting", "value", "from", "what it is"], shown))
    out.print()
    for line in _findings():
        out.print(line)


def _masked(name: str, value: Any) -> str:
    secret = name.endswith(("_TOKEN", "_KEY", "_KEYS")) or ("://" in str(value) and "@" in str(value))
    return "(set)" if secret and value else str(value) if value not in ("", []) else "-"


def _findings() -> list[str]:
    found = []
    bwrap = shutil.which("bwrap")
    if config.get().sandbox == "none":
        found.append("[yellow]SANDBOX=none: agents' commands run bare on this machine[/yellow]")
    elif not bwrap:
        found.append("[yellow]bubblewrap is missing: agents have no shell (apt-get install bubblewrap)[/yellow]")
    else:
        found.append(f"[green]sandbox[/green] {bwrap}")
    try:
        found.append(f"[green]queue[/green] {config.get().redis_url or supervisor.queue_command(Path('-'))[0]}")
    except Exception as error:
        found.append(f"[red]no Redis or Valkey can be started: {error}[/red]")
    return found


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show whether the platform is healthy."""
    answer = Client().get("/v1/status")
    if as_json:
        _print_json(answer)
        return
    out.print(f"{styled(answer['status'])}  version {answer['version']}")
    out.print(
        table(["component", "status", "detail"], ((c["name"], c["status"], c["detail"]) for c in answer["components"]))
    )


# --- runs ---


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="Id of the pipeline.")],
    task: Annotated[str, typer.Argument(help="What to do; `-` reads it from standard input.")],
    context: Annotated[str | None, typer.Option(help="Guidance for the agents, or a JSON object of variables.")] = None,
    project: Annotated[str | None, typer.Option(help="Name of the project.")] = None,
    model: Annotated[str | None, typer.Option(help="provider/model for every step.")] = None,
    follow: Annotated[bool, typer.Option(help="Show the run until it ends.")] = True,
    as_json: AsJson = False,
) -> None:
    """Start a run and follow it."""
    client = Client()
    given = {"context": context, "project_name": project, "model": model}
    body = {"pipeline_id": pipeline, "task": sys.stdin.read() if task == "-" else task}
    answer = client.post("/v1/runs", body | {name: value for name, value in given.items() if value is not None})
    if as_json or not follow:
        _print_json(answer) if as_json else out.print(answer["id"])
        return
    _follow(client, answer["id"])


def _follow(client: Client, run_id: str) -> None:
    if Follower(out).follow(client.events(run_id)) != "completed":
        raise typer.Exit(1)


@runs_app.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="Only these, comma-separated.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Only of this pipeline.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    answer = Client().get("/v1/runs", status=status, pipeline_id=pipeline, limit=limit)
    if as_json:
        _print_json(answer)
        return
    rows = ((r["id"], r["pipeline_id"], r["status"], _ago(r["created_at"]), r["task"][:60]) for r in answer)
    out.print(table(["run", "pipeline", "status", "started", "task"], rows))


@runs_app.command("show")
def show_run(run_id: str, as_json: AsJson = False) -> None:
    """Show a run with its steps."""
    answer = Client().get(f"/v1/runs/{run_id}")
    if as_json:
        _print_json(answer)
        return
    why = f"  {answer['error']}" if answer["error"] else ""
    out.print(f"{answer['id']}  {answer['pipeline_id']}  {styled(answer['status'])}{why}", markup=True)
    rows = ((s["step_id"], s["status"], s["visit"], s["attempt"], s["model_used"], s["error"]) for s in answer["steps"])
    out.print(table(["step", "status", "visits", "attempts", "model", "error"], rows))


@runs_app.command("follow")
def follow_run(run_id: str) -> None:
    """Show a run from its beginning until it ends."""
    _follow(Client(), run_id)


@runs_app.command("cancel")
def cancel_run(run_id: str, reason: Annotated[str | None, typer.Option(help="Why.")] = None) -> None:
    """Stop a run now."""
    answer = Client().post(f"/v1/runs/{run_id}/cancel", {"reason": reason} if reason else {})
    out.print(f"{run_id} {styled(answer['status'])}")


@runs_app.command("restart")
def restart_run(
    run_id: str,
    from_: Annotated[str, typer.Option("--from", help="`start`, `failed`, or a step.")] = "start",
    context: Annotated[str | None, typer.Option(help="Further guidance.")] = None,
) -> None:
    """Run again, from the start, from what failed, or from a step."""
    client = Client()
    before = client.get(f"/v1/runs/{run_id}")["last_seq"]
    client.post(f"/v1/runs/{run_id}/restart", {"from": from_} | ({"context": context} if context else {}))
    if Follower(out).follow(client.events(run_id, before)) != "completed":
        raise typer.Exit(1)


@runs_app.command("output")
def step_output(run_id: str, step: str) -> None:
    """Print what a step said."""
    answer = Client().get(f"/v1/steps/{run_id}/{step}/output")
    out.print(answer["raw_output"] or "", markup=False, highlight=False)


# --- pipelines ---


@pipelines_app.command("list")
def list_pipelines(as_json: AsJson = False) -> None:
    """List the pipelines, built-in and your own."""
    answer = Client().get("/v1/pipelines")
    if as_json:
        _print_json(answer)
        return
    rows = ((p["id"], "ok" if p["valid"] else "failed", p["source"], len(p["steps"]), p["description"]) for p in answer)
    out.print(table(["pipeline", "valid", "from", "steps", "description"], rows))


@pipelines_app.command("show")
def show_pipeline(pipeline_id: str) -> None:
    """Print a pipeline's file."""
    out.print(Client().get(f"/v1/pipelines/{pipeline_id}/raw")["yaml"], markup=False, highlight=False)


@pipelines_app.command("validate")
def validate_pipeline(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
    """Check a pipeline file; every problem is listed with its line."""
    answer = Client().post("/v1/pipelines/new/validate", {"yaml_content": file.read_text("utf-8")})
    for problem in answer["problems"]:
        out.print(
            f"{problem['severity']}: {file}:{problem['line'] or 1}: {problem['path']}: {problem['message']}",
            markup=False,
        )
    out.print(f"{file} is {'valid' if answer['valid'] else 'not valid'}", markup=False)
    if not answer["valid"]:
        raise typer.Exit(1)


def _print_json(value: Any) -> None:
    out.print_json(json.dumps(value))


def _ago(ms: int) -> str:
    seconds = max(time.time() - ms / 1000, 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


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
