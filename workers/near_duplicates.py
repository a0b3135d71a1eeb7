"""Notes that say nearly the same: equal but for case and spacing, very close in meaning, or mostly the same words."""

from __future__ import annotations

from typing import Any

from models import database, memories
from models.memories import Memory
from pipelines import notes
from pipelines.words import terms
from workers.memory_search import Query, search

CANDIDATES = 10  # the best by words and meaning are looked at closely
COSINE, SHINGLES = 0.95, 0.9
SHINGLE = 3  # words
LONGEST_QUESTION = 2000  # characters of the text that are searched for
SHORTEST = 5  # words; shorter texts are near only if they are the same


def of(vault: str, body: str, without: int | None = None) -> list[dict[str, Any]]:
    """`[{filename, id, similarity}]` in the vault, the nearest first."""
    with database.connection():
        same = {memory.key: 1.0 for memory in memories.same_text(vault, notes.normalised(body))}
    near = _near(vault, body) if len(terms(body)) >= SHORTEST else {}
    found = {key: value for key, value in (near | same).items() if key != without}
    with database.connection():
        rows = memories.some(list(found))
    best = sorted(rows.values(), key=lambda row: (-found[row.key], row.path))
    return [{"filename": row.path, "id": row.id, "similarity": round(found[row.key], 4)} for row in best]


def _near(vault: str, body: str) -> dict[int, float]:
    result = search(Query(body[:LONGEST_QUESTION], (vault,), CANDIDATES))
    cosines = {hit.key: hit.signals.get("semantic", {}).get("score", 0.0) for hit in result.hits}
    with database.connection():
        rows = memories.some(list(cosines))
        texts = memories.texts(list(rows.values()))
    mine, near = shingles(body), {}
    for key, row in rows.items():
        overlap = jaccard(mine, shingles(_body(row, texts)))
        if overlap >= SHINGLES or (cosines[key] >= COSINE and overlap > 0):
            near[key] = min(max(overlap, cosines[key]), 1.0)
    return near


def _body(row: Memory, texts: dict[int, str]) -> str:
    return notes.parse(texts[row.key], row.path).body


def shingles(text: str) -> set[tuple[str, ...]]:
    found = terms(text)
    return {tuple(found[at : at + SHINGLE]) for at in range(max(len(found) - SHINGLE + 1, 1))}


def jaccard(one: set, other: set) -> float:
    return len(one & other) / len(one | other) if one or other else 0.0
