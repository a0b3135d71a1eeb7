"""Finding a tool of an MCP server by words, so that nobody has to read every schema."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from models import mcp_grants, mcp_views

SHOWN = ("server_id", "server_name", "name", "description")
NAME_WEIGHT, DESCRIPTION_WEIGHT = 3, 1  # of a word that is found there


def best(query: str, limit: int, agent_id: str | None = None) -> list[dict[str, Any]]:
    """`[{server_id, server_name, name, title, description}]` of usable tools, of an agent's if one is named."""
    if agent_id is None:
        return ranked(mcp_views.usable(), query)[:limit]
    offers = mcp_grants.load().get(agent_id, [])
    listed = ({name: getattr(offer, name) for name in SHOWN} | {"title": None} for offer in offers)
    return ranked(listed, query)[:limit]


def ranked(tools: Iterable[dict[str, Any]], query: str) -> list[dict[str, Any]]:
    """Those that have any of the words, best first; of equals in their order."""
    words = re.findall(r"\w+", query.lower())
    scored = [(score(words, f"{tool['server_id']} {tool['name']}", tool["description"]), tool) for tool in tools]
    return [tool for points, tool in sorted(scored, key=lambda pair: -pair[0]) if points]


def score(words: list[str], name: str, description: str) -> int:
    name, description = name.lower(), description.lower()
    return sum(NAME_WEIGHT * (word in name) + DESCRIPTION_WEIGHT * (word in description) for word in words)
