"""The pipelines at hand: the user's folder over the built-in library, each file read once per change."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines import disk
from pipelines.checking import Checked, check, parse
from pipelines.checks import Known
from pipelines.definition import Pipeline
from pipelines.graph import graph
from pipelines.problems import Problem
from pipelines.text import MAX_BYTES

__all__ = ["LIBRARY", "Catalog", "Checked", "Entry", "Known", "Problem", "check", "graph", "parse"]

LIBRARY = Path(__file__).parent / "library"
MAX_FILES = 500
SUFFIXES = (".yml", ".yaml")

# The fields of the API's Pipeline object, in its order.
_SHOWN = (
    *("id", "name", "version", "description", "valid", "errors", "warnings", "problems", "defaults", "agents", "steps"),
    *("entry_steps", "required_variables", "hash", "source", "file", "updated_at"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the catalogue. `pipeline` is None, and `steps` empty, unless it is `valid`."""

    id: str
    document: dict[str, Any]
    problems: tuple[Problem, ...]
    pipeline: Pipeline | None
    text: str
    hash: str  # sha256:<hex of the bytes>
    source: str  # builtin or user
    file: str
    updated_at: int  # ms since the epoch

    @property
    def valid(self) -> bool:
        return self.pipeline is not None

    @property
    def name(self) -> str:
        return self.document["name"] or self.id

    @property
    def version(self) -> str | None:
        return self.document["version"]

    @property
    def description(self) -> str:
        return self.document["description"]

    @property
    def errors(self) -> list[str]:
        return [str(problem) for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[str]:
        return [str(problem) for problem in self.problems if problem.severity == "warning"]

    @property
    def defaults(self) -> dict[str, Any]:
        return self.document["defaults"]

    @property
    def agents(self) -> list[dict[str, Any]]:
        return self.document["agents"]

    @property
    def steps(self) -> list[dict[str, Any]]:
        return self.document["steps"] if self.valid else []

    @property
    def entry_steps(self) -> list[str]:
        return list(self.pipeline.entry_steps) if self.pipeline else []

    @property
    def required_variables(self) -> list[str]:
        return list(self.pipeline.required_variables) if self.pipeline else []

    def as_dict(self) -> dict[str, Any]:
        """The Pipeline object of the API."""
        shown = {name: getattr(self, name) for name in _SHOWN}
        return {**shown, "problems": [problem.as_dict() for problem in self.problems]}


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was when it was looked at."""

    path: str
    mtime_ns: int
    size: int
    source: str


class Catalog:
    """Pipelines by id. `directories`: the first one wins; `known` says what the files may name."""

    def __init__(self, directories: Sequence[Path] = (LIBRARY,), known: Callable[[], Known] = Known) -> None:
        self._directories = tuple(Path(directory) for directory in directories)
        self._known = known
        self._seen: tuple = ()
        self._loaded: dict[tuple[_File, Known], Entry] = {}
        self._entries: dict[str, Entry] = {}

    def list(self) -> list[Entry]:
        """All entries by id, broken ones too."""
        return list(self._fresh().values())

    def get(self, id: str) -> Entry | None:
        return self._fresh().get(id)

    def _fresh(self) -> dict[str, Entry]:
        """The entries, read again only if a file or what may be named has changed."""
        known = self._known()
        files = [file for directory in self._directories for file in _files(directory)]
        seen = (tuple(files), known)
        if seen != self._seen:
            loaded = {(file, known): self._loaded.get((file, known)) or _load(file, known) for file in files}
            self._loaded = {key: entry for key, entry in loaded.items() if entry}
            self._entries = _with_children(_by_id(list(self._loaded.values())), known)
            self._seen = seen
        return self._entries


def _files(directory: Path) -> Iterator[_File]:
    source = "builtin" if directory == LIBRARY else "user"
    wanted = (entry for entry in disk.entries(directory) if entry.name.endswith(SUFFIXES))
    regular = (entry for entry in wanted if entry.is_file(follow_symlinks=False))
    for entry in islice(regular, MAX_FILES):
        stat = entry.stat(follow_symlinks=False)
        yield _File(entry.path, stat.st_mtime_ns, stat.st_size, source)


def _load(file: _File, known: Known) -> Entry | None:
    """The entry of a file, None if it has gone meanwhile."""
    path = Path(file.path)
    try:
        data = disk.read(path, MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        data, checked = b"", _unreadable(os.strerror(error.errno) if error.errno else str(error))
    else:
        checked = _check(data, known)
    return Entry(
        id=_id(checked, path),
        document=checked.document,
        problems=checked.problems,
        pipeline=checked.pipeline,
        text=data.decode(errors="replace"),
        hash=f"sha256:{hashlib.sha256(data).hexdigest()}",
        source=file.source,
        file=path.name,
        updated_at=file.mtime_ns // 1_000_000,
    )


def _check(text: bytes | str, known: Known, pipelines: Callable[[str], Pipeline | None] | None = None) -> Checked:
    return check(
        text,
        agents=known.agents,
        tools=known.tools,
        providers=known.providers,
        strict_providers=known.strict_providers,
        pipelines=pipelines,
    )


def _unreadable(reason: str) -> Checked:
    problem = Problem("error", "yaml_syntax", "", None, None, f"the file cannot be read: {reason}")
    return replace(check(""), problems=(problem,))


def _id(checked: Checked, path: Path) -> str:
    """The id the file gives, or, if it gives none that can be used, one made of the file's name."""
    given = checked.document["id"]
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", given):
        return given
    return re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:64] or "pipeline"


def _by_id(entries: list[Entry]) -> dict[str, Entry]:
    """The winner of each id: entries come in order of precedence."""
    found: dict[str, Entry] = {}
    for entry in entries:
        first = found.setdefault(entry.id, entry)
        if first is not entry and first.source == entry.source:
            text = f"'{entry.file}' has the same id and is ignored"
            duplicate = Problem("warning", "duplicate_file", "id", None, None, text)
            found[entry.id] = replace(first, problems=(*first.problems, duplicate))
    return dict(sorted(found.items()))


def _with_children(entries: dict[str, Entry], known: Known) -> dict[str, Entry]:
    """The entries with the problems of their child pipelines, which only the whole catalogue shows."""

    def lookup(id: str) -> Pipeline | None:
        return entries[id].pipeline if id in entries else None

    def checked(entry: Entry) -> Entry:
        if not entry.pipeline or not any(step.pipeline for step in entry.pipeline.steps.values()):
            return entry
        again = _check(entry.text, known, lookup)
        kept = tuple(problem for problem in entry.problems if problem.code == "duplicate_file")
        return replace(entry, pipeline=again.pipeline, problems=again.problems + kept)

    return {id: checked(entry) for id, entry in entries.items()}
