"""The commands about pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, out, print_json
from api.terminal import table

app = typer.Typer(help="Pipelines: list, show, validate.", no_args_is_help=True)


@app.command("list")
def list_pipelines(as_json: AsJson = False) -> None:
    """List the pipelines, built-in and your own."""
    answer = Client().get("/v1/pipelines")
    if as_json:
        print_json(answer)
        return
    rows = ((p["id"], "ok" if p["valid"] else "failed", p["source"], len(p["steps"]), p["description"]) for p in answer)
    out.print(table(["pipeline", "valid", "from", "steps", "description"], rows))


@app.command("show")
def show_pipeline(pipeline_id: str) -> None:
    """Print a pipeline's file."""
    out.print(Client().get(f"/v1/pipelines/{pipeline_id}/raw")["yaml"], markup=False, highlight=False)


@app.command("validate")
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
