"""Opening files of a workspace and no others: component by component, following no link (security, rule 10)."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from workers.clients.sandbox import WORKSPACE
from workers.tools.base import ToolError

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # nonblocking: a FIFO must not hold us
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

REASONS = {
    errno.ENOENT: "does not exist",
    errno.ELOOP: "is or leads through a symbolic link, which is not followed",
    errno.ENOTDIR: "leads through something that is not a folder, or through a symbolic link",
    errno.EISDIR: "is a folder",
    errno.EACCES: "may not be accessed",
    errno.EPERM: "may not be changed",
    errno.ENAMETOOLONG: "is too long",
    errno.ENOSPC: "does not fit: the disk is full",
}


def parts(path: str) -> list[str]:
    """The components of a path within the workspace. Raises ToolError on `..` and on other absolute paths."""
    is_prefixed = path == WORKSPACE or path.startswith(f"{WORKSPACE}/")
    if path.startswith("/") and not is_prefixed:
        raise ToolError(f"{path} is outside of the workspace; paths are relative to it or begin with {WORKSPACE}/")
    inner = path.removeprefix(WORKSPACE) if is_prefixed else path
    found = [part for part in inner.split("/") if part not in ("", ".")]
    if ".." in found or "\0" in path:
        raise ToolError(f"{path!r}: `..` and NUL are not allowed in paths")
    return found


@contextlib.contextmanager
def folder(workspace: Path, components: list[str], create: bool = False) -> Iterator[int]:
    """A descriptor of the folder, made with its parents if `create`."""
    with explained("/".join(components) or "."), contextlib.ExitStack() as stack:
        current = _owned(stack, os.open(workspace, FOLDER & ~os.O_NOFOLLOW))
        for component in components:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(component, 0o755, dir_fd=current)
            current = _owned(stack, os.open(component, FOLDER, dir_fd=current))
        yield current


def _owned(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def read(workspace: Path, path: str, max_bytes: int) -> bytes:
    """The content of a regular file. Raises ToolError if it is something else or larger."""
    *parents, name = _named(path)
    with folder(workspace, parents) as parent, explained(path):
        descriptor = os.open(name, READ, dir_fd=parent)
        with os.fdopen(descriptor, "rb") as file:
            _check_regular(path, os.fstat(descriptor), max_bytes)
            return file.read(max_bytes)


def write(workspace: Path, path: str, content: bytes) -> None:
    """Replace the file in one step, or make it and its folders; its mode is kept."""
    *parents, name = _named(path)
    with folder(workspace, parents, create=True) as parent, explained(path):
        mode = _mode(path, name, parent)
        draft = f".{secrets.token_hex(8)}.tmp"
        with os.fdopen(os.open(draft, CREATE, mode, dir_fd=parent), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.replace(draft, name, src_dir_fd=parent, dst_dir_fd=parent)


def _mode(path: str, name: str, parent: int) -> int:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return 0o644
    _check_regular(path, status)
    return stat.S_IMODE(status.st_mode)


def _check_regular(path: str, status: os.stat_result, max_bytes: int | None = None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ToolError(f"{path} is a folder")
    if stat.S_ISLNK(status.st_mode):
        raise ToolError(f"{path} {REASONS[errno.ELOOP]}")
    if not stat.S_ISREG(status.st_mode):
        raise ToolError(f"{path} is not a regular file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise ToolError(f"{path} has {status.st_size} bytes, more than the {max_bytes} that can be read at once")


def _named(path: str) -> list[str]:
    components = parts(path)
    if not components:
        raise ToolError(f"{path or 'the empty path'} is a folder")
    return components


@contextlib.contextmanager
def explained(path: str):
    """Errors of the file system in words."""
    try:
        yield
    except OSError as error:
        raise ToolError(f"{path} {REASONS.get(error.errno, error.strerror)}") from error
