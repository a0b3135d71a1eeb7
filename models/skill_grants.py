"""Which agents have which skills, and which version of them a run keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peewee

from models import database
from models.base import Model, now_ms
from models.errors import Conflict, NotFound
from models.skills import AGENT, Skill, SkillVersion


class SkillGrant(Model):
    """`granted` false: taken from the agent although everybody has it."""

    name = peewee.TextField()
    agent_id = peewee.TextField(index=True)
    granted = peewee.BooleanField()
    granted_at = peewee.BigIntegerField()
    granted_by = peewee.TextField(null=True)

    class Meta:
        table_name = "skill_grants"
        primary_key = peewee.CompositeKey("name", "agent_id")


class SkillPin(Model):
    """What an agent of a run has, as it was when the run began."""

    run_id = peewee.TextField()
    agent_id = peewee.TextField()
    name = peewee.TextField()
    version = peewee.IntegerField()

    class Meta:
        table_name = "skill_pins"
        primary_key = peewee.CompositeKey("run_id", "agent_id", "name")


# Of agent `{agent}`, with skills s and grants g outer-joined for that agent.
HAS = (
    "s.deleted_at IS NULL AND s.version > 0 AND ((s.scope = 'global' AND coalesce(g.granted, s.default_grant))"
    " OR (s.scope = 'agent' AND s.owner_agent_id = {agent} AND coalesce(g.granted, TRUE)))"
)
GRANTS = "LEFT JOIN skill_grants g ON g.name = s.name AND g.agent_id = {agent}"


# --- reading ---


def granted(agent_id: str) -> list[dict[str, Any]]:
    """`[{name, description, tags, version}]` of the enabled skills that the agent has now, by name."""
    sql = (
        "SELECT s.name, v.description, v.tags, s.version FROM skills s"
        " JOIN skill_versions v ON v.name = s.name AND v.version = s.version "
        f"{GRANTS} WHERE s.enabled AND {HAS} ORDER BY s.name"
    ).replace("{agent}", "?")
    return _listed(sql, (agent_id, agent_id))


def lines(listed: Sequence[dict[str, Any]]) -> str:
    """A line for each skill, whatever its description says."""
    return "\n".join(f"- {skill['name']}: {' '.join(skill['description'].split())}" for skill in listed)


def pinned(run_id: str) -> list[dict[str, Any]]:
    """`[{agent_id, name, description, tags, version}]` of what the run's agents have, by name."""
    sql = (
        "SELECT p.agent_id, p.name, v.description, v.tags, p.version FROM skill_pins p"
        " JOIN skill_versions v ON v.name = p.name AND v.version = p.version WHERE p.run_id = ? ORDER BY p.name"
    )
    return _listed(sql, (run_id,))


def _listed(sql: str, params: Sequence[Any]) -> list[dict[str, Any]]:
    return [row | {"tags": SkillVersion.tags.python_value(row["tags"])} for row in database.rows(sql, params)]


def pin(run_id: str) -> None:
    """Keeps for the run what its agents have now; in the transaction that starts it."""
    sql = (
        "INSERT INTO skill_pins (run_id, agent_id, name, version)"
        " SELECT a.run_id, a.agent_id, s.name, s.version FROM run_agents a JOIN skills s ON s.enabled "
        f"{GRANTS} WHERE a.run_id = ? AND {HAS}"
    ).replace("{agent}", "a.agent_id")
    database.execute(sql, (run_id,))


def take_over_pins(run_id: str, source_id: str) -> None:
    """A fork has what its source had."""
    sql = "INSERT INTO skill_pins SELECT ?, agent_id, name, version FROM skill_pins WHERE run_id = ?"
    database.execute(sql, (run_id, source_id))


# --- writing, all in the caller's transaction ---


def grant(skill: Skill, agent_id: str, by: str | None) -> bool:
    """Whether that changed anything. Raises Conflict."""
    if skill.scope == AGENT and skill.owner_agent_id != agent_id:
        raise Conflict(f"{skill.name} belongs to {skill.owner_agent_id}", "skill_owned")
    return _decide(skill, agent_id, True, by)


def revoke(skill: Skill, agent_id: str, by: str | None) -> None:
    """Raises NotFound if the agent does not have it."""
    if not has(skill.name, agent_id):
        raise NotFound(f"{agent_id} has not been granted {skill.name}", "grant_not_found")
    _decide(skill, agent_id, False, by)


def _decide(skill: Skill, agent_id: str, granted: bool, by: str | None) -> bool:
    found = SkillGrant.fetch("name = ? AND agent_id = ?", (skill.name, agent_id))
    if found and found[0].granted == granted:
        return False
    where = (SkillGrant.name == skill.name) & (SkillGrant.agent_id == agent_id)
    SkillGrant.delete().where(where).execute()
    key = {"name": skill.name, "agent_id": agent_id}
    SkillGrant.add(key | {"granted": granted, "granted_at": now_ms(), "granted_by": by})
    return True


def has(name: str, agent_id: str) -> bool:
    """Whether the agent has the skill, enabled or not."""
    sql = f"SELECT 1 FROM skills s {GRANTS} WHERE s.name = ? AND {HAS}".replace("{agent}", "?")
    return database.execute(sql, (agent_id, name, agent_id)).fetchone() is not None
