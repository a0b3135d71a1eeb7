"""Secrets as the API shows them: everything but their values."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from models import crypto, database
from models.errors import Unreadable
from models.redaction import NOTHING, SHORTEST, Redactor
from models.secrets import TYPES, Secret, SecretGrant, SecretVersion, decrypted, granted

SHORTEST_MASKED = 16  # characters; a mask of less would give too much away
COPIED = ("id", "name", "description", "secret_type", "env_key", "version", "key_id")
TIMES = ("last_used_at", "last_used_by", "created_at", "updated_at")
SELECT = (
    "SELECT s.*, v.value, v.key_id FROM secrets s"
    " JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.version"
)


def page(limit: int, after: str | None, q: str | None = None, agent_id: str | None = None) -> list[dict[str, Any]]:
    """Up to `limit` Secret objects by name, beyond the name `after` (in lower case)."""
    where, params = ["s.name_key > ?"], [after or ""]
    if q:
        where.append("(s.name_key LIKE ? ESCAPE '\\' OR lower(s.description) LIKE ? ESCAPE '\\')")
        params += [f"%{database.literal(q.lower())}%"] * 2
    if agent_id:
        where.append("s.id IN (SELECT secret_id FROM secret_grants WHERE agent_id = ?)")
        params.append(agent_id)
    return _objects(f"WHERE {' AND '.join(where)} ORDER BY s.name_key LIMIT ?", [*params, limit])


def one(secret: Secret) -> dict[str, Any]:
    """The Secret object."""
    return _objects("WHERE s.id = ?", [secret.id])[0]


def _objects(condition: str, params: list[Any]) -> list[dict[str, Any]]:
    found = database.rows(f"{SELECT} {condition}", params)
    agents = _agents([row["id"] for row in found])
    return [_object(row, agents.get(row["id"], [])) for row in found]


def _agents(secret_ids: list[str]) -> dict[str, list[str]]:
    """{secret id: agents it is granted to}."""
    found: dict[str, list[str]] = {}
    if secret_ids:
        marks = ", ".join("?" * len(secret_ids))
        sql = f"SELECT secret_id, agent_id FROM secret_grants WHERE secret_id IN ({marks}) ORDER BY agent_id"
        for secret_id, agent_id in database.execute(sql, secret_ids).fetchall():
            found.setdefault(secret_id, []).append(agent_id)
    return found


def _object(row: dict[str, Any], agents: list[str]) -> dict[str, Any]:
    about = {"masked_preview": None, "fingerprint": None, "warnings": ["unreadable"]}
    try:
        value = decrypted(row["id"], row["version"], row["value"])
    except Unreadable:  # shown as such
        value = None
    if value is not None:
        short = ["too_short_to_redact"] if len(value.strip()) < SHORTEST else []
        about = {"masked_preview": mask(value), "fingerprint": crypto.fingerprint(value), "warnings": short}
    return (
        {name: row[name] for name in COPIED}
        | {"secret_type_label": TYPES[row["secret_type"]], "granted_agents": agents}
        | about
        | {name: row[name] for name in TIMES}
    )


def mask(value: str) -> str:
    """The ends of a value that is long enough."""
    return f"{value[:3]}...{value[-4:]}" if len(value) >= SHORTEST_MASKED else "***"


def version(secret: Secret, kept: SecretVersion) -> dict[str, Any]:
    """The object of a version."""
    shown = {name: getattr(kept, name) for name in ("version", "key_id", "created_at", "created_by")}
    return shown | {"current": kept.version == secret.version}


def grant(made: SecretGrant) -> dict[str, Any]:
    return {name: getattr(made, name) for name in ("secret_id", "agent_id", "granted_at", "granted_by")}


def redactor(agents: Sequence[str]) -> Redactor:
    """For what people typed where these agents read it; what does not decrypt cannot be looked for."""
    known = {}
    for row in granted(agents) if agents else ():
        with contextlib.suppress(Unreadable):
            known[row["name"]] = decrypted(row["secret_id"], row["version"], row["value"])
    return Redactor(known) if known else NOTHING
