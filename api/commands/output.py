"""How the commands print."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]


def print_json(value: Any) -> None:
    out.print_json(json.dumps(value))


def ago(ms: int) -> str:
    """A time in the past as people say it."""
    seconds = max(time.time() - ms / 1000, 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
