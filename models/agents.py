"""What the database knows of agents: the versions of their files, and what they are at."""

from __future__ import annotations

from typing import Any

import peewee

from models import database
from models.base import JSONField, Model, now_ms
from models.errors import NotFound

KEPT_VERSIONS = 50
WORKING = "v.status = 'running' AND v.owner IS NOT NULL AND v.agent_id IS NOT NULL"
ANSWERING = "status = 'running' AND owner IS NOT NULL"
WAITING = "v.status IN ('queued', 'retrying') AND v.agent_id IS NOT NULL"


class AgentVersion(Model):
    agent_id = peewee.TextField()
    number = peewee.IntegerField()
    version = peewee.TextField()  # the ETag
    files = JSONField()  # {file: text}, all that count
    source = peewee.TextField()  # api, or disk: found there, changed by hand
    created_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "agent_versions"
        primary_key = peewee.CompositeKey("agent_id", "number")


def keep(agent_id: str, version: str, files: dict[str, str], source: str, by: str | None = None) -> None:
    """One more version, unless it is the last one; in the enclosing transaction."""
    last = latest(agent_id)
    if last is not None and last.version == version:
        return
    number = last.number + 1 if last else 1
    row = {"agent_id": agent_id, "number": number, "version": version, "files": files, "source": source}
    AgentVersion.add(row | {"created_by": by, "created_at": now_ms()})
    old = (AgentVersion.agent_id == agent_id) & (AgentVersion.number <= number - KEPT_VERSIONS)
    AgentVersion.delete().where(old).execute()


def latest(agent_id: str) -> AgentVersion | None:
    found = AgentVersion.fetch("agent_id = ? ORDER BY number DESC LIMIT 1", (agent_id,))
    return found[0] if found else None


def versions(agent_id: str) -> list[AgentVersion]:
    """Newest first."""
    return AgentVersion.fetch("agent_id = ? ORDER BY number DESC", (agent_id,))


def version(agent_id: str, number: int) -> tuple[AgentVersion, AgentVersion | None]:
    """(the version, the one before if it is kept). Raises NotFound."""
    kept = AgentVersion.fetch("agent_id = ? AND number IN (?, ?) ORDER BY number", (agent_id, number - 1, number))
    if not kept or kept[-1].number != number:
        raise NotFound(f"Agent {agent_id} has no version {number}", "version_not_found")
    return kept[-1], kept[0] if len(kept) == 2 else None


def active_steps(agent_id: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """{agent: `[{run_id, step_id, started_at}]`} of the steps that workers are at, longest first."""
    condition, params = (" AND v.agent_id = ?", (agent_id,)) if agent_id else ("", ())
    sql = f"SELECT v.agent_id, v.run_id, v.step_key, v.started_at FROM visits v WHERE {WORKING}{condition}"
    found: dict[str, list[dict[str, Any]]] = {}
    for agent, run_id, key, started_at in database.execute(f"{sql} ORDER BY v.started_at", params).fetchall():
        found.setdefault(agent, []).append({"run_id": run_id, "step_id": key, "started_at": started_at})
    return found


def at_work() -> set[str]:
    """The agents that are at a step or at an answer of a chat."""
    steps = f"SELECT v.agent_id FROM visits v WHERE {WORKING}"
    sessions = f"SELECT session_id FROM chat_messages WHERE {ANSWERING}"
    rows = database.execute(f"{steps} UNION SELECT agent_id FROM chat_sessions WHERE id IN ({sessions})").fetchall()
    return {agent_id for (agent_id,) in rows}


def waiting_steps() -> dict[str, int]:
    """{agent: how many steps wait for a worker}."""
    sql = f"SELECT v.agent_id, count(*) FROM visits v WHERE {WAITING} GROUP BY v.agent_id"
    return dict(database.execute(sql).fetchall())


def last_active(agents: list[str]) -> dict[str, int | None]:
    """{agent: when it last began or ended a step (ms), in the newest run that it has a step in}."""
    sql = (
        "SELECT max(coalesce(completed_at, started_at)) FROM visits WHERE agent_id = ?"
        " AND run_id = (SELECT max(run_id) FROM run_agents WHERE agent_id = ?)"
    )
    return {agent: database.execute(sql, (agent, agent)).fetchone()[0] for agent in agents}
