"""Every tool by its name."""

from __future__ import annotations

from itertools import chain

from workers.tools import files, memory, pulls, shell, skills, tasks
from workers.tools.base import Tool


def tools() -> dict[str, Tool]:
    groups = (files, shell, skills, tasks, pulls, memory)
    return {tool.name: tool for tool in chain.from_iterable(group.tools() for group in groups)}
