"""Errors as HTTP: a table from the error tree to a status, and one shape (RFC 9457) for every refusal."""

from __future__ import annotations

from typing import Any

import orjson
import peewee
import redis
import structlog
from flask import Flask, Response
from playhouse.pool import MaxConnectionsExceeded
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from models import errors
from models.base import new_id

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUS = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Invalid: 422,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.TooMany: 429,
    errors.Unavailable: 503,
    errors.OutsideError: 502,
    errors.OutsideTimeout: 504,
    errors.LeaseLost: 409,
    errors.StaleState: 409,
    errors.IllegalTransition: 409,
}
SLUGS = {400: "bad_request", 413: "body_too_large", 421: "unknown_host"}


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> Response:
    """An error answer; `extra` become members of the object beside the standard ones."""
    body = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        **{name: value for name, value in extra.items() if value is not None},
    }
    return Response(orjson.dumps(body, default=str), status, headers, content_type=MEDIA_TYPE)


def register(app: Flask) -> None:
    """Every exception of every view ends in one of these."""
    app.register_error_handler(errors.DjinnBotError, from_tree)
    app.register_error_handler(HTTPException, from_http)
    app.register_error_handler(Exception, from_bug)
    for error in (peewee.OperationalError, peewee.InterfaceError, MaxConnectionsExceeded):
        app.register_error_handler(error, from_database)
    app.register_error_handler(redis.RedisError, from_redis)


def from_tree(error: errors.DjinnBotError) -> Response:
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return from_bug(error)
    extra = {**error.details, "allowed": getattr(error, "allowed", None)}
    if status == 422:
        extra["errors"] = error.errors
    return problem(status, error.code, error.message, _headers(error, status), **extra)


def _headers(error: errors.DjinnBotError, status: int) -> dict[str, str]:
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    retry_after = getattr(error, "retry_after", None)
    return {} if retry_after is None else {"Retry-After": str(retry_after)}


def from_http(error: HTTPException) -> Response:
    """What Flask and Werkzeug refuse by themselves: no such path or method, a body that is too large."""
    status = error.code or 500
    slug = SLUGS.get(status) or HTTP_STATUS_CODES[status].lower().replace(" ", "_")
    methods = getattr(error, "valid_methods", None)
    headers = {"Allow": ", ".join(sorted(methods))} if methods else {}
    return problem(status, slug, error.description or error.name, headers)


def from_database(error: Exception) -> Response:
    log.warning("database_unavailable", error=str(error))
    return problem(503, "database_unavailable", "The database cannot be used", {"Retry-After": "2"})


def from_redis(error: Exception) -> Response:
    """Only what is about the queue itself (its dashboard) needs Redis to answer."""
    log.warning("redis_unavailable", error=str(error))
    return problem(503, "redis_unavailable", "Redis cannot be used", {"Retry-After": "2"})


def from_bug(error: Exception) -> Response:
    """Says nothing of the cause; the log has it under the same `error_id`."""
    error_id = new_id("err_")
    log.error("request_failed", error_id=error_id, exc_info=error)
    return problem(500, "internal_error", "An unexpected error; the log has it under this id", error_id=error_id)
