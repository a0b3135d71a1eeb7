"""Keys that older clients send along and that mean nothing here: accepted, neither stored nor answered."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ignored(NamedTuple):
    """In lower case, without underscores."""

    keys: tuple[str, ...]
    prefixes: tuple[str, ...]


AGENT = Ignored(("threadmode", "coordination"), ("pulse",))
SETTINGS = Ignored(
    ("userslackid", "agentruntimeimage", "ptcenabled"),
    ("pulse", "wake", "container", "maxwakes", "maxconcurrentpulse", "defaultpulse", "defaultslack", "jfs"),
)


def without(given: dict[str, Any], ignored: Ignored) -> dict[str, Any]:
    """What was given as far as it means something."""
    return {name: value for name, value in given.items() if not _is_ignored(name.replace("_", "").lower(), ignored)}


def _is_ignored(name: str, ignored: Ignored) -> bool:
    return name in ignored.keys or name.startswith(ignored.prefixes)
