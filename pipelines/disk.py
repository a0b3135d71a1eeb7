"""Files that others may have put there: regular ones only, never through a link, never too much."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read(path: Path, most: int, beneath: int | None = None) -> bytes:
    """The bytes of a regular file, one more than `most` at the longest. Raises OSError for anything else.

    `beneath`: descriptor of the directory that a relative path starts from.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=beneath)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is not a regular file")
        return file.read(most + 1)


def write(path: Path, data: bytes) -> None:
    """The whole file or nothing, whatever happens meanwhile; what stands there is replaced, a link too."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o644)
        file.write(data)
        file.flush()
        os.fsync(handle)
    Path(draft).replace(path)


def entries(directory: Path) -> Iterator[os.DirEntry]:
    """What stands in a directory, by name, without hidden names; nothing if there is no such directory."""
    try:
        with os.scandir(directory) as found:
            visible = [entry for entry in found if not entry.name.startswith(".")]
    except FileNotFoundError:
        return
    yield from sorted(visible, key=lambda entry: entry.name)


def tree(folder: Path) -> Iterator[tuple[str, os.stat_result, int]]:
    """(path beneath `folder`, its status, its directory's descriptor) of all regular files, in order.

    No link is followed, hidden names and editors' copies (`x~`) are left out. The descriptor lives until the next one.
    """
    for top, folders, files, handle in os.fwalk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.startswith(".") or name.endswith("~"):
                continue
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                yield str((Path(top) / name).relative_to(folder)), status, handle


def is_name(part: str) -> bool:
    """Whether a part of a path names something in the folder before it."""
    return part not in ("", ".", "..") and "/" not in part and "\0" not in part


@contextlib.contextmanager
def inside(root: Path, folders: Sequence[str], create: bool = False) -> Iterator[int]:
    """A descriptor of the folder beneath `root`, reached part by part, through no link and never upwards.

    Raises OSError.
    """
    if not all(map(is_name, folders)):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with contextlib.ExitStack() as stack:
        current = os.open(root, FOLDER)
        stack.callback(os.close, current)
        for part in folders:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
            current = os.open(part, FOLDER, dir_fd=current)
            stack.callback(os.close, current)
        yield current
