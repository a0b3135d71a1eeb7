"""The folders of skills and their rows, brought together after a change of either.

Whoever changes a row says so in it (`behind`): the folder follows, at once or after a crash. Any other difference was
made by hand: the row follows. So no order of edits, deletions and restarts brings an older skill back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from models import config, database, events, outbox, skills
from models.base import new_id
from models.errors import Unavailable
from models.events import Event
from models.skills import Skill
from pipelines import disk
from pipelines import skills as pages
from pipelines.skills import SKILL_FILE, Found
from workers import locks
from workers.broker import actor, doorbell

log = structlog.get_logger(__name__)

SCAN = "skills"
TRASH = ".trash"
DISK, BUILT_IN = "disk", "builtin"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Lets the caller change the row, on top of what was done by hand; the folder follows.

    Take it before a transaction. Raises Unavailable if another writer does not come to an end.
    """
    with locks.exclusive(config.get().skills_dir, name, "skill_locked"):
        settle(name)
        yield
        try:
            settle(name)
        except (OSError, Unavailable) as error:  # the row is right, and the next scan tries again
            log.warning("skill_not_written", skill=name, error=str(error))


def settle(name: str) -> None:
    """Brings folder and row together, under the lock. Raises OSError."""
    folder = config.get().skills_dir / name
    seen = pages.mark(folder)
    with database.connection():
        skill = skills.known(name)
        if skill is not None and skill.behind:
            _follow(folder, skill)
        elif skill is None or skill.disk_mark != seen:
            _take(folder, seen)


# --- the folder follows ---


def _follow(folder: Path, skill: Skill) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        folder.unlink()
    if not skill.deleted_at:
        _write(folder, skill)
    elif folder.exists():
        folder.rename(_trash(folder))
    with database.transaction():
        Skill.update(behind=False, disk_mark=pages.mark(folder), problems=[]).where(Skill.name == skill.name).execute()


def _trash(folder: Path) -> Path:
    """Where to put what is thrown away."""
    trash = folder.parent / TRASH
    trash.mkdir(exist_ok=True)
    return trash / f"{folder.name}.{new_id('')}"


def _write(folder: Path, skill: Skill) -> None:
    """Every file that differs; an edit that no version holds is copied to the trash first."""
    wanted = current(skill)
    if folder.exists():
        found = pages.read(folder)
        if found.problems or not skills.is_version(skill.name, found.skill.sha256):
            shutil.copytree(folder, _trash(folder), symlinks=True)
        for path in found.skill.files.keys() - wanted.files.keys():
            (folder / path).unlink(missing_ok=True)
    for path, data in wanted.files.items():
        _put(folder, path, data)
    _put(folder, SKILL_FILE, pages.write(wanted).encode())


def _put(root: Path, path: str, data: bytes) -> None:
    """One file; a link or a file that stands where a folder must be goes away."""
    root.mkdir(exist_ok=True)
    *folders, name = path.split("/")
    for part in folders:
        root = root / part
        if root.is_symlink() or root.is_file():
            root.unlink()
        root.mkdir(exist_ok=True)
    if (root / name).is_dir() and not (root / name).is_symlink():
        shutil.rmtree(root / name)
    disk.write(root / name, data)


def current(skill: Skill) -> pages.Skill:
    """What the row says."""
    kept = skills.version(skill.name, skill.version)
    return pages.Skill(kept.frontmatter, kept.content, skill.enabled, skills.files(kept))


# --- the row follows ---


def _take(folder: Path, seen: str) -> None:
    name, found = folder.name, pages.read(folder) if seen else None
    with database.transaction():
        database.serialize()
        skill = skills.known(name)
        if skill is None or skill.deleted_at:
            skill = _discovered(folder)
        elif found is None:
            skills.forget(skill)
            note("skill_deleted", name)
        if found is not None and skill is not None:
            _apply(skill, found)
        Skill.update(disk_mark=seen, behind=False).where(Skill.name == name).execute()


def _discovered(folder: Path) -> Skill | None:
    """A row for what somebody has put there."""
    if not pages.is_skill(folder):
        return None
    source = BUILT_IN if folder.name in pages.built_in() else DISK
    return skills.add(folder.name, source, source)


def _apply(skill: Skill, found: Found) -> None:
    """What was done by hand becomes a version, or a problem."""
    if found.problems:
        skills.touch(skill, problems=list(found.problems))
        return
    page = found.skill
    changed = [name for name in ("sha256", "enabled") if getattr(skill, name) != getattr(page, name)]
    if skill.sha256 != page.sha256 or not skill.version:
        add_version(skill, page, DISK)
    if changed or skill.problems:
        skills.touch(skill, enabled=page.enabled, problems=[])
        note("skill_updated", skill.name, version=skill.version, by=DISK)


def add_version(skill: Skill, page: pages.Skill, by: str) -> None:
    """A new current version."""
    row = {
        "sha256": page.sha256,
        "description": page.description,
        "tags": page.tags,
        "content": page.content,
        "frontmatter": page.frontmatter,
        "files": listed(page.files),
    }
    skills.add_version(skill, row, page.files.values(), by)


def listed(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [{"path": path, "size": len(data), "sha256": pages.digest(data)} for path, data in files.items()]


def note(type: str, name: str, **payload: Any) -> None:
    """An event of the platform, in the enclosing transaction."""
    events.note(Event(type, payload={"name": name} | payload))


# --- watching ---


def changed() -> list[str]:
    """The skills whose folder is not as it was when it was read last, or must be written."""
    with database.connection():
        known = skills.marks()
    root = config.get().skills_dir
    folders = {entry.name for entry in disk.entries(root) if pages.is_skill(Path(entry.path))}
    return sorted(name for name in folders | known.keys() if known.get(name) != pages.mark(root / name))


def watch() -> None:
    """Rings for a scan if there is something to do."""
    if not changed():
        return
    with database.transaction():
        if not outbox.stands(SCAN, ""):
            doorbell("scan_disk", SCAN)


@actor
def scan_disk(_: str) -> None:
    """Takes over what was done by hand, and writes what a crash left unwritten."""
    for name in changed():
        try:
            with locks.exclusive(config.get().skills_dir, name, "skill_locked"):
                settle(name)
        except (OSError, Unavailable) as error:  # it stays on the list for the next scan
            log.warning("skill_not_settled", skill=name, error=str(error))
    with database.transaction():
        outbox.answered(SCAN, "")
