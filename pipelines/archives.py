"""Archives from outside: zip or tar.gz to the bytes of its files, every limit checked before anything is used."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Protocol

MAX_MEMBERS = 1_000
MAX_UNPACKED = 50 * 1024 * 1024  # bytes of all files together
MAX_RATIO = 100  # unpacked to packed
ZIP, GZIP = b"PK", b"\x1f\x8b"
BLOCK = 512  # of tar: every member has a header and is filled up
TOO_LARGE = f"more than {MAX_UNPACKED} bytes, or than {MAX_RATIO} times as many as it has packed"
# The last two are zipfile's, of a compression it does not know and of encryption.
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError)
BROKEN += (NotImplementedError, RuntimeError)


class ArchiveError(ValueError):
    """The archive is refused; the message says why."""


class _Member(Protocol):
    """What both kinds of archives say of a file."""

    name: str
    size: int

    def read(self) -> bytes: ...


def unpack(data: bytes) -> dict[str, bytes]:
    """{path: bytes} of the regular files. Raises ArchiveError."""
    try:
        return _unpacked(data)
    except ArchiveError:
        raise
    except BROKEN as error:
        raise ArchiveError(f"the archive cannot be read: {error}") from error


def _unpacked(data: bytes) -> dict[str, bytes]:
    members = list(_zipped(data) if data[:2] == ZIP else _tarred(data))
    total = sum(member.size for member in members)
    if total > MAX_UNPACKED or total > MAX_RATIO * len(data):
        raise ArchiveError(f"unpacked it would be {total} bytes: {TOO_LARGE}")
    paths = [_path(member.name) for member in members]
    if len({path.lower() for path in paths}) < len(paths):
        raise ArchiveError("two members have the same name")
    return dict(zip(paths, (member.read() for member in members), strict=True))


def _path(name: str) -> str:
    parts = name.removeprefix("./").split("/")
    if not name or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts) or ":" in parts[0]:
        raise ArchiveError(f"{name[:80]!r} is not a path inside the archive")
    return "/".join(parts)


def _counted(members: Iterator) -> Iterator:
    for number, member in enumerate(members, 1):
        if number > MAX_MEMBERS:
            raise ArchiveError(f"more than {MAX_MEMBERS} members")
        yield member


class _Zipped:
    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        self.name, self.size = info.orig_filename, info.file_size

    def read(self) -> bytes:
        with self._archive.open(self._info) as file:
            data = file.read(self.size + 1)
        if len(data) != self.size:
            raise ArchiveError(f"{self.name[:80]!r} is not as long as it says")
        return data


def _zipped(data: bytes) -> Iterator[_Member]:
    archive = zipfile.ZipFile(io.BytesIO(data))
    for info in _counted(iter(archive.infolist())):
        mode = info.external_attr >> 16
        if info.flag_bits & 1 or (stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)):
            raise ArchiveError(f"{info.filename[:80]!r} is a link, a device or encrypted")
        if info.is_dir():
            _path(info.orig_filename.rstrip("/"))
        else:
            yield _Zipped(archive, info)


class _Tarred:
    def __init__(self, archive: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._archive, self._info = archive, info
        self.name, self.size = info.name, info.size

    def read(self) -> bytes:
        file = self._archive.extractfile(self._info)
        return file.read() if file else b""


def _tarred(data: bytes) -> Iterator[_Member]:
    archive = tarfile.TarFile(fileobj=io.BytesIO(_inflated(data)))
    for info in _counted(iter(archive)):
        if info.isdir():
            _path(info.name.rstrip("/"))
        elif not info.isreg() or info.issparse():
            raise ArchiveError(f"{info.name[:80]!r} is not a regular file")
        else:
            yield _Tarred(archive, info)


def _inflated(data: bytes) -> bytes:
    """The tar inside the gzip; no further than the limits reach."""
    if data[:2] != GZIP:
        raise ArchiveError("it is neither zip nor tar.gz")
    most = min(MAX_UNPACKED, MAX_RATIO * len(data)) + 4 * BLOCK * MAX_MEMBERS
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    tar = inflate.decompress(data, most)
    if inflate.unconsumed_tail:
        raise ArchiveError(f"unpacked it would be {TOO_LARGE}")
    if not inflate.eof:
        raise ArchiveError("the archive is cut off")
    return tar
