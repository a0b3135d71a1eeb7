"""The commands about what waits for a person."""

from __future__ import annotations

from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, ago, out, print_json
from api.terminal import table

app = typer.Typer(help="Approvals: list, decide.", no_args_is_help=True)


@app.command("list")
def list_approvals(
    status: Annotated[str, typer.Option(help="pending, decided, expired, withdrawn, or all.")] = "pending",
    run_id: Annotated[str | None, typer.Option("--run", help="Only of this run.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what waits for a person, oldest first."""
    answer = Client().get("/v1/approvals", status=status, run_id=run_id)
    if as_json:
        print_json(answer)
        return
    rows = (
        (a["id"], a["kind"], a["run_id"], a["step_id"], ago(a["created_at"]), "/".join(a["options"]), a["prompt"][:60])
        for a in answer
    )
    out.print(table(["approval", "kind", "run", "step", "asked", "options", "prompt"], rows))


@app.command("decide")
def decide_approval(
    approval_id: str,
    decision: Annotated[str, typer.Argument(help="One of its options.")],
    comment: Annotated[str | None, typer.Option(help="Goes on to the agents.")] = None,
    add_tokens: Annotated[int | None, typer.Option(help="With `raise`: how many more.")] = None,
    add_cost_usd: Annotated[float | None, typer.Option(help="With `raise`: how much more.")] = None,
) -> None:
    """Decide, once; the run goes on."""
    data = {"add_tokens": add_tokens, "add_cost_usd": add_cost_usd}
    answer = Client().post(f"/v1/approvals/{approval_id}", {"decision": decision, "comment": comment, "data": data})
    out.print(f"{approval_id}: {answer['decision']}")
