"""Pages of lists: `limit`, an opaque `cursor`, and the Link header to the next page."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
from flask import request
from marshmallow import fields

from api.schemas import query_integer
from models import cursors

DEFAULT, MOST = 50, 200


class PageSchema(ma.Schema):
    """Base of every list's query."""

    limit = query_integer(1, MOST, load_default=DEFAULT)
    cursor = fields.Str(load_default=None, metadata={"description": "From the Link header of the page before"})


class CatalogueSchema(PageSchema):
    """Base of the query of lists that are short."""

    limit = query_integer(1, MOST, load_default=MOST)


def encode(key: str | int) -> str:
    return base64.urlsafe_b64encode(str(key).encode()).decode().rstrip("=")


def decode(cursor: str | None) -> str | None:
    """The key that a cursor stands for. Raises Invalid."""
    if not cursor:
        return None
    try:
        key = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        key = ""
    if not key.isprintable() or encode(key) != cursor:
        raise cursors.bad()
    return key


def link(rows: list, limit: int, key: Callable[[Any], str | int]) -> tuple[list, dict[str, str]]:
    """(the page, its headers) from up to `limit` + 1 rows; `key` gives the cursor of a row."""
    if len(rows) <= limit:
        return rows, {}
    page = rows[:limit]
    query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    url = f"{request.path}?{urlencode([*query, ('cursor', encode(key(page[-1])))])}"
    return page, {"Link": f'<{url}>; rel="next"'}
