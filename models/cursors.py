"""Cursors of pages: what a client gives back to go on where a page ended."""

from __future__ import annotations

import re

from models.errors import Invalid

MOMENT_AND_ID = re.compile(r"(\d{1,15})\.([a-z]+_[0-9a-z]{26})")


def bad() -> Invalid:
    """The refusal of a cursor that is not one of ours."""
    return Invalid("The cursor is not one of ours", errors={"cursor": ["not a cursor"]})


def moment_and_id(cursor: str, prefix: str) -> tuple[int, str]:
    """What the cursor of a list by (ms, id) stands for. Raises Invalid."""
    found = MOMENT_AND_ID.fullmatch(cursor)
    if found is None or not found[2].startswith(prefix):
        raise bad()
    return int(found[1]), found[2]
