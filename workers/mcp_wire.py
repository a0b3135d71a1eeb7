"""Asking the supervisor of MCP servers, which is another process: a request and a reply in Redis, with a deadline.

The request is a key that expires at its deadline, by Redis's clock: what nobody took in time is never begun.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import orjson
import redis

from models.base import new_id
from models.errors import Conflict, DjinnBotError, OutsideError, OutsideTimeout, Unavailable
from workers.broker import client
from workers.publisher import FEED_DATABASE

PREFIX = "djinnbot:mcp:"
REQUESTS = f"{PREFIX}requests"
SLACK_SECONDS = 5.0  # between the server's own time limit and ours
START_SECONDS = 30.0  # that the supervisor itself may need to come up, or a program that slept


LOOK_SECONDS = 2.0  # between looks whether the request is still cared for
WORK_MS = 10_000  # that a supervisor's mark on a request holds
TIMEOUT, FAILED = "tool_timeout", "server_failed"
KINDS = {"timeout": OutsideTimeout, "conflict": Conflict, "failed": OutsideError}


def ask(op: str, server_id: str, seconds: float, **body: Any) -> dict[str, Any]:
    """The supervisor's answer within `seconds`. Raises OutsideError, OutsideTimeout, Conflict if the server
    is not to run, or Unavailable without Redis.
    """
    number = new_id("mcq_")
    request = orjson.dumps({"op": op, "server_id": server_id, **body})
    try:
        pipe = _client().pipeline(transaction=True).set(request_key(number), request, px=int(seconds * 1000))
        pipe.lpush(REQUESTS, number).expire(REQUESTS, 3600).execute()
        return _opened(orjson.loads(_reply(number, time.monotonic() + seconds)))
    except (redis.RedisError, OSError) as error:
        raise Unavailable(f"MCP servers cannot be asked without Redis: {error}", "redis_unavailable") from error


def _reply(number: str, deadline: float) -> bytes:
    while (left := deadline - time.monotonic()) > 0:
        taken = _client().blpop([reply_key(number)], timeout=min(left, LOOK_SECONDS))
        if taken is not None:
            return taken[1]
        _look_after(number)
    raise OutsideTimeout("No answer in time", TIMEOUT)


def _look_after(number: str) -> None:
    """A supervisor may die with the request: before it has begun it is asked again, after that it failed."""
    looks = _client().pipeline().exists(request_key(number)).lpos(REQUESTS, number)
    waits, queued, works, replied = looks.exists(work_key(number)).exists(reply_key(number)).execute()
    if waits and queued is None:
        _client().lpush(REQUESTS, number)
    elif not (waits or works or replied):
        raise OutsideError(
            "The supervisor of MCP servers ended while it was at it; nobody knows how far it got", FAILED
        )


def _opened(reply: dict[str, Any]) -> dict[str, Any]:
    if "failure" in reply:
        raise KINDS[reply["kind"]](reply["message"], reply["failure"])
    return reply


@functools.cache
def _client() -> redis.Redis:
    return client(FEED_DATABASE, None)


def request_key(number: str) -> str:
    return f"{PREFIX}request:{number}"


def reply_key(number: str) -> str:
    return f"{PREFIX}reply:{number}"


def work_key(number: str) -> str:
    """There while a supervisor is at it."""
    return f"{PREFIX}work:{number}"


def failure(error: Exception) -> dict[str, Any]:
    """A reply that raises at the other end."""
    kind = next((name for name, kind in KINDS.items() if isinstance(error, kind)), "failed")
    message = error.message if isinstance(error, DjinnBotError) else f"{type(error).__name__}: {error}"
    return {"kind": kind, "failure": FAILED if kind == "failed" else error.code, "message": message[:2000]}
