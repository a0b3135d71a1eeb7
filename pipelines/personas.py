"""Agents on disk: one folder each, with who it is in Markdown and how it works in `config.yml`."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import disk
from pipelines.agent_config import read_config
from pipelines.seeding import BUILT_IN

PERSONA_FILES = ("IDENTITY.md", "SOUL.md", "AGENTS.md", "DECISION.md")
CONFIG_FILE = "config.yml"
FILES = (*PERSONA_FILES, CONFIG_FILE)
RESERVED = frozenset({"shared", "status", "sessions"})
MAX_PERSONA_BYTES = 256 * 1024
MAX_CONFIG_BYTES = 64 * 1024
RESCAN_SECONDS = 1.0  # a file put into an existing folder does not change the mtime of the folder above

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEYS = ("name", "emoji", "role", "description")
_IDENTITY = re.compile(rf"[ \t]*(?:[-*+][ \t]+)?[*_]{{0,3}}({'|'.join(_KEYS)})[*_]{{0,3}}[ \t]*:(.*)", re.IGNORECASE)
_HEADING = re.compile(r"#[ \t]+(.+)")


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as its folder describes it; what cannot be read is in `problems` and else left out."""

    id: str
    name: str
    emoji: str | None = None
    role: str | None = None
    description: str | None = None
    persona: str = ""  # the persona files, joined
    config: dict[str, Any] = field(default_factory=dict)  # snake_case, only what the file gives
    problems: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)  # persona files that are not blank
    version: str = ""  # 16 hex digits over all files
    source: str = "user"  # or "builtin"
    updated_at: int = 0  # ms since the epoch, newest file

    @property
    def valid(self) -> bool:
        return not self.problems


def may_be_id(id: str) -> bool:
    return bool(_SLUG.fullmatch(id)) and id not in RESERVED


def is_agent(directory: Path) -> bool:
    """The one rule that makes a folder an agent."""
    if not may_be_id(directory.name) or directory.is_symlink() or not directory.is_dir():
        return False
    marks = (directory / PERSONA_FILES[0], directory / CONFIG_FILE)
    return any(mark.is_file() and not mark.is_symlink() for mark in marks)


class Installed:
    """The ids of the agents in a folder, looked up again when it changes and at least every second."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._seen = (0, float("-inf"))
        self._ids: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        mtime, now = _mtime_ns(self._directory), self._clock()
        if mtime != self._seen[0] or now - self._seen[1] > RESCAN_SECONDS:
            found = (Path(entry.path) for entry in disk.entries(self._directory))
            self._ids = frozenset(path.name for path in found if is_agent(path))
            self._seen = (mtime, now)
        return self._ids


_by_directory: dict[Path, Installed] = {}


def installed(agents_dir: Path) -> frozenset[str]:
    """The ids of the installed agents; cheap enough to ask for every request."""
    return _by_directory.setdefault(agents_dir, Installed(agents_dir))()


def load(agents_dir: Path, id: str) -> Agent | None:
    """The agent `id` as it is on disk now, None if there is none."""
    directory = agents_dir / id
    if not may_be_id(id) or not is_agent(directory):
        return None
    texts, problems = read_files(directory)
    config, wrong = read_config(texts[CONFIG_FILE])
    files = {name: texts[name] for name in PERSONA_FILES if texts[name].strip()}
    return Agent(
        id=id,
        **_identity(texts["IDENTITY.md"], id),
        persona="\n\n".join(text.strip() for text in files.values()),
        config=config,
        problems=(*problems, *(f"{CONFIG_FILE}: {problem}" for problem in wrong)),
        files=files,
        version=version_of(texts),
        source="builtin" if (BUILT_IN / id).is_dir() else "user",
        updated_at=max(_mtime_ns(directory / name) for name in FILES) // 1_000_000,
    )


def read_files(directory: Path) -> tuple[dict[str, str], list[str]]:
    """({file: text, "" if it is absent or cannot be read}, what cannot be read and why)."""
    problems: list[str] = []
    texts = {name: _read(directory / name, limit(name), problems) for name in FILES}
    return texts, problems


def limit(name: str) -> int:
    """The most bytes of a file."""
    return MAX_CONFIG_BYTES if name == CONFIG_FILE else MAX_PERSONA_BYTES


def _read(path: Path, most: int, problems: list[str]) -> str:
    try:
        data = disk.read(path, most)
        if len(data) > most:
            raise ValueError(f"larger than {most // 1024} KB")
        return data.decode("utf-8-sig").replace("\0", "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read: {getattr(error, 'strerror', None) or error}")
        return ""


def _identity(text: str, id: str) -> dict[str, str | None]:
    """Name, emoji, role and description from `Key: value` lines; a heading or the id stands in for the name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _IDENTITY.fullmatch(line)
        if match and match[2].strip(" \t*_"):
            found.setdefault(match[1].lower(), match[2].strip(" \t*_"))
    heading = next((match[1].strip() for line in text.splitlines() if (match := _HEADING.fullmatch(line))), None)
    found.setdefault("name", heading or id)
    return {key: found.get(key) for key in _KEYS}


def version_of(files: dict[str, str]) -> str:
    """16 hex digits over the texts of all files."""
    digest = hashlib.sha256()
    for name, text in files.items():
        digest.update(f"{name}\0{len(text)}\0{text}\0".encode())
    return digest.hexdigest()[:16]


def _mtime_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return 0
