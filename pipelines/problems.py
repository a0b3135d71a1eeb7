"""What is wrong with a file: problems with their place, collected so that one pass tells everything."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.text import Path, Place, Source, YamlError


@dataclass(frozen=True, slots=True)
class Problem:
    severity: str  # error or warning
    code: str
    path: str  # steps[2].onComplete
    line: int | None
    column: int | None
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        where = f"{self.path} (line {self.line})" if self.path and self.line else self.path or f"line {self.line or 1}"
        return f"{where}: {self.message}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Report:
    """The problems of one file, and what its parts mention by name, for the checks that need the whole."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.mentions: defaultdict[str, list] = defaultdict(list)  # kind -> (value, name)
        self.documents: dict[Path, dict[str, Any]] = {}  # maps as written, known keys in camelCase

    def error(self, code: str, path: Path, message: str, hint: str | None = None) -> None:
        self._add("error", code, path, message, hint, self.place(path))

    def warn(self, code: str, path: Path, message: str, hint: str | None = None, place: Place | None = None) -> None:
        self._add("warning", code, path, message, hint, place or self.place(path))

    def place(self, path: Path) -> Place | None:
        """Where `path` stands in the file, or the nearest thing around it."""
        while path and path not in self.source.places:
            path = path[:-1]
        return self.source.places.get(path)

    def sorted(self) -> tuple[Problem, ...]:
        """All problems once each, in the order of the file."""
        return tuple(sorted(dict.fromkeys(self.problems), key=lambda found: (found.line or 0, found.column or 0)))

    def report_duplicates(self) -> None:
        for path, place in self.source.duplicates:
            self._add("error", "duplicate_key", path, f"the key '{path[-1]}' stands here a second time", None, place)

    def _add(self, severity: str, code: str, path: Path, message: str, hint: str | None, place: Place | None) -> None:
        line, column = (place.line, place.column) if place else (None, None)
        self.problems.append(Problem(severity, code, spelled(path), line, column, message, hint))


def from_yaml_error(error: YamlError) -> Problem:
    return Problem("error", error.code, "", error.line, error.column, str(error))


def spelled(path: Path) -> str:
    """A path as people write it: `steps[2].onResult.FAIL`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """A hint naming the known name most like `name`, if one is."""
    by_folded = {item.lower(): item for item in known}
    match = difflib.get_close_matches(name.lower(), by_folded, n=1)
    return f"did you mean '{by_folded[match[0]]}'?" if match else None
