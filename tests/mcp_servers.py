"""Real MCP servers for the tests: from PyPI in the tests' own environment, from npm beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from api.client import Client
from tests.platform import free_port, wait_for

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
NODE = ROOT / "tests/npm/node_modules"
EVERYTHING = NODE / "@modelcontextprotocol/server-everything/dist/index.js"
FILESYSTEM = NODE / "@modelcontextprotocol/server-filesystem/dist/index.js"
DISCOVERED_SECONDS = 5.0 + 5.0  # the promise, and what a busy test machine may add

TIME = {"name": "time", "config": {"command": str(BIN / "mcp-server-time")}}


def git(repository: Path) -> dict[str, Any]:
    config = {"command": str(BIN / "mcp-server-git"), "args": ["--repository", str(repository)]}
    return {"name": "git", "config": config, "sandbox": {"read_paths": [str(repository)]}}


def filesystem(folder: Path) -> dict[str, Any]:
    config = {"command": "node", "args": [str(FILESYSTEM), str(folder)]}
    return {"name": "files", "config": config, "sandbox": {"read_paths": [str(NODE)], "write_paths": [str(folder)]}}


def everything() -> dict[str, Any]:
    config = {"command": "node", "args": [str(EVERYTHING)]}
    return {"name": "everything", "config": config, "sandbox": {"read_paths": [str(NODE)]}}


@contextmanager
def served(transport: str, port: int | None = None) -> Iterator[int]:
    """server-everything over HTTP; the port it listens on."""
    port = port or free_port()
    environment = os.environ | {"PORT": str(port)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["node", str(EVERYTHING), transport], env=environment, **quiet)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def register(client: Client, entry: dict[str, Any]) -> str:
    """Registers a server and approves it, as a person who has read what it is; returns its id."""
    server = client.post("/v1/mcp", entry)
    if server["approval"]["state"] == "pending":
        client.post(f"/v1/mcp/{server['id']}/approve", {"sha256": server["approval"]["sha256"]})
    return server["id"]


def running(client: Client, server_id: str, seconds: float = 30.0) -> dict[str, Any]:
    """The server once it runs."""

    def look() -> dict[str, Any]:
        server = client.get(f"/v1/mcp/{server_id}")
        assert server["status"] == "running", f"{server['status']}: {server['status_reason']}"
        return server

    return wait_for(look, seconds)


def failed(client: Client, server_id: str, seconds: float = 30.0) -> str:
    """Why the server does not run, once it is found out."""

    def look() -> str:
        server = client.get(f"/v1/mcp/{server_id}")
        assert server["status"] == "error", server["status"]
        return server["status_reason"]

    return wait_for(look, seconds)


def discovered(client: Client, entry: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """(the registered server once it runs, seconds from its approval until then)."""
    server_id = register(client, entry)
    began = time.monotonic()
    return running(client, server_id), time.monotonic() - began


HOSTILE = ROOT / "tests" / "fixtures" / "mcp" / "hostile.py"


def hostile(mode: str, file: Path | None = None, name: str | None = None, **config: Any) -> dict[str, Any]:
    """The server that means ill; `file` is what mode `file` reads."""
    files = [str(HOSTILE), *([str(file)] if file else [])]
    arguments = [str(HOSTILE), mode, *files[1:]]
    entry = {"command": "/usr/bin/python3", "args": arguments, "timeout": 5} | config
    return {"name": name or mode.replace("_", "-"), "config": entry, "sandbox": {"read_paths": files}}
