"""The commands about runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, ago, out, print_json
from api.terminal import Follower, styled, table

HELP = "Runs: list, show, follow, pause, resume, cancel, restart, requeue, fork, why."
app = typer.Typer(help=HELP, no_args_is_help=True)


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
        print_json(answer) if as_json else out.print(answer["id"])
        return
    _follow(client, answer["id"])


def _follow(client: Client, run_id: str) -> None:
    if Follower(out).follow(client.events(run_id)) != "completed":
        raise typer.Exit(1)


@app.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="Only these, comma-separated.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Only of this pipeline.")] = None,
    error: Annotated[str | None, typer.Option(help="Only those that failed for this reason (its code).")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    answer = Client().get("/v1/runs", status=status, pipeline_id=pipeline, error_code=error, limit=limit)
    if as_json:
        print_json(answer)
        return
    rows = ((r["id"], r["pipeline_id"], r["status"], ago(r["created_at"]), r["task"][:60]) for r in answer)
    out.print(table(["run", "pipeline", "status", "started", "task"], rows))


@app.command("show")
def show_run(run_id: str, as_json: AsJson = False) -> None:
    """Show a run with its steps."""
    answer = Client().get(f"/v1/runs/{run_id}")
    if as_json:
        print_json(answer)
        return
    why = f"  {answer['error']}" if answer["error"] else ""
    out.print(f"{answer['id']}  {answer['pipeline_id']}  {styled(answer['status'])}{why}", markup=True)
    rows = ((s["step_id"], s["status"], s["visit"], s["attempt"], s["model_used"], s["error"]) for s in answer["steps"])
    out.print(table(["step", "status", "visits", "attempts", "model", "error"], rows))


@app.command("follow")
def follow_run(run_id: str) -> None:
    """Show a run from its beginning until it ends."""
    _follow(Client(), run_id)


@app.command("cancel")
def cancel_run(run_id: str, reason: Annotated[str | None, typer.Option(help="Why.")] = None) -> None:
    """Stop a run now."""
    answer = Client().post(f"/v1/runs/{run_id}/cancel", {"reason": reason} if reason else {})
    out.print(f"{run_id} {styled(answer['status'])}")


@app.command("restart")
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


@app.command("requeue")
def requeue_runs(
    error: Annotated[str, typer.Option(help="Why they failed (its code).")] = "worker_lost",
    pipeline: Annotated[str | None, typer.Option(help="Only of this pipeline.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list them.")] = False,
) -> None:
    """Restart the runs that failed for a reason, such as lost workers, from what failed."""
    wanted = {"error_code": error, "pipeline_id": pipeline}
    answer = Client().post(
        "/v1/runs/bulk", {"action": "restart", "filter": wanted, "from": "failed", "max": 1000, "dry_run": dry_run}
    )
    rows = ((r["run_id"], r["status"], r["code"] or "") for r in answer["results"])
    out.print(table(["run", "status", "refused"], rows))
    out.print(f"{answer['matched']} found" + ("" if dry_run else f", {answer['done']} restarted"))
    if answer["more"]:
        out.print("There are more: run it again.")


@app.command("output")
def step_output(run_id: str, step: str) -> None:
    """Print what a step said."""
    answer = Client().get(f"/v1/steps/{run_id}/{step}/output")
    out.print(answer["raw_output"] or "", markup=False, highlight=False)


@app.command("pause")
def pause_run(run_id: str, reason: Annotated[str | None, typer.Option(help="Why.")] = None) -> None:
    """Start nothing new in a run until it is resumed."""
    answer = Client().post(f"/v1/runs/{run_id}/pause", {"reason": reason} if reason else {})
    out.print(f"{run_id} {styled(answer['status'])}")


@app.command("resume")
def resume_run(run_id: str) -> None:
    """Go on with a paused run."""
    answer = Client().post(f"/v1/runs/{run_id}/resume")
    out.print(f"{run_id} {styled(answer['status'])}")


@app.command("fork")
def fork_run(
    run_id: str,
    from_: Annotated[str, typer.Option("--from", help="The step that the new run begins with.")],
    task: Annotated[str | None, typer.Option(help="Another task.")] = None,
    context: Annotated[str | None, typer.Option(help="Other guidance.")] = None,
    model: Annotated[str | None, typer.Option(help="provider/model for every step.")] = None,
    follow: Annotated[bool, typer.Option(help="Show the new run until it ends.")] = True,
) -> None:
    """Start a new run with what this one did before a step, and follow it."""
    client, changes = Client(), {"task": task, "context": context, "model": model}
    fork = client.post(f"/v1/runs/{run_id}/fork", {"from_step": from_, "changes": changes})["id"]
    _follow(client, fork) if follow else out.print(fork)


@app.command("why")
def explain_run(run_id: str, as_json: AsJson = False) -> None:
    """Say why a run does not go on."""
    answer = Client().get(f"/v1/runs/{run_id}/why")
    if as_json:
        print_json(answer)
        return
    out.print(f"{run_id} {styled(answer['status'])}: {answer['summary']}", highlight=False)
    for reason in answer["reasons"]:
        out.print(f"  {reason['code']}: {reason['message']}", markup=False, highlight=False)
