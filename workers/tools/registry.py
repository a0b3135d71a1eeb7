"""Every tool by its name."""

from __future__ import annotations

from itertools import chain

from workers.tools import files, memory, shell, skills, tasks
from workers.tools.base import Tool


def tools() -> dict[str, Tool]:
    listed = chain(files.tools(), shell.tools(), skills.tools(), tasks.tools(), memory.tools())
    return {tool.name: tool for tool in listed}
