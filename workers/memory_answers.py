"""What a search answers: memory objects with their best passage, their score and the reasons for it."""

from __future__ import annotations

from typing import Any

from models import database, memories, memory_views
from models.memories import Memory
from pipelines import notes, snippets
from pipelines.ranking import GRAPH, KEYWORD, SEMANTIC, TIME
from workers.memory_search import Found, Hit


def shown(found: Found, explain: bool = False) -> list[dict[str, Any]]:
    """The hits that are still there, best first."""
    with database.connection():
        rows = memories.some([hit.key for hit in found.hits])
        texts = memories.texts(list(rows.values()))
        places: dict[int, list[tuple[int, int]]] = {}
        for chunk in memories.chunks(list(rows)):
            places.setdefault(chunk.key, []).append((chunk.start, chunk.stop))
        sources = memories.some([key for hit in found.hits for key in hit.via]) if explain else {}
    answers = []
    for hit in found.hits:
        memory = rows.get(hit.key)
        if memory is None:
            continue
        body = notes.parse(texts[memory.key], memory.path).body
        part = snippets.cut(body, places.get(memory.key, []), hit.passage, found.terms)
        answer = memory_views.shown(memory) | {
            "snippet": part.text,
            "highlights": part.highlights,
            "score": round(hit.score, 6),
        }
        answers.append(answer | ({"explain": _explained(hit, found, part.terms, sources)} if explain else {}))
    return answers


def unscored(rows: list[Memory]) -> list[dict[str, Any]]:
    """Memories that nobody searched for, in the same shape."""
    more = {"highlights": [], "score": None}
    return [memory_views.shown(row) | {"snippet": row.preview} | more for row in rows]


def _explained(hit: Hit, found: Found, terms: list[str], sources: dict[int, Memory]) -> dict[str, Any]:
    signals = {name: hit.signals.get(name) for name in (KEYWORD, SEMANTIC, GRAPH, TIME)}
    if signals[KEYWORD]:
        signals[KEYWORD] = signals[KEYWORD] | {"terms": terms}
    if signals[GRAPH]:
        via = [sources[key].path for key in hit.via if key in sources]
        signals[GRAPH] = {"rank": signals[GRAPH]["rank"], "via": list(dict.fromkeys(via))}
    if signals[TIME]:
        signals[TIME] = {"rank": signals[TIME]["rank"], "from": found.period.start, "to": found.period.stop}
    facts = {"rrf": round(hit.rrf, 6), "recency": round(hit.recency, 4), "usefulness": round(hit.usefulness, 4)}
    return signals | facts | {"weights": found.weights}
