"""Recall tests: questions of one's own with the notes that must be found, to see that a change makes nothing worse."""

from __future__ import annotations

from typing import Any

from models import database, memories
from workers.memory_search import Query, search

DEPTHS = (5, 10)


def run(vault: str, tests: list[dict[str, Any]]) -> dict[str, Any]:
    """How much of what was expected is among the first 5 and 10, and what is not."""
    found = [(test, _paths(vault, test["query"])) for test in tests]
    misses = [
        {"query": test["query"], "missing": missing, "found": paths[: DEPTHS[-1]]}
        for test, paths in found
        if (missing := [path for path in test["expect"] if path not in paths[: DEPTHS[-1]]])
    ]
    return {"tests": len(tests)} | {f"recall@{k}": _recall(found, k) for k in DEPTHS} | {"misses": misses}


def _paths(vault: str, question: str) -> list[str]:
    hits = search(Query(question, (vault,), DEPTHS[-1])).hits
    with database.connection():
        rows = memories.some([hit.key for hit in hits])
    return [rows[hit.key].path for hit in hits if hit.key in rows]


def _recall(found: list[tuple[dict[str, Any], list[str]]], k: int) -> float | None:
    shares = [sum(path in paths[:k] for path in test["expect"]) / len(test["expect"]) for test, paths in found]
    return round(sum(shares) / len(shares), 4) if shares else None
