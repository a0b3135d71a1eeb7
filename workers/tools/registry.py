"""Every tool by its name."""

from __future__ import annotations

from itertools import chain

from workers.tools import files, shell, skills, tasks
from workers.tools.base import Tool


def tools() -> dict[str, Tool]:
    return {tool.name: tool for tool in chain(files.tools(), shell.tools(), skills.tools(), tasks.tools())}
