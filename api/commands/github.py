"""The commands about GitHub."""

from __future__ import annotations

from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, ago, out, print_json
from api.terminal import table

app = typer.Typer(help="GitHub: status, repos, deliveries, replay, triggers.", no_args_is_help=True)


@app.command("status")
def show_status(as_json: AsJson = False) -> None:
    """Show whether GitHub is configured and answers."""
    status = Client().get("/v1/github/app/status", refresh="true")
    if as_json:
        print_json(status)
        return
    color = "green" if status["healthy"] else "red"
    out.print(f"[{color}]{status['message']}[/{color}]")
    for name in status["missing"]:
        out.print(f"  {name} is not set")
    seen = status["last_delivery_at"]
    out.print(f"  last delivery: {ago(seen) if seen else 'none yet'}; failed: {status['failed_deliveries']}")
    if status["installation_url"]:
        out.print(f"  install it: {status['installation_url']}")


@app.command("repos")
def list_repos(
    q: Annotated[str | None, typer.Option(help="Only with this in the name.")] = None,
    refresh: Annotated[bool, typer.Option(help="Ask GitHub now.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the repositories that can be reached."""
    found = Client().get("/v1/github/repos", q=q, refresh=str(refresh).lower(), limit=200)
    if as_json:
        print_json(found)
        return
    rows = ((r["full_name"], "private" if r["private"] else "", ", ".join(r["project_ids"])) for r in found)
    out.print(table(["repository", "", "projects"], rows))


@app.command("deliveries")
def list_deliveries(
    event: Annotated[str | None, typer.Option(help="Only of this event.")] = None,
    status: Annotated[str | None, typer.Option(help="queued, processing, processed, ignored or failed.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what GitHub has sent, newest first."""
    found = Client().get("/v1/github/deliveries", event=event, status=status)
    if as_json:
        print_json(found)
        return
    rows = ((d["id"], _name(d), d["repository"] or "", d["status"], ago(d["received_at"]), _effects(d)) for d in found)
    out.print(table(["delivery", "event", "repository", "status", "received", "effects"], rows))


def _name(delivery: dict) -> str:
    return delivery["event"] + (f".{delivery['action']}" if delivery["action"] else "")


def _effects(delivery: dict) -> str:
    done = ", ".join(f"{effect['kind']} {effect['ref'] or ''}".strip() for effect in delivery["effects"])
    return delivery["error"] or done


@app.command("replay")
def replay_delivery(
    delivery: Annotated[str, typer.Argument(help="Its id, dlv_...")],
    force: Annotated[bool, typer.Option(help="Also what was done already.")] = False,
) -> None:
    """Process a delivery again."""
    answer = Client().post(f"/v1/github/deliveries/{delivery}/replay", {"force": force})
    out.print(f"{delivery}: {answer['status']}")


@app.command("triggers")
def list_triggers(as_json: AsJson = False) -> None:
    """List what GitHub's events start."""
    found = Client().get("/v1/github/triggers")
    if as_json:
        print_json(found)
        return
    rows = (
        (t["id"], t["name"], "on" if t["enabled"] else "off", _when(t), _target(t["target"]), str(t["fired"]))
        for t in found
    )
    out.print(table(["trigger", "name", "", "when", "starts", "fired"], rows))


def _when(trigger: dict) -> str:
    return trigger["event"] + (f" ({', '.join(trigger['actions'])})" if trigger["actions"] else "")


def _target(target: dict) -> str:
    return f"{target['kind']} {target.get('pipeline_id') or target.get('project_id')}"
