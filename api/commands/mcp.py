"""The commands about MCP servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from api.client import Client
from api.commands.output import AsJson, err, out, print_json
from api.terminal import styled, table

app = typer.Typer(
    help="MCP servers: list, show, add, import, approve, call, grant, logs, remove.", no_args_is_help=True
)
SERVER = typer.Argument(help="Id of the server.")
YES = typer.Option("--yes", help="Do not ask.")


@app.command("list")
def list_servers(as_json: AsJson = False) -> None:
    """List MCP servers by name."""
    found = Client().get("/v1/mcp")
    if as_json:
        print_json(found)
        return
    rows = ((s["id"], s["status"], s["transport"], str(len(s["discovered_tools"])), why(s)) for s in found)
    out.print(table(["server", "status", "transport", "tools", ""], rows))


def why(server: dict[str, Any]) -> str:
    return (server["status_reason"] or "")[:80]


@app.command("show")
def show_server(server: Annotated[str, SERVER], as_json: AsJson = False) -> None:
    """Show a server with its tools."""
    found = Client().get(f"/v1/mcp/{server}")
    if as_json:
        print_json(found)
        return
    out.print(f"{server}  {styled(found['status'])}  {found['transport']}, restarted {found['restarts']} times")
    if found["status_reason"]:
        out.print(found["status_reason"], markup=False, highlight=False)
    for tool in found["tools"]:
        line = f"  {tool['name']}  {tool['state']}  {' '.join(tool['description'].split())[:90]}"
        out.print(line, markup=False, highlight=False)


@app.command("add", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def add_server(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it.")],
    url: Annotated[str | None, typer.Option(help="Of a server on the web; else name a program after --.")] = None,
    sse: Annotated[bool, typer.Option("--sse", help="The server speaks the older SSE transport.")] = False,
    env: Annotated[list[str] | None, typer.Option(help="NAME=value; ${SECRET} stands for a secret.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="NAME=value; ${SECRET} stands for a secret.")] = None,
    network: Annotated[bool, typer.Option("--network", help="The program has network.")] = False,
    read: Annotated[list[str] | None, typer.Option(help="A path that the program may read.")] = None,
    write: Annotated[list[str] | None, typer.Option(help="A path that the program may write.")] = None,
) -> None:
    """Register a server: djinnbot mcp add time -- uvx mcp-server-time."""
    program = [argument for argument in context.args if argument != "--"]
    if bool(url) == bool(program):
        err.print("[red]Name a --url, or a program after --.[/red]")
        raise typer.Exit(2)
    body: dict[str, Any] = {"name": name}
    if url:
        body["config"] = {"type": "sse" if sse else "streamable-http", "url": url, "headers": pairs(header)}
    else:
        body["config"] = {"command": program[0], "args": program[1:], "env": pairs(env)}
        body["sandbox"] = {"network": network, "read_paths": read or [], "write_paths": write or []}
    made = Client().post("/v1/mcp", body)
    waits = made["approval"]["state"] == "pending"
    out.print(f"{made['id']}: " + (f"djinnbot mcp approve {made['id']}" if waits else made["status"]), markup=False)


def pairs(given: list[str] | None) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in given or () if "=" in pair)


@app.command("import")
def import_servers(
    file: Annotated[Path, typer.Argument(help="A file with `mcpServers`.", exists=True, dir_okay=False)],
) -> None:
    """Register the servers of another program's file; nothing is run."""
    servers = json.loads(file.read_text())["mcpServers"]
    for entry in Client().post("/v1/mcp/import", {"mcpServers": servers}):
        out.print(f"{entry['name']}: {entry['detail'] or entry['status']}", markup=False)


@app.command("approve")
def approve_server(server: Annotated[str, SERVER], yes: Annotated[bool, YES] = False) -> None:
    """Show what would be run, and let exactly that run."""
    client = Client()
    waits = client.get(f"/v1/mcp/{server}")["approval"]
    for name in ("argv", "cwd", "env_names", "sandbox"):
        out.print(f"{name}: {waits[name]}", markup=False, highlight=False)
    if not yes:
        typer.confirm("Let it run?", abort=True)
    client.post(f"/v1/mcp/{server}/approve", {"sha256": waits["sha256"]})
    out.print(f"{server} is approved")


@app.command("login")
def login_server(server: Annotated[str, SERVER]) -> None:
    """Print the address where you log in at a server."""
    out.print(Client().post(f"/v1/mcp/{server}/oauth/start")["authorization_url"], markup=False, highlight=False)


@app.command("discover")
def discover_server(server: Annotated[str, SERVER]) -> None:
    """Have a server's tools looked at now."""
    Client().post(f"/v1/mcp/{server}/discover")
    out.print(f"{server} is being looked at")


@app.command("call")
def call_tool(
    server: Annotated[str, SERVER],
    tool: Annotated[str, typer.Argument(help="Name of the tool.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments as a JSON object.")] = "{}",
    as_json: AsJson = False,
) -> None:
    """Try a tool out."""
    answer = Client().post(f"/v1/mcp/{server}/tools/{tool}/call", {"arguments": json.loads(arguments)})
    if as_json:
        print_json(answer)
        return
    for part in answer["content"]:
        out.print(part.get("text", part), markup=False, highlight=False)
    if answer["is_error"]:
        raise typer.Exit(1)


@app.command("grant")
def grant_server(
    server: Annotated[str, SERVER],
    agent: Annotated[str, typer.Argument(help="Id of the agent.")],
    tool: Annotated[str | None, typer.Option(help="Only this tool.")] = None,
) -> None:
    """Let an agent call a server's tools."""
    Client().post(f"/v1/mcp/agents/{agent}/{server}" + (f"/{tool}" if tool else ""))
    out.print(f"{agent} may call {tool or 'every tool'} of {server}")


@app.command("revoke")
def revoke_server(
    server: Annotated[str, SERVER], agent: Annotated[str, typer.Argument(help="Id of the agent.")]
) -> None:
    """Take a server's tools from an agent."""
    Client().delete(f"/v1/mcp/agents/{agent}/{server}")
    out.print(f"{agent} may call nothing of {server} any more")


@app.command("logs")
def show_logs(
    server: Annotated[str | None, typer.Argument(help="Id of the server; without it: of all.")] = None,
    tail: Annotated[int, typer.Option(help="How many lines.")] = 100,
) -> None:
    """Show the last lines that servers wrote."""
    for entry in Client().get("/v1/mcp/logs", server_id=server, tail=tail):
        out.print(f"{entry['ts']} {entry['server_id']} {entry['level']} {entry['line']}", markup=False, highlight=False)


@app.command("remove")
def remove_server(server: Annotated[str, SERVER]) -> None:
    """Remove a server with its tools and grants."""
    Client().delete(f"/v1/mcp/{server}")
    out.print(f"{server} is removed")
