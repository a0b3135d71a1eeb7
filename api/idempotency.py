"""The Idempotency-Key header: the same request with the same key is answered once and then replayed."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from flask import Response, g, request

from models import database, idempotency
from models.errors import Invalid
from models.idempotency import IdempotencyKey

HEADER = "Idempotency-Key"
VALID = re.compile(r"[\x20-\x7e]{1,255}")


def idempotent(view: Callable) -> Callable:
    """Outermost decorator of a view: its change and its answer are stored in one transaction."""

    @functools.wraps(view)
    def wrapper(*args, **kwargs):
        key = request.headers.get(HEADER)
        if key is None:
            return view(*args, **kwargs)
        if not VALID.fullmatch(key):
            reason = "1 to 255 printable ASCII characters"
            raise Invalid(f"Idempotency-Key must be {reason}", errors={HEADER: [reason]})
        asked = idempotency.fingerprint(request.method, request.full_path, request.get_data())
        with database.transaction():
            kept = idempotency.claim(g.token.id, key, asked)
            return replay(kept) if kept else _answer(view(*args, **kwargs), key)

    return wrapper


def _answer(response: Response, key: str) -> Response:
    location = response.headers.get("Location")
    idempotency.store(g.token.id, key, response.status_code, location, response.get_data(as_text=True))
    return response


def replay(kept: IdempotencyKey) -> Response:
    """The first answer again."""
    response = Response(kept.body, kept.status, content_type="application/json")
    response.headers["Idempotent-Replay"] = "true"
    if kept.location:
        response.headers["Location"] = kept.location
    return response
