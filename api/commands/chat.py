"""The commands about chats."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from api.client import Client
from api.commands.output import AsJson, ago, err, out, print_json
from api.terminal import Follower, styled, table

app = typer.Typer(help="Chats: list, show, stop, end.", no_args_is_help=True)


def chat(
    agent: Annotated[str | None, typer.Argument(help="Id of the agent.")] = None,
    message: Annotated[str | None, typer.Argument(help="What to say; `-` reads it; without it, line by line.")] = None,
    session: Annotated[str | None, typer.Option(help="Go on with this session.")] = None,
    model: Annotated[str | None, typer.Option(help="provider/model of the answers.")] = None,
) -> None:
    """Talk with an agent. Ctrl-C stops an answer, Ctrl-D leaves; the session stays and can be gone on with."""
    if (agent is None) == (session is None):
        raise typer.BadParameter("give an agent, or --session of an earlier chat")
    client = Client()
    session_id = session or client.post("/v1/chat/sessions", _given(agent_id=agent, model=model))["id"]
    err.print(f"[dim]{session_id}[/dim]", markup=True)
    talk = Conversation(client, session_id, model if session else None)
    if message is not None:
        if not talk.say(sys.stdin.read() if message == "-" else message):
            raise typer.Exit(1)
        return
    for line in _lines():
        talk.say(line)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _lines() -> Iterable[str]:
    """What the person types, until the end of the input."""
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            out.print()
            return
        if line.strip():
            yield line


class Conversation:
    """A session as it is talked in."""

    def __init__(self, client: Client, session_id: str, model: str | None) -> None:
        self.client, self.path, self.id, self.model = client, f"/v1/chat/sessions/{session_id}", session_id, model

    def say(self, text: str) -> bool:
        """Prints the answer as it is written; whether it was completed."""
        after = self.client.get(self.path, messages_limit=0)["last_seq"]
        answer = self.client.post(f"{self.path}/message", _given(message=text, model=self.model))
        follower = Answer(out, answer["assistant_message_id"])
        try:
            return follower.follow(self.client.events(self.id, after)) == "completed"
        except KeyboardInterrupt:
            self.client.post(f"{self.path}/stop")
            out.print("\n[yellow]stopped[/yellow]", markup=True)
            return False


class Answer(Follower):
    """Prints one answer as it is written."""

    def __init__(self, console: Any, message_id: str) -> None:
        super().__init__(console)
        self.message_id = message_id

    def follow(self, events: Iterable[dict]) -> str:
        """Returns the answer's last status."""
        mine = (event for event in events if event.get("message_id") == self.message_id)
        for event in mine:
            super().follow([event])
            if event["type"] == "chat_turn_end":
                self._line(f"[red]{event['status']}: {event['error']}[/red]" if event["error"] else "")
                return event["status"]
        return "ended"


@app.command("list")
def list_chats(
    agent: Annotated[str | None, typer.Option(help="Only with this agent.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Ended ones too.")] = False,
    q: Annotated[str | None, typer.Option("--search", help="Words of a title or a message.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List chats, those with the latest activity first."""
    status = "all" if everything else None
    answer = Client().get("/v1/chat/sessions", agent_id=agent, status=status, q=q, limit=limit)
    if as_json:
        print_json(answer)
        return
    rows = (
        (s["id"], s["agent_id"], s["status"], s["message_count"], ago(s["last_activity_at"]), s["title"])
        for s in answer
    )
    out.print(table(["chat", "agent", "status", "messages", "last", "title"], rows))


@app.command("show")
def show_chat(session_id: str, as_json: AsJson = False) -> None:
    """Show what was said in a chat."""
    answer = Client().get(f"/v1/chat/sessions/{session_id}")
    if as_json:
        print_json(answer)
        return
    out.print(f"{answer['id']}  {answer['agent_id']}  {styled(answer['status'])}", markup=True)
    for message in answer["messages"]:
        who = "you" if message["role"] == "user" else answer["agent_id"]
        out.print(f"\n[bold cyan]{who}[/bold cyan] [dim]{message['status']}[/dim]", markup=True)
        out.print(message["error"] or message["content"], markup=False, highlight=False, soft_wrap=True)


@app.command("stop")
def stop_chat(
    session_id: str, clear: Annotated[bool, typer.Option(help="Drop the messages that wait, too.")] = False
) -> None:
    """Stop the answer that is being written."""
    answer = Client().post(f"/v1/chat/sessions/{session_id}/stop", {"clear_queue": clear})
    out.print(f"{answer['status']}: {'stopped' if answer['stopped_message_id'] else 'nothing was being written'}")


@app.command("end")
def end_chat(session_id: str) -> None:
    """End a chat; it stays readable."""
    Client().delete(f"/v1/chat/sessions/{session_id}")
    out.print("ended")
