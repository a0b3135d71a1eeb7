"""Passages of a note: paragraphs, items and turns of a conversation, joined to a size that one vector can hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

TARGET = 200  # characters of a passage, about
LONGEST = 640
MAX_CHUNKS = 1000  # of one note

_BREAK = re.compile(r"\n[ \t]*\n+|\n(?=[ \t]*(?:[-*+] |\d+[.)] |#{1,6} |\*{0,2}[A-Z][\w .'-]{0,40}\*{0,2}:))")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def chunks(body: str) -> list[tuple[int, int]]:
    """[(start, stop)] in the text, in order, none blank."""
    found: list[tuple[int, int]] = []
    for start, stop in _units(body):
        if found and stop - found[-1][0] <= TARGET and not body.startswith("#", start):
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
    return found[:MAX_CHUNKS]


def _units(body: str) -> Iterator[tuple[int, int]]:
    """Paragraphs, items and turns; what is longer than a passage may be, in sentences."""
    at = 0
    for end in (*(match.start() for match in _BREAK.finditer(body)), len(body)):
        piece = body[at:end]
        start = at + len(piece) - len(piece.lstrip())
        stop = at + len(piece.rstrip())
        if stop > start:
            yield from _cut(body, start, stop)
        at = end


def _cut(body: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    if stop - start <= LONGEST:
        yield start, stop
        return
    at = start
    for match in _SENTENCE.finditer(body, start, stop):
        if match.end() - at > TARGET:
            yield from _hard(at, match.start())
            at = match.end()
    yield from _hard(at, stop)


def _hard(start: int, stop: int) -> Iterator[tuple[int, int]]:
    for at in range(start, stop, LONGEST):
        yield at, min(at + LONGEST, stop)
