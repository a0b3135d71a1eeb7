"""The secrets that MCP servers name: resolved when a server is connected, and at no other time."""

from __future__ import annotations

from collections.abc import Collection

from models import database, secret_uses, secrets
from models.errors import ConfigError


def values(server_id: str, generation: int, names: Collection[str]) -> dict[str, str]:
    """{env_key: value} for the server, noted as a use. Raises ConfigError, Unreadable."""
    if not names:
        return {}
    marks = ", ".join("?" * len(names))
    found = database.rows(
        "SELECT s.env_key, s.id, s.name, s.version, v.value FROM secrets s"
        " JOIN secret_versions v ON v.secret_id = s.id AND v.version = s.version"
        f" WHERE s.env_key IN ({marks}) ORDER BY s.env_key",
        sorted(names),
    )
    keys = [row["env_key"] for row in found]
    if missing := sorted(set(names) - set(keys)):
        raise ConfigError(f"there is no secret {', '.join(missing)}", "secret_missing")
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ConfigError(f"more than one secret is called {', '.join(twice)}", "secret_ambiguous")
    user, named = f"mcp:{server_id}", {row["id"]: row["name"] for row in found}
    secret_uses.note(named, user, f"{user}.{generation}", server_id=server_id)
    return {row["env_key"]: secrets.decrypted(row["id"], row["version"], row["value"]) for row in found}
