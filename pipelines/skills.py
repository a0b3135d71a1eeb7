"""Skills: a folder each, with a SKILL.md (YAML front matter, then instructions) and companion files.

The format is that of the Agent Skills specification, with `tags` and `enabled` of our own. All of it is data.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines import disk, front_matter, text
from pipelines.text import YamlError

BUILT_IN = Path(__file__).parent / "skills"
SKILL_FILE = "SKILL.md"
RESERVED = frozenset({"agents", "parse", "import"})
MAX_NAME, MAX_DESCRIPTION, MAX_TAGS, MAX_TAG = 64, 1024, 20, 64  # characters, but for the number of tags
MAX_CONTENT_BYTES = 256 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_FILES, MAX_FILE_BYTES, MAX_FILES_BYTES = 100, 1 << 20, 5 << 20
MAX_PATH_BYTES, MAX_PARTS = 255, 9

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")


@dataclass(frozen=True, slots=True)
class Skill:
    """`frontmatter`: everything in it but `enabled`. `files`: the companions by path."""

    frontmatter: dict[str, Any]
    content: str
    enabled: bool = True
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.frontmatter.get("name") or "")

    @property
    def description(self) -> str:
        return str(self.frontmatter.get("description") or "")

    @property
    def tags(self) -> list[str]:
        return self.frontmatter.get("tags") or []

    @property
    def sha256(self) -> str:
        """Over everything that makes a version; how the file is laid out does not count."""
        parts = [self.frontmatter, self.content, {path: digest(data) for path, data in self.files.items()}]
        return digest(json.dumps(parts, sort_keys=True).encode())


@dataclass(frozen=True, slots=True)
class Found:
    """A folder as it stands; with problems the skill is what could be read."""

    skill: Skill
    problems: tuple[str, ...]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- names and paths ---


def may_be_name(name: str) -> bool:
    return len(name) <= MAX_NAME and bool(_NAME.fullmatch(name)) and name not in RESERVED


def tidied(given: str) -> str:
    """What a person typed, as a name would be written; it need not be one."""
    return re.sub(r"[ _]", "-", given.strip().lower())


def suggested(given: str) -> str:
    """A name that is allowed and as close as possible."""
    name = re.sub(r"[^a-z0-9]+", "-", tidied(given)).strip("-")[:MAX_NAME].rstrip("-")
    return name if may_be_name(name) else f"{name[: MAX_NAME - 6]}-skill".lstrip("-")


def path_problem(path: str) -> str | None:
    """Why a companion may not have that path."""
    parts = path.split("/")
    if len(path.encode(errors="replace")) > MAX_PATH_BYTES or len(parts) > MAX_PARTS:
        return "the path is too long or too deep"
    if not all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts):
        return "each part starts with a letter or digit, and holds only those, spaces, dots, - and _"
    if path.lower() == SKILL_FILE.lower():
        return f"{SKILL_FILE} is not a companion"
    return None


def file_problems(files: dict[str, bytes]) -> list[str]:
    """What is wrong with a set of companions."""
    problems = [f"{path[:80]!r}: {why}" for path in files if (why := path_problem(path))]
    problems += [f"{path[:80]}: larger than 1 MiB" for path, data in files.items() if len(data) > MAX_FILE_BYTES]
    folded = {path.lower() for path in files}
    above = {str(parent) for path in folded for parent in PurePosixPath(path).parents}
    if len(folded) < len(files) or folded & above:
        problems.append("two companions have the same path, or one stands where another has its folder")
    if len(files) > MAX_FILES:
        problems.append(f"more than {MAX_FILES} companions")
    if sum(map(len, files.values())) > MAX_FILES_BYTES:
        problems.append("the companions are larger than 5 MiB together")
    return problems


# --- SKILL.md ---


def parse(document: str, name: str | None = None) -> Found:
    """A SKILL.md, whose skill must be called `name` if that is given."""
    head, content = front_matter.split(document)
    given, enabled, problems = read_head(head)
    skill = Skill(given, content, enabled)
    return Found(skill, (*problems, *document_problems(skill, name)))


def read_head(head: str | None) -> tuple[dict[str, Any], bool, list[str]]:
    """(its values without `enabled`, whether that is not false, what is wrong with the YAML)."""
    given, problems = _read_head(head)
    enabled = given.pop("enabled", True)
    if not isinstance(enabled, bool):
        problems.append("enabled: true or false")
    return given, enabled is not False, problems


def _read_head(head: str | None) -> tuple[dict[str, Any], list[str]]:
    if head is None:
        return {}, ["there is no front matter: the first line is ---, and another --- ends it"]
    try:
        source = text.read(head, MAX_HEAD_BYTES)
    except YamlError as error:
        return {}, [f"front matter, line {error.line or 1}: {error}"]
    if not isinstance(source.value, dict):
        return {}, ["the front matter is not a list of keys and values"]
    return source.value, [f"front matter: {path[-1]} is given twice" for path, _ in source.duplicates]


def document_problems(skill: Skill, name: str | None = None) -> list[str]:
    """What is wrong with the front matter and the content."""
    return [*_name_problems(skill, name), *_described(skill), *_tag_problems(skill), *_content_problems(skill)]


def _name_problems(skill: Skill, name: str | None) -> list[str]:
    given = skill.frontmatter.get("name")
    if not isinstance(given, str) or not may_be_name(given):
        return ["name: at most 64 of a-z, 0-9 and single hyphens between them, and not reserved"]
    return [f"name: {given}, but the skill is called {name}"] if name not in (None, given) else []


def _described(skill: Skill) -> list[str]:
    given = skill.frontmatter.get("description")
    if not isinstance(given, str) or not given.strip() or len(given) > MAX_DESCRIPTION:
        return [f"description: 1 to {MAX_DESCRIPTION} characters"]
    return []


def _tag_problems(skill: Skill) -> list[str]:
    tags = skill.frontmatter.get("tags")
    if tags is None:
        return []
    sound = isinstance(tags, list) and all(isinstance(tag, str) and 0 < len(tag) <= MAX_TAG for tag in tags)
    return [] if sound and len(tags) <= MAX_TAGS else [f"tags: a list of at most {MAX_TAGS} short texts"]


def _content_problems(skill: Skill) -> list[str]:
    if not skill.content.strip():
        return ["there are no instructions after the front matter"]
    if len(skill.content.encode()) > MAX_CONTENT_BYTES:
        return ["the instructions are larger than 256 KiB"]
    return ["the instructions hold NUL"] if "\0" in skill.content else []


def write(skill: Skill) -> str:
    """The SKILL.md."""
    given = skill.frontmatter if skill.enabled else skill.frontmatter | {"enabled": False}
    return front_matter.write(given, skill.content)


# --- folders ---


def is_skill(folder: Path) -> bool:
    """The one rule that makes a folder a skill."""
    mark = folder / SKILL_FILE
    return may_be_name(folder.name) and not folder.is_symlink() and mark.is_file() and not mark.is_symlink()


def mark(folder: Path) -> str:
    """Differs whenever anything in the folder may have changed; "" if there is no folder."""
    if not folder.is_dir() or folder.is_symlink():
        return "link" if folder.is_symlink() else ""
    seen = ((path, status.st_size, status.st_mtime_ns, status.st_ino) for path, status, _ in _tree(folder))
    return digest(repr(list(seen)).encode())


def _tree(folder: Path) -> Iterator[tuple[str, os.stat_result, int]]:
    return islice(disk.tree(folder), MAX_FILES + 2)


def read(folder: Path) -> Found:
    """The skill in a folder. Whatever is wrong with it is among the problems."""
    files, problems = _read_files(folder)
    document = files.pop(SKILL_FILE, None)
    if document is None:
        return Found(Skill({}, ""), (f"{SKILL_FILE} is missing", *problems))
    try:
        found = parse(document.decode("utf-8-sig"), folder.name)
    except UnicodeError:
        return Found(Skill({}, ""), (f"{SKILL_FILE} is not UTF-8 text",))
    skill = Skill(found.skill.frontmatter, found.skill.content, found.skill.enabled, files)
    return Found(skill, (*problems, *found.problems, *file_problems(files)))


def _read_files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    files: dict[str, bytes] = {}
    total = 0
    try:
        for path, _, handle in _tree(folder):
            most = MAX_HEAD_BYTES + MAX_CONTENT_BYTES if path == SKILL_FILE else MAX_FILE_BYTES
            files[path] = disk.read(Path(path).name, most, handle)
            total += len(files[path])
            if total > MAX_FILES_BYTES + MAX_HEAD_BYTES + MAX_CONTENT_BYTES:
                break
    except OSError as error:
        return files, [f"{error.filename or folder.name} cannot be read: {error.strerror or error}"]
    return files, []


@functools.cache
def built_in() -> frozenset[str]:
    """The names of the skills that come with the platform."""
    return frozenset(path.name for path in BUILT_IN.iterdir() if is_skill(path))
