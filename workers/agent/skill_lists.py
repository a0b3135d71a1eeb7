"""The skills that an agent may load, as its prompt lists them: names and descriptions only."""

from __future__ import annotations

from typing import Any

from models import database, skill_grants
from workers.walks import Walk

HEADING = (
    "## Skills\n"
    "Instructions that you can load with the tool `load_skill`. Before you begin, load those that fit your task."
)


def of_run(walk: Walk, agent_id: str) -> list[dict[str, Any]]:
    """What the agent had when the run began; looked up once per walk."""
    if walk.skills is None:
        with database.connection():
            walk.skills = skill_grants.pinned(walk.run.id)
    return [skill for skill in walk.skills if skill["agent_id"] == agent_id]


def of_agent(agent_id: str) -> list[dict[str, Any]]:
    """What the agent has now."""
    with database.connection():
        return skill_grants.granted(agent_id)


def section(listed: list[dict[str, Any]]) -> str:
    """The end of a system prompt, "" without skills."""
    return f"\n\n{HEADING}\n{skill_grants.lines(listed)}" if listed else ""
