"""The commands about model providers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, ago, err, out, print_json
from api.terminal import table

app = typer.Typer(help="Model providers: list, set-key, test.", no_args_is_help=True)


@app.command("list")
def list_providers(as_json: AsJson = False) -> None:
    """List the providers, with what is known of their keys."""
    answer = Client().get("/v1/settings/providers")
    if as_json:
        print_json(answer)
        return
    rows = (
        (p["providerId"], p["name"], _state(p), p["maskedApiKey"] or "", p["defaultModel"] or "", _tested(p))
        for p in answer
    )
    out.print(table(["provider", "name", "state", "key", "default model", "tested"], rows))


def _state(provider: dict) -> str:
    if not provider["configured"]:
        return ", ".join(provider["warnings"]) or "no key"
    return "enabled" if provider["enabled"] else "disabled"


def _tested(provider: dict) -> str:
    last = provider["lastTest"]
    return "" if last is None else f"{'ok' if last['ok'] else 'failed'} {ago(last['at'])}"


@app.command("set-key")
def set_key(provider: str) -> None:
    """Store a provider's key, asked for or read from standard input; it never stands on the command line."""
    if sys.stdin.isatty():
        key = typer.prompt(f"Key of {provider}", hide_input=True, err=True)
    else:
        key = sys.stdin.readline().strip()
    if not key:
        raise typer.BadParameter("no key was given")
    saved = Client().put(f"/v1/settings/providers/{provider}", {"apiKey": key})
    out.print(f"{provider}: {saved['maskedApiKey']}, {_state(saved)}", highlight=False)


@app.command("test")
def test_provider(
    provider: str,
    model: Annotated[str | None, typer.Option(help="Make one small call of this model instead of listing.")] = None,
) -> None:
    """Try a provider's key; the exit code says whether it works."""
    answer = Client().post(f"/v1/settings/providers/{provider}/test", {"model": model})
    if not answer["ok"]:
        err.print(f"{provider}: {answer['error']}", highlight=False)
        raise typer.Exit(1)
    out.print(f"{provider}: ok in {answer['latencyMs']} ms", highlight=False)
