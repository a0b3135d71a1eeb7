"""The tool `bash`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models import config
from workers.clients import sandbox
from workers.tools.base import Context, Tool, parameters

MAX_COMMAND = 100_000  # characters; one argument of a program may have 128 KiB


def bash(context: Context, arguments: dict[str, Any]) -> str:
    timeout = min(arguments.get("timeout", context.timeout), context.timeout)
    result = sandbox.run(
        ["bash", "-c", arguments["command"]],
        context.workspace,
        timeout=timeout,
        env=context.env,
    )
    if result.timed_out:
        return f"{result.output}\n(stopped after {timeout:g} seconds)"
    if result.exit_code:
        return f"{result.output}\n(exit code {result.exit_code})"
    return result.output or "(no output)"


def tools() -> Iterator[Tool]:
    yield Tool(
        "bash",
        "Run a bash command in the workspace and get its output. There is no network; only the workspace and /tmp can "
        "be written, and /tmp is empty each time. `timeout` is in seconds.",
        parameters(
            ("command",),
            command={"type": "string", "minLength": 1, "maxLength": MAX_COMMAND},
            timeout={"type": "number", "exclusiveMinimum": 0},
        ),
        bash,
        # in the sandbox nothing but the workspace can change, and the agent sees what a repeat finds there
        effect="unsafe" if config.get().sandbox == "none" else "idempotent",
    )
