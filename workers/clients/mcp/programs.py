"""From an approved entry to a program in a sandbox: where its command is, what it may see, what its end means."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from models import config
from models.errors import ConfigError
from workers.clients import sandbox
from workers.clients.mcp.stdio import Program, Say
from workers.clients.sandbox import ENVIRONMENT, Box

NOT_THERE = re.compile(r"ENOENT|No such file|Cannot find module|can't open file|not found", re.IGNORECASE)
NO_NETWORK = re.compile(r"ENOTFOUND|EAI_AGAIN|name resolution|getaddrinfo|ECONNREFUSED|ENETUNREACH", re.IGNORECASE)
HIDDEN_HINT = "the sandbox shows only the system's programs and what read_paths and write_paths name"
NETWORK_HINT = "it has no network: set sandbox.network if it needs one"


def program(server_id: str, entry: dict[str, Any], box: Mapping[str, Any], say: Say, ended: Callable) -> Program:
    """The program of an entry whose secrets are filled in. Raises ConfigError, Unavailable."""
    home = config.get().mcp_dir / server_id
    home.mkdir(parents=True, exist_ok=True)
    path, readable = _found(entry["command"])
    readable += checked_paths(box["read_paths"])
    writable = tuple(checked_paths(box["write_paths"]))
    wanted = Box(box["network"], tuple(readable), writable, entry.get("cwd"))
    argv = sandbox.command([path, *entry.get("args", [])], home, wanted)
    bare = config.get().sandbox == "none"
    env = ENVIRONMENT | {"HOME": str(home) if bare else sandbox.HOME}
    if "/" in path:
        env["PATH"] = f"{Path(path).parent}:{env['PATH']}"
    cwd = Path(entry["cwd"]) if bare and entry.get("cwd") else home
    return Program(argv, env | entry.get("env", {}), cwd, say, ended)


def _found(command: str) -> tuple[str, list[Path]]:
    """(the command, or where it is outside the system's folders; the folders that it needs to run)."""
    if shutil.which(command, path=ENVIRONMENT["PATH"]) and "/" not in command:
        return command, []
    own = f"{config.environment().get('PATH', '')}:{Path(sys.executable).parent}"
    found = shutil.which(command, path=own)
    if found is None:
        raise ConfigError(f"there is no program {command}")
    path = Path(found).absolute()
    if any(path.is_relative_to(folder) for folder in sandbox.SYSTEM):
        return str(path), []
    return str(path), list(_belongings(path))


def _belongings(path: Path) -> Iterator[Path]:
    """A program of a virtual environment or of a node installation brings that; any other one only itself."""
    prefix = path.parent.parent
    settings = prefix / "pyvenv.cfg"
    if settings.exists():
        yield prefix
        home = re.search(r"(?m)^home\s*=\s*(.+)$", settings.read_text())
        base = Path(home[1].strip()).parent if home else prefix
        if not any(base.is_relative_to(folder) for folder in sandbox.SYSTEM):
            yield base
    elif (prefix / "lib" / "node_modules").is_dir():
        yield prefix
    else:
        yield path


def checked_paths(given: list[str]) -> list[Path]:
    """Raises ConfigError for one that is not there, or that would show this server's own keys."""
    return [_checked(Path(path)) for path in given]


def _checked(path: Path) -> Path:
    settings = config.get()
    real = path.resolve()
    for own in (settings.keys_file, settings.token_file, settings.sqlite_path):
        if own.resolve().is_relative_to(real):
            raise ConfigError(f"{path} holds this server's own files")
    if not real.exists():
        raise ConfigError(f"there is no {path}")
    return path


def explained(reason: str, box: Mapping[str, Any]) -> str:
    """The reason, with what the sandbox may have to do with it."""
    if not box["network"] and NO_NETWORK.search(reason):
        return f"{reason} ({NETWORK_HINT})"
    return f"{reason} ({HIDDEN_HINT})" if NOT_THERE.search(reason) else reason
