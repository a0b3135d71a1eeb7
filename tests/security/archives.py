"""Archives as an attacker would make them, and as an honest person would."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable

SKILL = b"---\nname: greet\ndescription: How to greet.\n---\n\nSay hello.\n"


def zipped(files: Iterable[tuple[str, bytes]], mode: int = 0o100644) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def tarred(files: Iterable[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, link
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


PACKERS = (zipped, tarred)
