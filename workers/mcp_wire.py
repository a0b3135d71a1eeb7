"""Asking the supervisor of MCP servers, which is another process: a request and a reply in Redis, with a deadline.

The request is a key that expires at its deadline, by Redis's clock: what nobody took in time is never begun.
"""

from __future__ import annotations

import functools
from typing import Any

import orjson
import redis

from models.base import new_id
from models.errors import Conflict, DjinnBotError, OutsideFailed, OutsideTimeout, Unavailable
from workers.broker import client
from workers.publisher import FEED_DATABASE

PREFIX = "djinnbot:mcp:"
REQUESTS = f"{PREFIX}requests"
SLACK_SECONDS = 5.0  # between the server's own time limit and ours
START_SECONDS = 30.0  # that the supervisor itself may need to come up, or a program that slept


TIMEOUT, FAILED = "tool_timeout", "server_failed"


def ask(op: str, server_id: str, seconds: float, **body: Any) -> dict[str, Any]:
    """The supervisor's answer within `seconds`. Raises OutsideFailed, OutsideTimeout, or Unavailable without Redis."""
    number = new_id("mcq_")
    request = orjson.dumps({"op": op, "server_id": server_id, **body})
    try:
        connection = _client()
        pipe = connection.pipeline(transaction=True).set(request_key(number), request, px=int(seconds * 1000))
        pipe.lpush(REQUESTS, number).expire(REQUESTS, 3600).execute()
        taken = connection.blpop([reply_key(number)], timeout=seconds)
    except (redis.RedisError, OSError) as error:
        raise Unavailable(f"MCP servers cannot be asked without Redis: {error}", "redis_unavailable") from error
    if taken is None:
        raise OutsideTimeout(f"No answer within {seconds:g} s", TIMEOUT)
    return _opened(orjson.loads(taken[1]))


def _opened(reply: dict[str, Any]) -> dict[str, Any]:
    if "failure" in reply:
        kind = OutsideTimeout if reply["failure"] == TIMEOUT else OutsideFailed
        raise kind(reply["message"], reply["failure"])
    return reply


@functools.cache
def _client() -> redis.Redis:
    return client(FEED_DATABASE, None)


def request_key(number: str) -> str:
    return f"{PREFIX}request:{number}"


def reply_key(number: str) -> str:
    return f"{PREFIX}reply:{number}"


def failure(error: Exception) -> dict[str, Any]:
    """A reply that raises at the other end."""
    if isinstance(error, DjinnBotError):
        code = error.code if isinstance(error, OutsideTimeout | Conflict) else FAILED
        return {"failure": code, "message": error.message[:2000]}
    return {"failure": FAILED, "message": f"{type(error).__name__}: {error}"[:2000]}
