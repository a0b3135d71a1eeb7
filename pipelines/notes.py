"""Memories on disk: a Markdown note each, whose front matter is read leniently and written strictly."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from pipelines import front_matter, text
from pipelines.text import YamlError

SHARED = "shared"
ACTIVE, SUPERSEDED, QUARANTINED = STATUSES = ("active", "superseded", "quarantined")
TYPES = ("fact", "feeling", "decision", "lesson", "commitment", "preference", "relationship", "project")
MAX_BYTES = 256 * 1024  # of a note
MAX_HEAD_BYTES = 64 * 1024
MAX_PATH_BYTES, MAX_FOLDERS, PREVIEW = 255, 8, 200
TITLE_WORDS = 10
MAX_TITLE, MAX_TAGS, MAX_TAG, MAX_TYPE = 300, 50, 64, 64
IGNORED_FOLDERS = frozenset({"templates", "node_modules"})
LINK_KEYS = ("related", "depends_on", "blocked_by", "blocks", "supersedes", "project", "people", "links")

_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_ID = re.compile(r"mem_[0-9a-hjkmnp-tv-z]{26}")
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_TAG = re.compile(r"(?:^|(?<=\s))#([A-Za-z][\w/-]{0,63})(?=[\s.,;:!?)]|$)")


@dataclass(frozen=True, slots=True)
class Note:
    """What a note says of itself; `front`: the front matter as it stands, `problems`: what could not be read."""

    title: str
    body: str
    front: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    type: str | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    author: str | None = None
    created_at: int | None = None  # ms
    updated_at: int | None = None
    valid_from: int | None = None
    valid_to: int | None = None
    superseded_by: str | None = None
    status: str = ACTIVE
    aliases: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def may_be_vault(name: str) -> bool:
    return bool(_SLUG.fullmatch(name))


def may_be_id(text: str) -> bool:
    return bool(_ID.fullmatch(text))


def digest(data: str | bytes) -> str:
    """The version of a note's text."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def folded(name: str) -> str:
    """A title or alias as links are compared with it: without case, accents' spelling and runs of spaces."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def normalised(body: str) -> str:
    """What makes two notes the same text."""
    return digest(folded(body))


def stem_of(path: str) -> str:
    """The path without `.md`, as links name it."""
    return path[:-3] if path.lower().endswith(".md") else path


def path_problem(path: str) -> str | None:
    """Why the API makes no note of that path."""
    parts = path.split("/")
    if len(path.encode(errors="replace")) > MAX_PATH_BYTES or len(parts) > MAX_FOLDERS + 1:
        return f"at most {MAX_PATH_BYTES} bytes and {MAX_FOLDERS} folders"
    if not all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts):
        return "each part starts with a letter or digit, and holds only those, spaces, dots, - and _"
    if not path.endswith(".md"):
        return "a note's name ends in .md"
    return "that folder is left out of memory" if IGNORED_FOLDERS.intersection(parts[:-1]) else None


def slug(title: str) -> str:
    """A title as a file name."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80].rstrip("-") or "note"


# --- reading ---


def parse(document: str, path: str) -> Note:
    """The note; whatever is wrong with its front matter is among the problems, and its text counts all the same."""
    head, body = front_matter.split(document.removeprefix("\ufeff"))
    front, problems = _read_head(head)
    said = _Said(front, problems)
    title = said.text("title", limit=MAX_TITLE) or _first_heading(body) or PurePosixPath(stem_of(path)).name
    kind = said.slug("type", "memoryType")
    folder = path.split("/", 1)[0] if "/" in path else None
    superseded_by = said.text("superseded_by", "supersededBy")
    return Note(
        title=title,
        body=body,
        front=front,
        id=said.id(),
        type=kind,
        category=said.text("category", limit=MAX_TYPE) or kind or folder,
        tags=tuple(dict.fromkeys((*said.several("tags"), *_TAG.findall(body))))[:MAX_TAGS],
        author=said.text("author", "agent"),
        created_at=said.time("created", "createdAt", "created_at", "date", "timestamp"),
        updated_at=said.time("updated", "updatedAt", "updated_at"),
        valid_from=said.time("valid_from"),
        valid_to=said.time("valid_to"),
        superseded_by=superseded_by,
        status=said.status(superseded_by),
        aliases=tuple(said.several("aliases")),
        problems=tuple(problems),
    )


def _read_head(head: str | None) -> tuple[dict[str, Any], list[str]]:
    if not head or not head.strip():
        return {}, []
    try:
        source = text.read(head, MAX_HEAD_BYTES)
    except YamlError as error:
        return {}, [f"front matter, line {error.line or 1}: {error}"]
    if not isinstance(source.value, dict):
        return {}, [] if source.value is None else ["the front matter is not a list of keys and values"]
    return source.value, [f"front matter: {path[-1]} is given twice" for path, _ in source.duplicates]


def has_heading(body: str) -> bool:
    return _HEADING.search(body) is not None


def _first_heading(body: str) -> str | None:
    found = _HEADING.search(body)
    return found[1].strip()[:MAX_TITLE] or None if found else None


class _Said:
    """The front matter by meaning: several spellings of a key, several forms of a value."""

    def __init__(self, front: dict[str, Any], problems: list[str]) -> None:
        self._front, self._problems = front, problems

    def _first(self, names: tuple[str, ...]) -> tuple[str, Any]:
        return next(((name, self._front[name]) for name in names if self._front.get(name) is not None), ("", None))

    def text(self, *names: str, limit: int = 200) -> str | None:
        name, value = self._first(names)
        if isinstance(value, dict | list):
            self._problems.append(f"{name}: not a text")
            return None
        return str(value).strip()[:limit] or None if value is not None else None

    def slug(self, *names: str) -> str | None:
        value = self.text(*names)
        return re.sub(r"[\s_]+", "-", value.lower())[:MAX_TYPE] if value else None

    def several(self, *names: str) -> list[str]:
        _, value = self._first(names)
        items = re.split(r"[,\s]+", value) if isinstance(value, str) else value if isinstance(value, list) else [value]
        texts = (str(item).strip().lstrip("#")[:MAX_TAG] for item in items if isinstance(item, str | int | float))
        return [item for item in texts if item]

    def time(self, *names: str) -> int | None:
        name, value = self._first(names)
        moment = as_ms(value)
        if value is not None and moment is None:
            self._problems.append(f"{name}: not a time")
        return moment

    def id(self) -> str | None:
        value = self._front.get("id")
        return value if isinstance(value, str) and may_be_id(value) else None

    def status(self, superseded_by: str | None) -> str:
        value = self._front.get("status")
        if value == QUARANTINED:
            return QUARANTINED
        return SUPERSEDED if superseded_by or value == SUPERSEDED else ACTIVE


def as_ms(value: Any) -> int | None:
    """A time as people and programs write it: ISO, or ms since the epoch; no zone is UTC."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    return int(value) if 0 <= value < 2**53 else None


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# --- writing ---


def write(front: dict[str, Any], body: str) -> str:
    """The document; keys without a value are left out, all others are kept."""
    kept = {name: value for name, value in front.items() if value is not None and value != []}
    return front_matter.write(kept, body.replace("\r\n", "\n"))


def has_front_matter(document: str) -> bool:
    return front_matter.split(document)[0] is not None


def first_words(body: str) -> str:
    """What to call a note that has no title."""
    line = next((line.strip() for line in body.splitlines() if line.strip()), "note")
    return " ".join(line.lstrip("#").split()[:TITLE_WORDS])[:MAX_TITLE]


def preview(body: str) -> str:
    return body.strip()[:PREVIEW]
