"""The retrieval set: 2,000 notes and 350 questions, made from `memory_facts` in the same way each time.

The sentences and both ways to ask for each were written by hand; which system a note is about is filled in. A note
therefore has dozens of neighbours that differ in one name, and a paraphrase shares with its note hardly more than that.
"""

from __future__ import annotations

import random
from typing import Any

from bench.memory_facts import CARE, FACTS, HOPS, PEOPLE, REVIEWS, SYSTEMS, TEMPORAL

NOW = "2026-06-17T09:00:00Z"
WHEN = {  # words -> dates of the reviews that are meant
    "last week": ("2026-06-10",),
    "yesterday": ("2026-06-16",),
    "in March 2026": ("2026-03-11", "2026-03-25"),
    "on 15 April 2026": ("2026-04-15",),
    "in January 2026": ("2026-01-14", "2026-01-28"),
    "three months ago": ("2026-03-25", "2026-03-11"),
}
DATES = (
    *("2026-01-14", "2026-01-28", "2026-02-11", "2026-02-25", "2026-03-11", "2026-03-25", "2026-04-08"),
    *("2026-04-15", "2026-04-29", "2026-05-06", "2026-05-20", "2026-05-27", "2026-06-10", "2026-06-16"),
)
KINDS = ("keyword", "paraphrase", "temporal", "multi-hop")


def build(notes: int = 2006, per_kind: int = 100) -> dict[str, Any]:
    """A data set of one vault, in the form that `bench.memory` takes."""
    chance = random.Random(7)
    written = [*_facts(), *_reviews(chance), *_care()]
    questions = [*_asked(chance, per_kind), *_temporal(chance, per_kind), *_hops(per_kind)]
    return {"name": "systems", "vaults": [{"name": "systems", "notes": written[:notes], "questions": questions}]}


def _note(path: str, title: str, text: str, date: str = "2026-05-01") -> dict[str, str]:
    return {
        "path": path,
        "text": f"---\ntitle: {title}\ncreated: {date}T08:00:00Z\nupdated: {date}T08:00:00Z\n---\n\n{text}\n",
    }


def _facts() -> list[dict[str, str]]:
    return [
        _note(f"{system.lower()}/fact-{n}.md", f"{system}: {title}", text.format(e=system))
        for system in SYSTEMS
        for n, (title, text, _, _) in enumerate(FACTS)
    ]


def _reviews(chance: random.Random) -> list[dict[str, str]]:
    return [
        _note(
            f"{system.lower()}/review-{date}.md",
            f"Review of {system}",
            f"{system}: {'; '.join(chance.sample(REVIEWS, 3))}.",
            date,
        )
        for system in SYSTEMS
        for date in DATES
    ]


def _care() -> list[dict[str, str]]:
    pages = [_note(f"{name.lower()}/{name.lower()}.md", name, f"The page of {name}.") for name in SYSTEMS]
    pairs = zip(PEOPLE, SYSTEMS, strict=False)
    return pages + [
        _note(f"people/{person.lower()}.md", person, _linked(person, system, n))
        for n, (person, system) in enumerate(pairs)
    ]


def _linked(person: str, system: str, n: int) -> str:
    """The person's system, and links to the facts that are asked for."""
    facts = " and ".join(f"[[{system.lower()}/fact-{fact}]]" for _, fact in _hops_of(n))
    return f"{CARE[n % len(CARE)].format(p=person, e=system)} See {facts}."


def _hops_of(n: int) -> list[tuple[str, int]]:
    """The two questions about the n-th person."""
    return [HOPS[n % len(HOPS)], HOPS[(n + 3) % len(HOPS)]]


def _asked(chance: random.Random, count: int) -> list[dict[str, Any]]:
    pairs = chance.sample([(system, n) for system in SYSTEMS for n in range(len(FACTS))], count)
    return [
        {
            "kind": kind,
            "question": FACTS[n][form].format(e=system),
            "expect": [f"{system.lower()}/fact-{n}.md"],
            "now": NOW,
        }
        for form, kind in ((2, "keyword"), (3, "paraphrase"))
        for system, n in pairs
    ]


def _temporal(chance: random.Random, count: int) -> list[dict[str, Any]]:
    found = []
    for n in range(count):
        system, when = chance.choice(SYSTEMS), list(WHEN)[n % len(WHEN)]
        question = TEMPORAL[n % len(TEMPORAL)].format(e=system, t=when)
        expect = [f"{system.lower()}/review-{date}.md" for date in WHEN[when]]
        found.append({"kind": "temporal", "question": question, "expect": expect, "now": NOW})
    return found


def _hops(count: int) -> list[dict[str, Any]]:
    found = []
    for n, (person, system) in enumerate(zip(PEOPLE, SYSTEMS, strict=False)):
        for question, fact in _hops_of(n):
            expect = [f"people/{person.lower()}.md", f"{system.lower()}/fact-{fact}.md"]
            found.append({"kind": "multi-hop", "question": question.format(p=person), "expect": expect, "now": NOW})
    return found[:count]
