"""The tools of MCP servers that an agent may call: as granted when its walk, or its answer in a chat, begins."""

from __future__ import annotations

import time

from models import mcp_grants
from models.mcp_grants import Offer
from workers.agent.grants import FRESH_SECONDS
from workers.walks import Walk


def of_run(walk: Walk, agent_id: str) -> list[Offer]:
    """What was granted a second before the step at the latest."""
    now = time.monotonic()
    if now - walk.offers_read > FRESH_SECONDS:
        mcp_grants.look_again()
        walk.offers_read = now
    return mcp_grants.offers(agent_id)


def of_agent(agent_id: str) -> list[Offer]:
    """What is granted now."""
    mcp_grants.look_again()
    return mcp_grants.offers(agent_id)
