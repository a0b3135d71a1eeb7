"""Reading requests strictly: JSON that is exactly what it says, query strings without surprises."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from flask import Request
from webargs.flaskparser import FlaskParser
from webargs.multidictproxy import MultiDictProxy
from werkzeug.exceptions import BadRequest

from models.errors import Invalid

MAX_DEPTH = 32
SMALLEST, LARGEST = -(2**63), 2**63 - 1
UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL and lone surrogates


def parse(body: bytes) -> Any:
    """The value of a JSON text. Raises BadRequest for anything that two readers could understand differently."""
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_real,
        )
    except RecursionError:
        raise BadRequest(f"The JSON is nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise BadRequest(f"The body is not JSON: {error}") from None
    _check(value, 0)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 20 else LARGEST + 1
    if not SMALLEST <= value <= LARGEST:
        raise ValueError("an integer does not fit in 64 bits")
    return value


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str) and UNSTORABLE.search(value):
        raise BadRequest("A string holds NUL or half of a surrogate pair")
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        raise BadRequest(f"The JSON is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key in value:
            _check(key, depth + 1)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check(item, depth + 1)


class Parser(FlaskParser):
    """Reads arguments for the views; what does not fit the schema is `Invalid` with one entry per field path."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": "raise", "json": "raise"}

    def _raw_load_json(self, req: Request) -> Any:
        body = req.get_data()
        return parse(body) if body else {}

    def load_querystring(self, req: Request, schema: Any) -> MultiDictProxy:
        if any(UNSTORABLE.search(text) for item in req.args.items(multi=True) for text in item):
            raise Invalid("A query parameter holds NUL")
        return super().load_querystring(req, schema)

    def handle_error(self, error: Any, req: Request, schema: Any, **_: Any) -> None:
        found = dict(_flat("", next(iter(error.messages.values()))))
        raise Invalid("; ".join(f"{path}: {why[0]}" for path, why in found.items()), errors=found)


def _flat(path: str, messages: Any) -> Iterator[tuple[str, list[str]]]:
    """Nested marshmallow messages as (path of the field, reasons)."""
    if not isinstance(messages, dict):
        yield path or "body", messages
        return
    for key, inner in messages.items():
        yield from _flat(path if key == "_schema" else f"{path}.{key}".lstrip("."), inner)
