"""The links of a note: `[[target#heading|label]]` in its text, and the keys of its front matter that name others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from pipelines.notes import LINK_KEYS, Note, folded, stem_of

PATH, TITLE, ALIAS, BASE = KINDS = range(4)  # how a name leads to a note, the surest first
MAX_LINKS = 500  # of one note

_LINK = re.compile(r"\[\[([^\[\]|#\n]{1,255})(?:#[^\[\]|\n]{0,255})?(?:\|([^\[\]\n]{0,255}))?\]\]")


@dataclass(frozen=True, slots=True)
class Link:
    """`type`: "link", or the key of the front matter."""

    target: str
    label: str | None
    type: str


def links(note: Note) -> list[Link]:
    """In order, each target once per type."""
    found = {(link.type, link.target): link for link in (*_in_text(note.body), *_in_front(note.front))}
    return list(found.values())[:MAX_LINKS]


def _in_text(body: str) -> Iterator[Link]:
    if "[[" in body:
        for target, label in _LINK.findall(body):
            if target.strip():
                yield Link(target.strip(), label.strip() or None, "link")


def _in_front(front: dict[str, Any]) -> Iterator[Link]:
    for key in LINK_KEYS:
        value = front.get(key)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and item.strip():
                yield from _of_text(item.strip()[:255], key)


def _of_text(item: str, key: str) -> Iterator[Link]:
    written = _LINK.fullmatch(item)
    yield Link(written[1].strip() if written else item, (written and written[2]) or None, key)


def names(path: str, note: Note) -> list[tuple[int, str]]:
    """[(kind, name)] that links may call the note by."""
    given = [(PATH, stem_of(path)), (TITLE, folded(note.title)), *((ALIAS, folded(alias)) for alias in note.aliases)]
    return [*dict.fromkeys((*given, (BASE, folded(PurePosixPath(stem_of(path)).name))))]


def wanted(target: str) -> tuple[str, str]:
    """(the path, the other name) that a target may mean."""
    return stem_of(target), folded(stem_of(target))
