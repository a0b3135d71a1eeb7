"""Logins at MCP servers (OAuth): tokens and the client that we are registered as, encrypted, for one origin each."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import peewee

from models import addresses, crypto, database
from models.base import Model, now_ms
from models.errors import Unreadable


class McpLogin(Model):
    server_id = peewee.TextField(primary_key=True)
    origin = peewee.TextField()  # the only place that the tokens may be sent to
    sealed = peewee.TextField()  # encrypted JSON {tokens, expires_at, client, metadata}
    key_id = peewee.TextField()
    updated_at = peewee.BigIntegerField()

    class Meta:
        table_name = "mcp_logins"


def load(server_id: str, url: str) -> dict[str, Any] | None:
    """What is kept for that address. Raises Unreadable."""
    found = McpLogin.fetch("server_id = ? AND origin = ?", (server_id, addresses.origin(url)))
    return _opened(found[0]) if found else None


def _opened(row: McpLogin) -> dict[str, Any]:
    return orjson.loads(crypto.ring().decrypt(row.sealed, *_place(row.server_id, row.origin)))


def _place(server_id: str, origin: str) -> tuple[str, str, str]:
    return "mcp_logins", f"{server_id} {origin}", "sealed"


def save(server_id: str, url: str, kept: dict[str, Any]) -> None:
    """In the enclosing transaction."""
    forget(server_id)
    _add(server_id, addresses.origin(url), kept)


def _add(server_id: str, origin: str, kept: dict[str, Any]) -> None:
    ring = crypto.ring()
    sealed = ring.encrypt(orjson.dumps(kept).decode(), *_place(server_id, origin))
    key = {"server_id": server_id, "origin": origin}
    McpLogin.add(key | {"sealed": sealed, "key_id": ring.newest, "updated_at": now_ms()})


def forget(server_id: str) -> None:
    McpLogin.delete().where(McpLogin.server_id == server_id).execute()


# --- rotation ---


def under_older_keys() -> tuple[list[str], int]:
    """(the older keys that are still needed, how many rows are under them)."""
    sql = "SELECT key_id, count(*) FROM mcp_logins WHERE key_id <> ? GROUP BY key_id ORDER BY key_id"
    found = database.execute(sql, (crypto.ring().newest,)).fetchall()
    return [key_id for key_id, _ in found], sum(count for _, count in found)


def rekey() -> None:
    """Puts every login under the newest key; what does not decrypt is left as it is, and goes on being counted."""
    for row in McpLogin.fetch("key_id <> ? ORDER BY server_id", (crypto.ring().newest,)):
        with suppress(Unreadable):
            kept = _opened(row)
            forget(row.server_id)
            _add(row.server_id, row.origin, kept)
