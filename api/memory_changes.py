"""Changes of memory by callers of the API: who writes, and on top of which version."""

from __future__ import annotations

from flask import g, request

from workers.memories import Author


def author() -> Author:
    return Author(g.token.name)


def expected() -> list[str]:
    """The versions that the caller's If-Match allows, none: any."""
    if request.if_match.star_tag:
        return ["*"]
    return list(request.if_match.as_set(include_weak=False))
