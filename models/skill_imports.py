"""Skills from elsewhere: what was fetched, and what an admin has decided about it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import peewee

from models import database, skills
from models.base import JSONField, Model, new_id, now_ms
from models.errors import Conflict, NotFound

QUEUED, PROPOSED, FAILED, APPROVED = STATUSES = ("queued", "proposed", "failed", "approved")
SHOWN = ("id", "status", "url", "ref", "path", "archive_sha256", "error", "created_by", "created_at", "updated_at")


class SkillImport(Model):
    id = peewee.TextField(primary_key=True)
    status = peewee.TextField(default=QUEUED)
    url = peewee.TextField()
    ref = peewee.TextField(null=True)
    path = peewee.TextField(null=True)  # of a folder in the archive
    sha256 = peewee.TextField(null=True)  # what the archive must have
    archive_sha256 = peewee.TextField(null=True)  # what it had
    skills = JSONField(default=list)  # [{document, files: [{path, size, sha256}], name, description, problems}]
    error = peewee.TextField(null=True)
    created_by = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "skill_imports"


def add(by: str | None, **given: Any) -> SkillImport:
    now = now_ms()
    row = {"id": new_id("imp_"), "created_by": by, "created_at": now, "updated_at": now}
    SkillImport.add(row | given)
    return find(row["id"])


def find(id: str) -> SkillImport:
    """Raises NotFound."""
    found = SkillImport.fetch("id = ?", (id,))
    if not found:
        raise NotFound(f"Import {id} not found", "import_not_found")
    return found[0]


def settle(made: SkillImport, status: str, **columns: Any) -> None:
    for name, value in (columns | {"status": status, "updated_at": now_ms()}).items():
        setattr(made, name, value)
    made.save()


def refuse_unless_proposed(made: SkillImport) -> None:
    """Raises Conflict."""
    if made.status != PROPOSED:
        raise Conflict(f"Import {made.id} is {made.status}", "import_not_proposed", allowed=[])


def view(made: SkillImport) -> dict[str, Any]:
    """The import as the API shows it; `replaces`: the version that approving would replace."""
    current = _current([entry["name"] for entry in made.skills])
    proposed = [
        {name: entry[name] for name in ("name", "description", "files", "problems")}
        | {"replaces": current.get(entry["name"])}
        for entry in made.skills
    ]
    return {name: getattr(made, name) for name in SHOWN} | {"skills": proposed}


def _current(names: Collection[str]) -> dict[str, int]:
    marks = ", ".join("?" * len(names)) or "''"
    sql = f"SELECT name, version FROM skills WHERE deleted_at IS NULL AND name IN ({marks})"
    return dict(database.execute(sql, list(names)).fetchall())


def companions(entry: dict[str, Any]) -> dict[str, bytes]:
    """{path: bytes} of a proposed skill."""
    data = skills.blobs({file["sha256"] for file in entry["files"]})
    return {file["path"]: data[file["sha256"]] for file in entry["files"]}
