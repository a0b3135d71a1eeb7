"""Keys that older clients send along and that mean nothing here: accepted, neither stored nor answered."""

from __future__ import annotations

from typing import Any

AGENT_KEYS = ("threadmode", "coordination")
AGENT_PREFIXES = ("pulse",)


def without_ignored(config: dict[str, Any]) -> dict[str, Any]:
    """An agent's configuration as far as it means something."""
    return {name: value for name, value in config.items() if not _is_ignored(name.replace("_", "").lower())}


def _is_ignored(name: str) -> bool:
    return name in AGENT_KEYS or name.startswith(AGENT_PREFIXES)
