"""The command that shows what models cost."""

from __future__ import annotations

from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, out, print_json
from api.terminal import table

COLUMNS = ("calls", "errors", "input_tokens", "output_tokens", "cost_usd", "unpriced_calls", "avg_duration_ms")


def costs(
    by: Annotated[str, typer.Option(help="model, provider, agent, pipeline, run, or day.")] = "model",
    run_id: Annotated[str | None, typer.Option("--run", help="Only of this run.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the calls of models used and cost."""
    answer = Client().get("/v1/llm-calls/summary", group_by=by, run_id=run_id)
    if as_json:
        print_json(answer)
        return
    groups = [*answer["groups"], {"key": "total", **answer["total"]}]
    shown = [group | {"cost_usd": f"{group['cost_usd']:.4f}"} for group in groups]
    out.print(table([by, *COLUMNS], ([group["key"], *(group[name] for name in COLUMNS)] for group in shown)))
