"""Skills as the API shows them."""

from __future__ import annotations

from typing import Any

from models import database, skill_grants, skills
from models.base import dumps
from models.skill_grants import GRANTS, HAS
from models.skills import Skill, SkillVersion

COLUMNS = ("scope", "owner_agent_id", "created_by", "source", "uses", "last_used_at", "created_at", "updated_at")
MANIFEST = ("description", "tags", "version")
LISTED = ("version", "sha256", "created_by", "created_at")
VERSION = "v.version, v.sha256, v.description, v.tags, v.frontmatter, v.files"
SELECT = (
    f"SELECT s.*, {VERSION}{{content}} FROM skills s LEFT JOIN skill_versions v ON v.name = s.name AND v.version = "
)


def page(
    limit: int,
    after: str | None,
    *,
    enabled: bool | None = None,
    scope: str | None = None,
    tag: str | None = None,
    q: str | None = None,
    content: bool = True,
) -> list[dict[str, Any]]:
    """Up to `limit` Skill objects by name, beyond `after`; `content` False leaves it out."""
    where, params = ["s.deleted_at IS NULL", "s.name > ?"], [after or ""]
    if enabled is not None:
        where.append("s.enabled" if enabled else "NOT s.enabled")
    if scope:
        where.append("s.scope = ?")
        params.append(scope)
    if tag:
        where.append("v.tags LIKE ? ESCAPE '\\'")
        params.append(f"%{database.literal(dumps(tag))}%")
    if q:
        where.append("(s.name LIKE ? ESCAPE '\\' OR lower(v.description) LIKE ? ESCAPE '\\')")
        params += [f"%{database.literal(q.lower())}%"] * 2
    return _objects(f"WHERE {' AND '.join(where)} ORDER BY s.name LIMIT ?", [*params, limit], content)


def one(name: str, number: int | None = None) -> dict[str, Any]:
    """The Skill object, with the text of an older version if one is asked for. Raises NotFound."""
    skills.find(name)
    if number is not None:
        skills.version(name, number)
    return _objects("WHERE s.name = ?", [name], True, number)[0]


def _objects(condition: str, params: list[Any], content: bool, number: int | None = None) -> list[dict[str, Any]]:
    select = SELECT.format(content=", v.content" if content else ", NULL AS content")
    wanted = "s.version" if number is None else f"{number:d}"
    return [_object(row) for row in database.rows(f"{select}{wanted} {condition}", params)]


def _object(row: dict[str, Any]) -> dict[str, Any]:
    problems = Skill.problems.python_value(row["problems"])
    files = SkillVersion.files.python_value(row["files"]) or []
    return {
        "id": row["name"],
        "name": row["name"],
        "description": row["description"] or "",
        "tags": SkillVersion.tags.python_value(row["tags"]) or [],
        "content": row["content"],
        "enabled": bool(row["enabled"]),
        "default_grant": bool(row["default_grant"]),
        "has_files": bool(files),
        "files": files,
        "frontmatter": SkillVersion.frontmatter.python_value(row["frontmatter"]) or {},
        "version": row["version"] or 0,
        "sha256": row["sha256"] or "",
        "valid": not problems,
        "problems": problems,
        **{name: row[name] for name in COLUMNS},
    }


def manifest(agent_id: str) -> dict[str, Any]:
    """The enabled skills that the agent has, and the lines in its prompt."""
    found = skill_grants.granted(agent_id)
    return {
        "skills": [{"id": skill["name"], **{name: skill[name] for name in MANIFEST}} for skill in found],
        "manifest_text": skill_grants.lines(found),
    }


def version(kept: SkillVersion, current: int) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in LISTED} | {"current": kept.version == current}


def version_detail(kept: SkillVersion, current: int) -> dict[str, Any]:
    fields = ("name", "description", "tags", "content", "frontmatter", "files")
    return version(kept, current) | {name: getattr(kept, name) for name in fields}


def of_agent(agent_id: str) -> list[dict[str, Any]]:
    """What the agent has, disabled skills too, by name."""
    sql = (
        "SELECT s.name AS id, v.description, v.tags, s.enabled, s.scope, s.owner_agent_id,"
        " g.granted_by, g.granted_at FROM skills s"
        " JOIN skill_versions v ON v.name = s.name AND v.version = s.version "
        f"{GRANTS} WHERE {HAS} ORDER BY s.name"
    ).replace("{agent}", "?")
    found = database.rows(sql, (agent_id, agent_id))
    return [
        row | {"tags": SkillVersion.tags.python_value(row["tags"]), "enabled": bool(row["enabled"])} for row in found
    ]
