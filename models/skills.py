"""Skills: instructions for agents, in immutable versions.

A skill stands in a folder and in a row. Which of the two has changed and must be followed by the other is in the row:
`behind` and `disk_mark` (`workers/skill_folders.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import peewee

from models import database
from models.base import JSONField, Model, now_ms
from models.errors import NotFound

GLOBAL, AGENT = SCOPES = ("global", "agent")


class Skill(Model):
    """The row of a deleted skill stays, so that nothing brings it back and its versions go on being numbered."""

    name = peewee.TextField(primary_key=True)
    scope = peewee.TextField(default=GLOBAL)
    owner_agent_id = peewee.TextField(null=True)
    default_grant = peewee.BooleanField(default=False)  # every agent has it unless it was revoked
    enabled = peewee.BooleanField(default=True)
    version = peewee.IntegerField(default=0)  # the current one; 0: there was never a valid one
    sha256 = peewee.TextField(default="")  # of the current version
    source = peewee.TextField()  # builtin, api, disk, import
    created_by = peewee.TextField(null=True)
    problems = JSONField(default=list)  # of the folder; the current version stays in use
    behind = peewee.BooleanField(default=False)  # the row was changed, and the folder has yet to follow
    disk_mark = peewee.TextField(default="")  # how the folder looked when the two were brought together
    uses = peewee.IntegerField(default=0)
    last_used_at = peewee.BigIntegerField(null=True)
    deleted_at = peewee.BigIntegerField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "skills"


class SkillVersion(Model):
    name = peewee.TextField()
    version = peewee.IntegerField()
    sha256 = peewee.TextField()
    description = peewee.TextField()
    tags = JSONField(default=list)
    content = peewee.TextField()
    frontmatter = JSONField()
    files = JSONField(default=list)  # [{path, size, sha256}] of blobs
    created_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()

    class Meta:
        table_name = "skill_versions"
        primary_key = peewee.CompositeKey("name", "version")


class SkillBlob(Model):
    sha256 = peewee.TextField(primary_key=True)
    data = peewee.BlobField()

    class Meta:
        table_name = "skill_blobs"


# --- reading ---


def find(name: str) -> Skill:
    """Raises NotFound."""
    found = known(name)
    if found is None or found.deleted_at:
        raise NotFound(f"Skill {name} not found", "skill_not_found")
    return found


def known(name: str) -> Skill | None:
    """The row of that name, a deleted one's too."""
    found = Skill.fetch("name = ?", (name,))
    return found[0] if found else None


def version(name: str, number: int) -> SkillVersion:
    """Raises NotFound."""
    found = SkillVersion.fetch("name = ? AND version = ?", (name, number))
    if not found:
        raise NotFound(f"Skill {name} has no version {number}", "version_not_found")
    return found[0]


def versions(name: str) -> list[SkillVersion]:
    """Newest first."""
    return SkillVersion.fetch("name = ? ORDER BY version DESC", (name,))


def files(kept: SkillVersion) -> dict[str, bytes]:
    """{path: bytes} of a version's companions."""
    data = blobs({file["sha256"] for file in kept.files})
    return {file["path"]: data[file["sha256"]] for file in kept.files}


def blobs(hashes: Collection[str]) -> dict[str, bytes]:
    if not hashes:
        return {}
    marks = ", ".join("?" * len(hashes))
    found = database.execute(f"SELECT sha256, data FROM skill_blobs WHERE sha256 IN ({marks})", list(hashes))
    return {sha256: bytes(data) for sha256, data in found.fetchall()}


def file(kept: SkillVersion, path: str) -> bytes:
    """One companion. Raises NotFound."""
    found = next((file for file in kept.files if file["path"] == path), None)
    if found is None:
        raise NotFound(f"{kept.name} has no file {path[:200]}", "file_not_found")
    return blobs([found["sha256"]])[found["sha256"]]


def used(name: str) -> None:
    """An agent has read it."""
    database.execute("UPDATE skills SET uses = uses + 1, last_used_at = ? WHERE name = ?", (now_ms(), name))


def deleted() -> list[str]:
    """The names of the deleted skills."""
    return [row[0] for row in database.execute("SELECT name FROM skills WHERE deleted_at IS NOT NULL").fetchall()]


def marks() -> dict[str, str | None]:
    """{name: how its folder looked when it was read last, None if it must be written or removed}."""
    sql = "SELECT name, CASE WHEN behind THEN NULL ELSE disk_mark END FROM skills"
    return dict(database.execute(sql).fetchall())


def is_version(name: str, sha256: str) -> bool:
    """Whether that content is kept."""
    sql = "SELECT 1 FROM skill_versions WHERE name = ? AND sha256 = ?"
    return database.execute(sql, (name, sha256)).fetchone() is not None


# --- writing, all in the caller's transaction ---


def add(name: str, source: str, by: str | None, **columns: Any) -> Skill:
    """A row without a version; a deleted one of that name is used again."""
    now = now_ms()
    fresh = {
        "source": source,
        "created_by": by,
        "deleted_at": None,
        "problems": [],
        "version": 0,
        "sha256": "",
        "created_at": now,
    }
    scope = {"scope": GLOBAL, "owner_agent_id": None, "default_grant": False, "enabled": True, "updated_at": now}
    skill = known(name)
    if skill is None:
        Skill.add({"name": name} | fresh | scope | columns)
        return find(name)
    for column, value in (fresh | scope | columns).items():
        setattr(skill, column, value)
    skill.save()
    return skill


def add_version(skill: Skill, row: dict[str, Any], data: Collection[bytes], by: str | None) -> None:
    """A new current version. `row`: columns of SkillVersion; `data`: its companions, in the order of `row["files"]`."""
    for file, content in zip(row["files"], data, strict=True):
        keep_blob(file["sha256"], content)
    newest = database.execute("SELECT max(version) FROM skill_versions WHERE name = ?", (skill.name,)).fetchone()[0]
    skill.version, skill.sha256 = (newest or 0) + 1, row["sha256"]
    given = {"name": skill.name, "version": skill.version, "created_by": by, "created_at": now_ms()}
    SkillVersion.add(row | given)


def keep_blob(sha256: str, data: bytes) -> None:
    """Stores the bytes unless they are stored already."""
    sql = "INSERT INTO skill_blobs (sha256, data) VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING"
    database.execute(sql, (sha256, data))


def touch(skill: Skill, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(skill, name, value)
    skill.updated_at = now_ms()
    skill.save()


def forget(skill: Skill) -> None:
    """Deletes it, its grants too; versions stay for the runs that have them."""
    database.execute("DELETE FROM skill_grants WHERE name = ?", (skill.name,))
    touch(skill, deleted_at=now_ms(), problems=[], behind=True)
