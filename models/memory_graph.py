"""The graph of a vault: notes, tags, and the names that links use for notes that are not there."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any

from models import memories, memory_links
from models.errors import NotFound
from models.memories import LIVE, Memory

MOST_NODES = 5000
MOST_HOPS = 3


class Graph:
    """`nodes` and `edges` as the API shows them, each once."""

    def __init__(self, rows: Iterable[Memory]) -> None:
        self.rows = {row.key: row for row in rows}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: dict[str, dict[str, Any]] = {}
        for row in self.rows.values():
            self._add_note(row)
        links = memory_links.of(list(self.rows))
        others = {link.key for link in links if link.key is not None} - self.rows.keys()
        self._others = memories.some(sorted(others))
        for link in links:
            self._add_link(link)
        self._count()

    def _add_note(self, row: Memory) -> None:
        id = note_id(row)
        self.nodes[id] = _node(id, row.title, row)
        for tag in row.tags:
            self.nodes.setdefault(f"tag:{tag}", _node(f"tag:{tag}", tag, None) | {"type": "tag"})
            self._edge(id, f"tag:{tag}", "tag", None)

    def _add_link(self, link: memory_links.Resolved) -> None:
        row = self.rows.get(link.key) or self._others.get(link.key)
        if row is None:
            slug = re.sub(r"[^\w/.-]+", "-", link.target.casefold()).strip("-")
            id = f"unresolved:{slug}"
            self.nodes.setdefault(id, _node(id, link.target, None) | {"missing": True})
        else:
            id = note_id(row)
            self.nodes.setdefault(id, _node(id, row.title, row))
        self._edge(note_id(self.rows[link.source]), id, link.type, link.label)

    def _edge(self, source: str, target: str, type: str, label: str | None) -> None:
        id = f"{source}>{type}>{target}"
        self.edges[id] = {"id": id, "source": source, "target": target, "type": type, "label": label}

    def _count(self) -> None:
        for edge in self.edges.values():
            for end in ("source", "target"):
                self.nodes[edge[end]]["degree"] += 1

    def around(self, center: str, hops: int) -> set[str]:
        """The nodes so many edges away. Raises NotFound."""
        if center not in self.nodes:
            raise NotFound(f"The graph has no node {center[:200]}", "node_not_found")
        near: dict[str, list[str]] = defaultdict(list)
        for edge in self.edges.values():
            near[edge["source"]].append(edge["target"])
            near[edge["target"]].append(edge["source"])
        seen, queue = {center: 0}, deque([center])
        while queue:
            node = queue.popleft()
            for other in near[node] if seen[node] < hops else ():
                if other not in seen:
                    seen[other] = seen[node] + 1
                    queue.append(other)
        return set(seen)

    def shown(self, only: set[str] | None = None) -> dict[str, Any]:
        ids = list(self.nodes)[:MOST_NODES] if only is None else [id for id in self.nodes if id in only][:MOST_NODES]
        kept = set(ids)
        edges = [edge for edge in self.edges.values() if edge["source"] in kept and edge["target"] in kept]
        missing = sum(self.nodes[id]["missing"] for id in ids)
        cut = len(ids) < len(self.nodes if only is None else only)
        stats = {"nodes": len(ids), "edges": len(edges), "missing": missing, "truncated": cut}
        return {"nodes": [self.nodes[id] for id in ids], "edges": edges, "stats": stats}


def note_id(row: Memory) -> str:
    return f"note:{row.path}"


def _node(id: str, title: str, row: Memory | None) -> dict[str, Any]:
    return {
        "id": id,
        "title": title,
        "type": row.type if row else None,
        "category": row.category if row else None,
        "path": row.path if row else None,
        "tags": row.tags if row else [],
        "missing": False,
        "degree": 0,
        "createdAt": row.created_at if row else None,
    }


def of(vault: str) -> Graph:
    """Of the newest notes, as many as a graph may have."""
    return Graph(Memory.fetch(f"vault = ? AND {LIVE} ORDER BY updated_at DESC, key DESC LIMIT ?", (vault, MOST_NODES)))
