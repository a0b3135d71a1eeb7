"""Locks on files: one writer of a folder at a time, on this machine."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models.errors import Unavailable

WAIT_SECONDS = 5.0  # how long a writer waits for another


@contextmanager
def exclusive(folder: Path, name: str, code: str) -> Iterator[None]:
    """Holds the lock `name` of `folder`, which is made if need be. Take it before a transaction.

    Raises Unavailable with `code` if another writer does not come to an end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as file:
        _wait(file, name, code)
        yield


def _wait(file: IO, name: str, code: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # waiting in the kernel would stop every greenlet
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Unavailable(f"{name} is being changed", code) from None
            time.sleep(0.02)
