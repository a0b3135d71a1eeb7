"""Agents as the API shows them: their folders, and what the database says they are at."""

from __future__ import annotations

import difflib
from typing import Any

from api import definitions
from models import agents, config, memories, skill_grants
from models.agents import AgentVersion
from models.errors import NotFound
from pipelines import personas
from pipelines.personas import FILES, PERSONA_FILES, Agent

PREVIEW = 500  # characters of SOUL.md
COPIED = ("id", "name", "emoji", "role", "description", "source", "valid", "version", "updated_at")


def find(agent_id: str) -> Agent:
    """Raises NotFound."""
    found = personas.load(config.get().agents_dir, agent_id)
    if found is None:
        raise NotFound(f"Agent {agent_id} not found", "agent_not_found")
    return found


def installed() -> list[Agent]:
    """All agents by id."""
    root = config.get().agents_dir
    loaded = (personas.load(root, id) for id in sorted(personas.installed(root)))
    return [agent for agent in loaded if agent is not None]


def one(agent: Agent, is_working: bool, memory_count: int | None = None) -> dict[str, Any]:
    """The Agent object. `memory_count`: as far as it is known."""
    count = memories.count(agent.id) if memory_count is None else memory_count
    return {name: getattr(agent, name) for name in COPIED} | {
        "model": agent.config.get("model"),
        "persona_files": [name for name in PERSONA_FILES if name in agent.files],
        "memory_count": count,
        "state": "working" if is_working else "idle",
        "problems": list(agent.problems),
    }


def detail(agent: Agent) -> dict[str, Any]:
    more = {"files": agent.files, "soul_preview": agent.files.get("SOUL.md", "")[:PREVIEW] or None}
    granted = [skill["name"] for skill in skill_grants.granted(agent.id)]
    return one(agent, agent.id in agents.at_work()) | more | {"skills": granted, "mcp_servers": []}


def status(agent: Agent) -> dict[str, Any]:
    active = agents.active_steps(agent.id).get(agent.id, [])
    shown = one(agent, agent.id in agents.at_work())
    return shown | {
        "status": shown["state"],
        "last_seen": agents.last_active([agent.id])[agent.id],
        "active_steps": active,
        "current_run": active[0]["run_id"] if active else None,
    }


def statuses() -> dict[str, Any]:
    """What all agents are at."""
    known = installed()
    active, waiting, seen = agents.active_steps(), agents.waiting_steps(), agents.last_active([a.id for a in known])
    busy = agents.at_work()
    shown = [
        {name: getattr(agent, name) for name in ("id", "name", "emoji", "role")}
        | {"state": "working" if agent.id in busy else "idle", "currentWork": _work(active.get(agent.id))}
        | {"queueLength": waiting.get(agent.id, 0), "lastActive": seen[agent.id]}
        for agent in known
    ]
    working = sum(agent["state"] == "working" for agent in shown)
    summary = {"total": len(shown), "idle": len(shown) - working, "working": working, "thinking": 0}
    return {"agents": shown, "summary": summary | {"totalQueued": sum(agent["queueLength"] for agent in shown)}}


def _work(active: list[dict[str, Any]] | None) -> dict[str, str] | None:
    return {"step": active[0]["step_id"], "runId": active[0]["run_id"]} if active else None


def run(row: dict[str, Any], agent_id: str) -> dict[str, Any]:
    """A run as an entry of an agent's runs."""
    owned = [step.key for step in definitions.pinned(row["pipeline_hash"]) if step.agent_id == agent_id]
    return {
        "run_id": row["id"],
        "task": row["task_head"],
        "task_description": row["task_head"],
        "step_ids": [f"{row['id']}_{key}" for key in owned],
        **{name: row[name] for name in ("pipeline_id", "status", "created_at", "started_at", "completed_at")},
    }


def version(kept: AgentVersion) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in ("number", "version", "source", "created_by", "created_at")}


def version_detail(kept: AgentVersion, before: AgentVersion | None) -> dict[str, Any]:
    old = before.files if before else {}
    files = {name: text for name, text in kept.files.items() if text}
    return version(kept) | {"files": files, "diff": "".join(_diff(name, old, kept.files) for name in FILES)}


def _diff(name: str, old: dict[str, str], new: dict[str, str]) -> str:
    before, after = (f"{texts.get(name, '')}".splitlines(keepends=True) for texts in (old, new))
    lines = difflib.unified_diff(before, after, name, name)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
