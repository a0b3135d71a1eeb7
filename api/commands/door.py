"""The command that signs a browser in."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from api.client import Client
from api.commands.output import AsJson, out, print_json


def login(
    open_it: Annotated[bool, typer.Option("--open", help="Also open it in this machine's browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs a browser in, once, within ten minutes."""
    answer = Client().post("/v1/auth/logins")
    if as_json:
        print_json(answer)
    else:
        out.print(answer["url"], highlight=False)
    if open_it:
        webbrowser.open(answer["url"])
