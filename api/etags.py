"""Versions of single objects: the ETag of an answer, and If-Match before a change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson
from flask import Response, request

from models.errors import PreconditionFailed


def of(shown: dict[str, Any], without: Iterable[str] = ()) -> str:
    """16 hex digits of the object as shown, but for the fields that change by themselves."""
    kept = {name: value for name, value in shown.items() if name not in without}
    return hashlib.sha256(orjson.dumps(kept)).hexdigest()[:16]


def answer(shown: dict[str, Any], tag: str) -> Any:
    """The object with its ETag, or 304 to who has it already."""
    headers = {"ETag": f'"{tag}"'}
    if request.method in ("GET", "HEAD") and request.if_none_match.contains(tag):
        return Response(status=304, headers=headers)
    return shown, headers


def check(tag: str) -> None:
    """Raises PreconditionFailed if the caller's If-Match names another version."""
    if request.if_match and not request.if_match.contains(tag):
        raise PreconditionFailed("It was changed meanwhile: read it again")
