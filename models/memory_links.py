"""Links between memories: stored as they are written, resolved when somebody asks, so that they heal by themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models import database
from models.memories import LIVE, MemoryLink

SHARED = "shared"
PATH, TITLE, ALIAS, BASE = range(4)  # kinds of names, the surest first
PART = 500  # values of one statement


@dataclass(frozen=True, slots=True)
class Named:
    vault: str
    name: str
    kind: int
    key: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """`key` None: nothing of that name."""

    source: int
    target: str
    label: str | None
    type: str
    key: int | None
    ambiguous: bool


def of(keys: Sequence[int]) -> list[Resolved]:
    """The links in these notes, in order."""
    found = _links("l.key", keys)
    names = _names({word for _, link in found for word in (link.path, link.name)})
    return [_resolved(vault, link, names) for vault, link in found]


def to(keys: Sequence[int]) -> list[Resolved]:
    """The links that lead to these notes, by source."""
    sql = f"SELECT DISTINCT name FROM memory_names WHERE key IN ({_marks(keys)})"
    called = [row[0] for row in database.execute(sql, tuple(keys)).fetchall()] if keys else []
    found = {
        (link.key, link.no): (vault, link) for column in ("l.path", "l.name") for vault, link in _links(column, called)
    }
    names = _names({word for _, link in found.values() for word in (link.path, link.name)})
    resolved = (_resolved(vault, link, names) for _, (vault, link) in sorted(found.items()))
    wanted = set(keys)
    return [link for link in resolved if link.key in wanted and link.source != link.key]


def neighbours(keys: Sequence[int]) -> dict[int, list[int]]:
    """{key: those one link away, in either direction}."""
    found: dict[int, list[int]] = defaultdict(list)
    for link in of(keys):
        if link.key is not None and link.key != link.source:
            found[link.source].append(link.key)
    for link in to(keys):
        found[link.key].append(link.source)
    return {key: list(dict.fromkeys(others)) for key, others in found.items()}


def _marks(values: Sequence) -> str:
    return ", ".join("?" * len(values))


def _links(column: str, values: Sequence) -> list[tuple[str, MemoryLink]]:
    """[(vault, link)]."""
    columns = ", ".join(f"l.{name}" for name in MemoryLink._meta.fields)
    names, rows = list(MemoryLink._meta.fields), []
    for at in range(0, len(values), PART):
        part = values[at : at + PART]
        sql = (
            f"SELECT m.vault, {columns} FROM memory_links l JOIN memories m ON m.key = l.key"
            f" WHERE {column} IN ({_marks(part)}) AND m.{LIVE} ORDER BY l.key, l.no"
        )
        rows += database.execute(sql, tuple(part)).fetchall()
    return [(row[0], MemoryLink(**dict(zip(names, row[1:], strict=True)))) for row in rows]


def _names(words: Iterable[str]) -> dict[str, list[Named]]:
    """{name: who is called so}."""
    found: dict[str, list[Named]] = defaultdict(list)
    words = list(words)
    for at in range(0, len(words), PART):
        part = words[at : at + PART]
        sql = (
            "SELECT n.vault, n.name, n.kind, n.key, m.updated_at FROM memory_names n JOIN memories m ON m.key = n.key"
            f" WHERE n.name IN ({_marks(part)}) AND m.{LIVE}"
        )
        for row in database.execute(sql, part).fetchall():
            found[row[1]].append(Named(*row))
    return found


def _resolved(vault: str, link: MemoryLink, names: dict[str, list[Named]]) -> Resolved:
    key, ambiguous = None, False
    for place in dict.fromkeys((vault, SHARED)):
        by_path = [named for named in names[link.path] if named.vault == place and named.kind == PATH]
        others = [named for named in names[link.name] if named.vault == place and named.kind != PATH]
        key, ambiguous = _chosen(by_path, others)
        if key is not None:
            break
    return Resolved(link.key, link.target, link.label, link.type, key, ambiguous)


def _chosen(by_path: list[Named], others: list[Named]) -> tuple[int | None, bool]:
    if by_path:
        return by_path[0].key, False
    for kind in (TITLE, ALIAS):
        found = sorted(
            (named for named in others if named.kind == kind), key=lambda named: (-named.updated_at, named.key)
        )
        if found:
            return found[0].key, len(found) > 1
    bases = [named for named in others if named.kind == BASE]
    return (bases[0].key, False) if len(bases) == 1 else (None, False)
