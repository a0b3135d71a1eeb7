"""Runs as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STATUS_STYLES = {
    "completed": "green",
    "ok": "green",
    "running": "cyan",
    "pending": "yellow",
    "paused": "yellow",
    "degraded": "yellow",
    "retrying": "yellow",
    "failed": "red",
    "down": "red",
    "cancelled": "magenta",
}


def styled(status: str) -> str:
    style = STATUS_STYLES.get(status)
    return f"[{style}]{status}[/{style}]" if style else status


class Follower:
    """Prints a run's events as they come: each step's text as it is generated, and how everything ended."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.status = "running"
        self._at_line_start = True
        self._speaking: str | None = None

    def follow(self, events: Iterable[dict]) -> str:
        """Returns the run's last status."""
        for event in events:
            printer = getattr(self, f"_{event['type']}", None)
            if printer is not None:
                printer(event)
        return self.status

    def _line(self, text: str) -> None:
        if not self._at_line_start:
            self.console.print()
        self.console.print(text, highlight=False)
        self._at_line_start, self._speaking = True, None

    def _say(self, event: dict, style: str | None = None) -> None:
        if self._speaking not in (None, event["step_id"]):
            self._line(f"[dim]{event['step_id']}:[/dim]")
        self._speaking = event["step_id"]
        text = event["text"]
        self.console.print(text, end="", style=style, markup=False, highlight=False, soft_wrap=True)
        self._at_line_start = text.endswith("\n")

    def _run_created(self, event: dict) -> None:
        self._line(f"[bold]{event['pipeline_id']}[/bold]  {event['run_id']}")

    def _step_started(self, event: dict) -> None:
        item = "" if event["item_index"] is None else f" item {event['item_index'] + 1}"
        again = "" if event["attempt"] == 1 else f" (attempt {event['attempt']})"
        who = f"{event['agent_id'] or 'no agent'}, {event['model']}"
        self._line(f"\n[bold cyan]> {event['step_id']}{item}[/bold cyan]{again} [dim]{escape(who)}[/dim]")

    def _step_resumed(self, event: dict) -> None:
        self._line(f"[yellow]{event['step_id']} goes on with another worker ({event['reason']})[/yellow]")

    def _agent_output(self, event: dict) -> None:
        self._say(event)

    def _agent_thinking(self, event: dict) -> None:
        self._say(event, style="dim italic")

    def _tool_call_start(self, event: dict) -> None:
        arguments = ", ".join(f"{name}={str(value)[:60]!r}" for name, value in event["arguments"].items())
        self._line(f"[blue]{escape(event['tool_name'])}[/blue]({escape(arguments)})")

    def _tool_call_end(self, event: dict) -> None:
        first = event["result"].strip().split("\n", 1)[0][:100]
        mark = "[red]error[/red] " if event["is_error"] else ""
        self._line(f"  {mark}[dim]{escape(first)}[/dim]")

    def _step_complete(self, event: dict) -> None:
        usage = event["usage"] or {}
        took, tokens = event["duration_ms"] / 1000, usage.get("total_tokens", 0)
        self._line(f"[green]{event['step_id']} completed[/green] [dim]{took:.1f} s, {tokens} tokens[/dim]")

    def _step_retrying(self, event: dict) -> None:
        wait = event["delay_ms"] / 1000
        self._line(f"[yellow]{event['step_id']} repeats in {wait:.1f} s:[/yellow] {escape(event['error'])}")

    def _step_failed(self, event: dict) -> None:
        self._line(f"[red]{event['step_id']} failed ({event['error_code']}):[/red] {escape(event['error'])}")

    def _run_complete(self, event: dict) -> None:
        self._end("completed", event)

    def _run_failed(self, event: dict) -> None:
        self._end("failed", event)

    def _run_cancelled(self, event: dict) -> None:
        self._end("cancelled", event)

    def _end(self, status: str, event: dict) -> None:
        self.status = status
        took = (event["duration_ms"] or 0) / 1000
        usage = event["usage"]
        cost = f", ${usage['cost_usd']:.4f}" if usage["cost_usd"] else ""
        why = f": {escape(event['error'])}" if status == "failed" else ""
        self._line(f"\nRun {styled(status)}{why} [dim]{took:.1f} s, {usage['total_tokens']} tokens{cost}[/dim]")


def table(columns: list[str], rows: Iterable[Iterable[Any]]) -> Table:
    """A plain table; statuses are coloured."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(styled(cell) if cell in STATUS_STYLES else escape(str(cell)) for cell in map(_shown, row)))
    return made


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
