"""Vaults on disk: the folders of notes, read and written beneath their root and through no link."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from models import config
from models.errors import Invalid, NotFound, Unavailable
from pipelines import disk, notes
from pipelines.notes import IGNORED_FOLDERS, MAX_BYTES, MAX_FOLDERS, Note
from workers import locks
from workers.memory_rows import Draft, mark_of

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TRASH = ".trash"


def folder(vault: str) -> Path:
    """Raises NotFound for what cannot be a vault's name."""
    if not notes.may_be_vault(vault):
        raise NotFound(f"Vault {vault[:80]} not found", "vault_not_found")
    return config.get().vaults_dir / vault


@contextlib.contextmanager
def locked(vault: str) -> Iterator[Path]:
    """The vault's folder, which no other writer of ours changes meanwhile. Take it before a transaction.

    Raises Unavailable if another writer does not come to an end.
    """
    root = folder(vault)
    with locks.exclusive(config.get().vaults_dir, vault, "vault_locked"):
        yield root


def installed() -> list[str]:
    """The names of the vaults that have a folder."""
    found = disk.entries(config.get().vaults_dir)
    return [entry.name for entry in found if notes.may_be_vault(entry.name) and entry.is_dir(follow_symlinks=False)]


# --- reading ---


def files(root: Path) -> dict[str, str]:
    """{path: mark} of everything that may be a note."""
    found: dict[str, str] = {}
    if root.is_dir() and not root.is_symlink():
        _walk(root, "", 0, found)
    return found


def _walk(folder: Path, prefix: str, depth: int, found: dict[str, str]) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.endswith("~"):
                continue
            if entry.is_dir(follow_symlinks=False):
                if depth < MAX_FOLDERS and name not in IGNORED_FOLDERS:
                    _walk(Path(entry.path), f"{prefix}{name}/", depth + 1, found)
            elif name.endswith(".md") and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                found[prefix + name] = mark_of(status.st_size, status.st_mtime_ns)


def read(root: Path, path: str, key: int | None = None) -> Draft | str:
    """The note in a file, or why it is none."""
    *folders, name = path.split("/")
    try:
        path.encode()
        with disk.inside(root, folders) as parent:
            data = disk.read(Path(name), MAX_BYTES, parent)
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except UnicodeError:
        return "the name is not UTF-8"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if len(data) > MAX_BYTES:
        return f"larger than {MAX_BYTES // 1024} KiB"
    return drafted(path, data, status, key)


def drafted(path: str, data: bytes, status: os.stat_result, key: int | None) -> Draft | str:
    try:
        document = data.decode()
    except UnicodeError:
        return "not UTF-8 text"
    if "\0" in document:
        return "holds NUL"
    mark = mark_of(status.st_size, status.st_mtime_ns)
    return Draft(path, document, notes.parse(document, path), status.st_mtime_ns // 1_000_000, mark, key)


# --- writing ---


class Pending:
    """A file's new text beside it, on disk already; `put` makes it the file, or nothing happens."""

    def __init__(self, parent: int, name: str, document: str) -> None:
        self._parent, self._name = parent, name
        self._draft = f".{secrets.token_hex(8)}.tmp"
        with os.fdopen(os.open(self._draft, CREATE, 0o644, dir_fd=parent), "wb") as file:
            file.write(document.encode())
            file.flush()
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
        self.mark = mark_of(status.st_size, status.st_mtime_ns)
        self.modified = status.st_mtime_ns // 1_000_000

    def put(self) -> None:
        os.replace(self._draft, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        os.fsync(self._parent)

    def drop(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._draft, dir_fd=self._parent)


@contextlib.contextmanager
def writing(root: Path, path: str, document: str) -> Iterator[Pending]:
    """A file's new text, to be `put` at the end of the transaction that stores it. Raises Invalid, Unavailable."""
    *folders, name = path.split("/")
    root.mkdir(parents=True, exist_ok=True)
    try:
        with disk.inside(root, folders, create=True) as parent:
            pending = Pending(parent, name, document)
            try:
                yield pending
            finally:
                pending.drop()
    except (NotADirectoryError, IsADirectoryError) as error:
        reason = {"filename": ["leads through a file or a symbolic link"]}
        raise Invalid(f"{path} leads through something that is not a folder", "bad_path", reason) from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror or error}", "vault_not_writable") from error


def remove(root: Path, path: str) -> None:
    """Deletes the file; one that is gone already is no matter."""
    *folders, name = path.split("/")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), disk.inside(root, folders) as parent:
        os.unlink(name, dir_fd=parent)


def exists(root: Path, path: str) -> bool:
    """Whether anything stands there, a link too."""
    *folders, name = path.split("/")
    try:
        with disk.inside(root, folders) as parent:
            os.stat(name, dir_fd=parent, follow_symlinks=False)
    except OSError:
        return False
    return True


def refused(path: str) -> None:
    """Raises Invalid unless the API may make a note of that path."""
    problem = notes.path_problem(path)
    if problem:
        raise Invalid(f"{path[:200]!r}: {problem}", "bad_path", {"filename": [problem]})


def parsed(document: str, path: str) -> Note:
    """A note that the API is about to write. Raises Invalid if its front matter cannot be read or it is too large."""
    if len(document.encode()) > MAX_BYTES:
        raise Invalid(f"A note has at most {MAX_BYTES // 1024} KiB", "note_too_large", {"content": ["too large"]})
    note = notes.parse(document, path)
    if note.problems:
        raise Invalid("; ".join(note.problems), "bad_front_matter", {"content": list(note.problems)})
    return note
