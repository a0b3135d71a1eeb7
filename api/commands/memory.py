"""The commands about memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import click
import typer

from api.client import Client
from api.commands.output import AsJson, ago, out, print_json
from api.terminal import table

app = typer.Typer(help="Memory: search, list, show, add, edit, rm, reindex.", no_args_is_help=True)
VAULT = typer.Argument(help="Id of the agent, or shared.")
NOTE = typer.Argument(help="Path of the note in the vault.")


def _url(vault: str, path: str) -> str:
    return f"/v1/memory/vaults/{vault}/{quote(path)}"


@app.command("search")
def search(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    vault: Annotated[str | None, typer.Option(help="Only this vault.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 5,
    as_json: AsJson = False,
) -> None:
    """Find the memories that answer a question."""
    found = Client().get("/v1/memory/search", query=question, agent_id=vault, limit=limit)
    if as_json:
        print_json(found)
        return
    for hit in found:
        out.print(f"{hit['score']:.2f}  {hit['agent_id']}/{hit['filename']}  {hit['title']}", markup=False)
        out.print(f"      {' '.join(hit['snippet'].split())}", markup=False, highlight=False)


@app.command("list")
def list_memories(
    vault: Annotated[str | None, typer.Argument(help="Id of the agent, or shared; without it: the vaults.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List vaults, or the memories of one, newest first."""
    found = Client().get(f"/v1/memory/vaults/{vault}", limit=limit) if vault else Client().get("/v1/memory/vaults")
    if as_json:
        print_json(found)
    elif vault:
        rows = ((m["filename"], m["title"][:60], m["type"] or "", ago(m["updated_at"])) for m in found)
        out.print(table(["note", "title", "type", "changed"], rows))
    else:
        rows = ((v["agent_id"], v["file_count"], v["pending"]) for v in found)
        out.print(table(["vault", "notes", "being indexed"], rows))


@app.command("show")
def show(vault: Annotated[str, VAULT], note: Annotated[str, NOTE], as_json: AsJson = False) -> None:
    """Show a note as it is written."""
    found = Client().get(_url(vault, note))
    if as_json:
        print_json(found)
        return
    out.print(found["content"], markup=False, highlight=False)
    for back in found["backlinks"]:
        out.print(f"linked from {back['filename']}", style="dim", markup=False)


@app.command("add")
def add(
    vault: Annotated[str, VAULT],
    text: Annotated[str, typer.Argument(help="What is to be remembered; - reads it from the input.")],
    title: Annotated[str | None, typer.Option()] = None,
    type: Annotated[str | None, typer.Option(help="fact, decision, lesson, preference ...")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
) -> None:
    """Remember something."""
    content = sys.stdin.read() if text == "-" else text
    given: dict[str, Any] = {"title": title, "type": type, "tags": tag}
    body = {"agent_id": vault, "content": content} | {name: value for name, value in given.items() if value}
    made = Client().post("/v1/memory", body)
    out.print(f"{vault}/{made['filename']}", markup=False)
    for duplicate in made["duplicates"]:
        out.print(f"says nearly the same: {duplicate['filename']}", style="yellow", markup=False)


@app.command("edit")
def edit(vault: Annotated[str, VAULT], note: Annotated[str, NOTE]) -> None:
    """Change a note in your editor ($EDITOR)."""
    client = Client()
    before = client.get(_url(vault, note))["content"]
    after = click.edit(before, extension=Path(note).suffix)
    if after is None or after == before:
        out.print("Nothing was changed.")
        return
    client.put(_url(vault, note), {"content": after})
    out.print(f"{vault}/{note} is changed", markup=False)


@app.command("rm")
def remove(vault: Annotated[str, VAULT], note: Annotated[str, NOTE]) -> None:
    """Delete a note; its texts stay in the history."""
    Client().delete(_url(vault, note))
    out.print(f"{vault}/{note} is deleted", markup=False)


@app.command("reindex")
def reindex(
    vault: Annotated[str | None, typer.Argument(help="Id of the agent, or shared; without it: all.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every note again.")] = False,
) -> None:
    """Bring the index up to the files."""
    status = Client().post("/v1/memory/reindex", {"full": full} | ({"agent_id": vault} if vault else {}))
    rows = ((v["agent_id"], v["files"], v["pending"], len(v["problems"])) for v in status["vaults"])
    out.print(table(["vault", "notes", "being indexed", "problems"], rows))
