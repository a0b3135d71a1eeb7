"""Built-in agents and skills, copied into the user's folders: once, and never over what the user changed or deleted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path

from pipelines import disk

BUILT_IN = Path(__file__).parent / "agents"
RECORD = ".seeded.json"

Record = dict[str, dict[str, str]]  # {folder: {file: hash as copied}}


def seed(root: Path, built_in: Path = BUILT_IN, deleted: Collection[str] = ()) -> None:
    """Brings `root` up to the folders of `built_in`, without those `deleted`. For every start, by one process."""
    root.mkdir(parents=True, exist_ok=True)
    before = _read_record(root)
    record: Record = {id: dict(files) for id, files in before.items()}
    for source in sorted(path for path in built_in.iterdir() if path.is_dir() and path.name not in deleted):
        target = root / source.name
        if source.name in record and target.is_dir():
            _upgrade(source, target, record[source.name])
        elif source.name not in record and not os.path.lexists(target):
            record[source.name] = _copy_folder(source, target)
    if record != before:
        disk.write(root / RECORD, json.dumps(record, indent=1, sort_keys=True).encode())


def _copy_folder(source: Path, target: Path) -> dict[str, str]:
    """All files, under a hidden name until the last one is there."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.mkdir(exist_ok=True)
    copied = {file.name: _copy(file, temporary / file.name) for file in _files(source)}
    temporary.rename(target)
    return copied


def _upgrade(source: Path, target: Path, copied: dict[str, str]) -> None:
    """Replaces the files that are still as they were copied, and adds new ones."""
    for file in _files(source):
        mine = target / file.name
        untouched = mine.is_file() and copied.get(file.name) == _hash(mine.read_bytes())
        is_new = file.name not in copied and not os.path.lexists(mine)
        if is_new or (untouched and copied[file.name] != _hash(file.read_bytes())):
            copied[file.name] = _copy(file, mine)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file() and not path.name.startswith("."))


def _copy(source: Path, target: Path) -> str:
    data = source.read_bytes()
    disk.write(target, data)
    return _hash(data)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_record(root: Path) -> Record:
    path = root / RECORD
    return json.loads(path.read_bytes()) if path.exists() else {}
