"""The passage of a note that a search shows, and where in it the words of the question stand."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from models.text_search import words
from pipelines.words import stem

LENGTH = 240  # characters
LEAD = 60  # before the first word that was found
SCANNED = 40_000  # characters of a note that are looked through for words

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Snippet:
    text: str
    highlights: list[list[int]]  # [start, end) in `text`
    terms: list[str]  # of the question, that occur in the passage


def cut(body: str, chunks: Sequence[tuple[int, int]], closest: int, terms: Collection[str]) -> Snippet:
    """From the passage with most of the words; among equal ones from the one whose meaning is closest."""
    asked = set(terms)
    near = [chunk for chunk in chunks if chunk[0] < SCANNED] or [(0, 0)]
    found = [(start, stop, _spots(body, start, stop, asked)) for start, stop in near]
    best = max(range(len(found)), key=lambda no: (len({term for _, _, term in found[no][2]}), no == closest, -no))
    start, stop, spots = found[best]
    first = spots[0][0] if spots else start
    begin = start if first - start + LEAD < LENGTH else max(start, first - LEAD)
    text = body[begin : min(begin + LENGTH, max(stop, begin + 1))]
    shown = text.rstrip()
    marks = [[a - begin, b - begin] for a, b, _ in spots if a >= begin and b - begin <= len(shown)]
    return Snippet(shown, marks, sorted({term for _, _, term in spots}))


def _spots(body: str, start: int, stop: int, asked: set[str]) -> list[tuple[int, int, str]]:
    """(start, end, term) of every word that was asked for."""
    found = []
    for match in _WORD.finditer(body, start, stop) if asked else ():
        whole = words(match[0])
        term = stem(whole[0]) if whole else ""
        if term in asked:
            found.append((match.start(), match.end(), term))
    return found
