"""Workspaces: the folder that a run's agents work in, and snapshots of it.

A snapshot is a tree beside the others of its run, in which a file that has not changed since the last one is a hard
link to it. Copies run in native threads, since they would block the hub.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import gevent

from models import config

MAX_BYTES = 2 * 1024**3  # a larger workspace is not kept
MOST_CHANGES = 500  # files that a step is said to have changed
OURS = frozenset({".git", ".djinnbot"})


class TooBig(Exception):
    """The workspace is over the size that is kept."""


def folder(run_id: str) -> Path:
    return config.get().workspaces_dir / run_id


def snapshot_name(run_id: str, epoch: int, n: int) -> str:
    """Of the workspace as it was when visit `n` began."""
    return f"{run_id}/{epoch}.{n}"


def snapshots_of(run_id: str) -> Path:
    return config.get().data_dir / "snapshots" / run_id


def _path(name: str) -> Path:
    return config.get().data_dir / "snapshots" / name


def take(run_id: str, name: str) -> bool:
    """Keeps the workspace under `name`, unless it is kept already; False if it is too big."""
    if _path(name).exists():
        return True
    try:
        _in_thread(_take, folder(run_id), _path(name))
    except TooBig:
        return False
    return True


def restore(run_id: str, name: str | None) -> None:
    """Makes the workspace what it was at `name`; None empties it. A snapshot that was not kept changes nothing."""
    if name is not None and not _path(name).exists():
        return
    _in_thread(_restore, folder(run_id), _path(name) if name else None)


def changes(run_id: str, name: str) -> list[dict[str, str | int | None]]:
    """Files that differ from snapshot `name`, by path: `{path, size, sha256, action}`; [] if it was not kept.

    `action` is created, modified or deleted; of a deleted file size and sha256 are None. Links and the folders of
    OURS are left out.
    """
    if not _path(name).exists():
        return []
    return _in_thread(_changes, folder(run_id), _path(name))


def remove(run_id: str) -> None:
    """Deletes the workspace and its snapshots."""
    for path in (folder(run_id), snapshots_of(run_id)):
        if path.exists():
            _in_thread(shutil.rmtree, path)


def find(run_id: str, epoch: int, n: int) -> str | None:
    """The name of the newest snapshot of a visit that restarts may have kept from an earlier epoch."""
    names = (snapshot_name(run_id, earlier, n) for earlier in range(epoch, 0, -1))
    return next((name for name in names if _path(name).exists()), None)


def _in_thread(work, *args):
    return gevent.get_hub().threadpool.apply(work, args)


def _take(source: Path, target: Path) -> None:
    before = max(target.parent.glob("*"), key=lambda path: path.stat().st_mtime, default=None)
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _copy_tree(source, draft, before)
    draft.rename(target)


def _copy_tree(source: Path, target: Path, before: Path | None) -> None:
    copied = 0
    for where, folders, names in os.walk(source):
        here = Path(where).relative_to(source)
        for name in folders:
            if not (Path(where) / name).is_symlink():
                (target / here / name).mkdir(exist_ok=True)
        for name in [*names, *(name for name in folders if (Path(where) / name).is_symlink())]:
            copied += _copy(Path(where) / name, target / here / name, before and before / here / name)
            if copied > MAX_BYTES:
                raise TooBig


def _copy(source: Path, target: Path, before: Path | None) -> int:
    """Bytes of the file. Only regular files and links are kept."""
    facts = source.lstat()
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return 0
    if not source.is_file():
        return 0
    if before is not None and _same(facts, before):
        os.link(before, target, follow_symlinks=False)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
    return facts.st_size


def _same(facts: os.stat_result, other: Path) -> bool:
    try:
        kept = other.lstat()
    except OSError:
        return False
    return (kept.st_mode, kept.st_size, kept.st_mtime_ns) == (facts.st_mode, facts.st_size, facts.st_mtime_ns)


def _restore(target: Path, source: Path | None) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if source is not None:
        _copy_tree(source, target, None)


def _changes(now: Path, before: Path) -> list[dict[str, str | int | None]]:
    old, new = dict(_files(before)), dict(_files(now))
    paths = sorted(path for path in old.keys() | new.keys() if not _same_file(old.get(path), new.get(path)))
    return [_change(path, old.get(path), new.get(path)) for path in paths[:MOST_CHANGES]]


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in OURS]
        for path in (Path(where) / name for name in names):
            if path.is_file() and not path.is_symlink():
                yield str(path.relative_to(root)), path


def _same_file(old: Path | None, new: Path | None) -> bool:
    if old is None or new is None:
        return False
    return _same(new.lstat(), old) or filecmp.cmp(old, new, shallow=False)


def _change(path: str, old: Path | None, new: Path | None) -> dict[str, str | int | None]:
    if new is None:
        return {"path": path, "size": None, "sha256": None, "action": "deleted"}
    with new.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": path,
        "size": new.stat().st_size,
        "sha256": digest,
        "action": "modified" if old else "created",
    }
