"""The commands that start the platform, look after its database and look at this machine."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from api import checks, supervisor
from api.client import ApiError, Client
from api.commands.output import AsJson, err, out, print_json
from api.terminal import Follower, styled, table
from models import config

READY_SECONDS = 30.0
MAX_DEATHS = 3  # of one process before the first answer


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
    if settings.auth_enabled:
        err.print(f"Sign in  {Client().post('/v1/auth/logins')['url']}", highlight=False)


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


def migrate() -> None:
    """Bring the database up to date."""
    checks.check_data_dir(config.get().data_dir)
    checks.check_database()
    out.print("The database is up to date.")


def doctor() -> None:
    """Show every setting with its source, and what is missing on this machine."""
    shown = ((name, _masked(name, value), source, text) for name, value, source, text in config.sources())
    out.print(table(["setting", "value", "from", "what it is"], shown))
    out.print()
    for line in _findings():
        out.print(line)


def _masked(name: str, value: Any) -> str:
    secret = name.endswith(("_TOKEN", "_KEY", "_KEYS", "_SECRET")) or ("://" in str(value) and "@" in str(value))
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


def status(as_json: AsJson = False) -> None:
    """Show whether the platform is healthy."""
    answer = Client().get("/v1/status")
    if as_json:
        print_json(answer)
        return
    out.print(f"{styled(answer['status'])}  version {answer['version']}")
    out.print(
        table(["component", "status", "detail"], ((c["name"], c["status"], c["detail"]) for c in answer["components"]))
    )
