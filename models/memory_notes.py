"""A memory with its text, its links, and what it was before."""

from __future__ import annotations

import difflib
from typing import Any

from models import memories, memory_links
from models.errors import NotFound
from models.memories import Memory, MemoryVersion
from models.memory_views import shown


def links(memory: Memory) -> list[dict[str, Any]]:
    found = memory_links.of([memory.key])
    rows = memories.some(sorted({link.key for link in found if link.key is not None}))
    return [
        {
            "target": link.target,
            "label": link.label,
            "type": link.type,
            "resolved": rows[link.key].path if link.key in rows else None,
            "ambiguous": link.ambiguous,
        }
        for link in found
    ]


def backlinks(memory: Memory, vaults: list[str] | None = None) -> list[dict[str, Any]]:
    """Who links to it; `vaults`: only in those."""
    keys = dict.fromkeys(link.source for link in memory_links.to([memory.key]))
    rows = memories.some(list(keys))
    seen = [rows[key] for key in keys if key in rows and (vaults is None or rows[key].vault in vaults)]
    return [{"agent_id": row.vault, "filename": row.path, "title": row.title} for row in seen]


def history(memory: Memory) -> list[dict[str, Any]]:
    """Newest first."""
    rows = MemoryVersion.fetch("key = ? ORDER BY n DESC", (memory.key,))
    return [_listed(row, memory) for row in rows]


def _listed(row: MemoryVersion, memory: Memory) -> dict[str, Any]:
    facts = {name: getattr(row, name) for name in ("n", "version", "source", "author", "created_at")}
    return facts | {"size_bytes": len(row.content.encode()), "current": row.n == memory.n and not memory.deleted_at}


def version(memory: Memory, n: int) -> MemoryVersion:
    """Raises NotFound."""
    found = MemoryVersion.fetch("key = ? AND n = ?", (memory.key, n))
    if not found:
        raise NotFound(f"{memory.path} has no version {n}", "version_not_found")
    return found[0]


def version_detail(memory: Memory, n: int) -> dict[str, Any]:
    """With the text, and what differs from the version before. Raises NotFound."""
    row = version(memory, n)
    before = MemoryVersion.fetch("key = ? AND n < ? ORDER BY n DESC LIMIT 1", (memory.key, n))
    old = before[0].content if before else ""
    return _listed(row, memory) | {"content": row.content, "diff": diff(memory.path, old, row.content)}


def diff(path: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), path, path)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def detail(memory: Memory, body: str, metadata: dict[str, Any], vaults: list[str] | None = None) -> dict[str, Any]:
    """The memory object with its text; `metadata`: its front matter."""
    text = {"content": memories.text(memory), "body": body, "metadata": metadata}
    return shown(memory) | text | {"links": links(memory), "backlinks": backlinks(memory, vaults)}
