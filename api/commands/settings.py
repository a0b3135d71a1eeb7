"""The commands about settings."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from api.client import Client
from api.commands.output import AsJson, out, print_json
from api.terminal import table

app = typer.Typer(help="Settings: get, set.", no_args_is_help=True)


@app.command("get")
def get_settings(
    key: Annotated[str | None, typer.Argument(help="Only this one, its bare value.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the settings and what they mean."""
    settings = Client().get("/v1/settings")
    if key is not None:
        if key not in settings:
            raise typer.BadParameter(f"there is no setting {key}")
        out.print(json.dumps(settings[key]), highlight=False)
    elif as_json:
        print_json(settings)
    else:
        schema = Client().get("/v1/settings/schema")
        rows = ((line["key"], json.dumps(settings[line["key"]]), line["range"], line["description"]) for line in schema)
        out.print(table(["setting", "value", "range", "meaning"], rows))


@app.command("set")
def set_settings(
    changes: Annotated[
        list[str], typer.Argument(help="KEY=VALUE, the value in JSON or plain text; null: the default.")
    ],
) -> None:
    """Change settings, all or none."""
    body = dict(_change(change) for change in changes)
    settings = Client().put("/v1/settings", body)
    for key in body:
        out.print(f"{key}: {json.dumps(settings.get(key))}", highlight=False)


def _change(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
