"""Memories as the API shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from models import cursors, database, memory_vaults
from models.base import dumps
from models.memories import LIVE, Memory

FIELDS = (
    *("id", "filename", "directory", "category", "title", "type", "tags", "author", "created_at", "updated_at"),
    *("valid_from", "valid_to", "superseded_by", "status", "size_bytes", "preview", "usefulness", "recalls"),
    *("version", "indexed", "problems"),
)
SORTS = {"updated": "updated_at", "created": "created_at", "title": "title", "filename": "path"}
ASCENDING = ("title", "filename")
SHARED = "shared"


def shown(memory: Memory) -> dict[str, Any]:
    """The memory object."""
    row = memory.__data__
    return {"agent_id": row["vault"]} | {name: row["path" if name == "filename" else name] for name in FIELDS}


def vault_list(only: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """By name; `only`: those that the caller may see."""
    sql = (
        "SELECT v.name, count(m.key) AS files, coalesce(sum(m.size_bytes), 0) AS size, max(m.updated_at) AS updated,"
        " coalesce(sum(CASE WHEN m.indexed THEN 0 ELSE 1 END), 0) AS bare"
        f" FROM memory_vaults v LEFT JOIN memories m ON m.vault = v.name AND m.{LIVE} GROUP BY v.name"
    )
    found = {row["name"]: row for row in database.rows(sql)}
    found.setdefault(SHARED, {"name": SHARED, "files": 0, "size": 0, "updated": None, "bare": 0})
    return [_vault(found[name]) for name in sorted(found) if only is None or name in only]


def _vault(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "agent_id": row["name"],
        "file_count": row["files"],
        "total_size_bytes": int(row["size"]),
        "kind": SHARED if row["name"] == SHARED else "agent",
        "updated_at": row["updated"],
        "pending": int(row["bare"]) if row["files"] else 0,
    }


def page(
    vault: str,
    limit: int,
    cursor: str | None,
    sort: str = "updated",
    tag: Sequence[str] = (),
    **filters: Sequence[str],
) -> list[Memory]:
    """Up to `limit` of a vault's memories beyond `cursor`. `filters`: {column: values}, OR within, AND between."""
    column, sign = SORTS[sort], ">" if sort in ASCENDING else "<"
    where, params = [f"vault = ? AND {LIVE}"], [vault]
    for name, values in filters.items():
        if values:
            where.append(f"{name} IN ({', '.join('?' * len(values))})")
            params += values
    if tag:
        where.append("(" + " OR ".join(["tags LIKE ? ESCAPE '\\'"] * len(tag)) + ")")
        params += [f"%{database.literal(dumps(item))}%" for item in tag]
    if cursor:
        where.append(f"({column}, key) {sign} (?, ?)")
        params += _place(cursor, column)
    way = "" if sort in ASCENDING else " DESC"
    return Memory.fetch(f"{' AND '.join(where)} ORDER BY {column}{way}, key{way} LIMIT ?", (*params, limit))


def place(memory: Memory, sort: str) -> str:
    """Where in the list it stands, for a cursor."""
    return json.dumps([getattr(memory, SORTS[sort]), memory.key])


def _place(cursor: str, column: str) -> list[Any]:
    """Raises Invalid."""
    kind = str if column in ("title", "path") else int
    try:
        value, key = json.loads(cursor)
    except (ValueError, TypeError):
        raise cursors.bad() from None
    if type(value) is not kind or type(key) is not int or not -(2**63) <= key < 2**63:
        raise cursors.bad()
    return [value, key]


def quarantine(limit: int, before: str | None, vaults: Sequence[str] | None) -> list[Memory]:
    """Newest first."""
    where, params = [f"status = 'quarantined' AND {LIVE}"], []
    if before is not None:
        where.append("key < ?")
        params.append(_key(before))
    if vaults is not None:
        where.append(f"vault IN ({', '.join('?' * len(vaults)) or 'NULL'})")
        params += vaults
    return Memory.fetch(f"{' AND '.join(where)} ORDER BY key DESC LIMIT ?", (*params, limit))


def _key(cursor: str) -> int:
    """Raises Invalid."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise cursors.bad()
    return int(cursor)


def newest(vault: str, limit: int) -> list[Memory]:
    """The newest that count."""
    condition = f"vault = ? AND {LIVE} AND status = 'active' ORDER BY updated_at DESC, key DESC LIMIT ?"
    return Memory.fetch(condition, (vault, limit))


def has_vault(name: str) -> bool:
    return name == SHARED or memory_vaults.generation(name) > 0
