"""The lines that MCP servers write: a ring in a Redis stream, which also gives every line its id."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import redis

from models.errors import Unavailable
from workers.broker import client
from workers.publisher import FEED_DATABASE

RING = "djinnbot:mcp:logs"
KEPT = 5000  # lines, about
LONGEST = 8192  # bytes of a line
LEVELS = ("info", "warn", "error")
ID = re.compile(r"(\d{1,15})-(\d{1,10})")
UNSEEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
PART = 500  # lines read at once


def line(server_id: str, level: str, stream: str, text: str) -> dict[str, str]:
    """A line as it is stored; without what could end it early or paint a terminal."""
    cut = UNSEEN.sub("", text).encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore")
    return {"server_id": server_id, "level": level, "stream": stream, "line": cut}


class Ring:
    """Reading it. `wants`: of which server and from which level on. Raises Unavailable without Redis."""

    def __init__(self, server_id: str | None, level: str | None) -> None:
        self._server, self._levels = server_id, LEVELS[LEVELS.index(level or "info") :]
        self._redis = client(FEED_DATABASE, None)

    def tail(self, count: int) -> list[dict[str, Any]]:
        """The last `count` lines, oldest first."""
        found: list[dict[str, Any]] = []
        before = "+"
        while len(found) < count:
            part = self._call("xrevrange", RING, before, "-", count=PART)
            found += [entry for entry in map(shown, part) if self._wants(entry)]
            if len(part) < PART:
                break
            before = f"({part[-1][0].decode()}"
        return found[:count][::-1]

    def wait(self, number: str, seconds: float) -> tuple[str, list[dict[str, Any]]]:
        """(the id reached, the lines) as soon as there is something after that id, or the time is over."""
        answer = self._call("xread", {RING: number}, count=PART, block=int(seconds * 1000))
        part = answer[0][1] if answer else []
        reached = part[-1][0].decode() if part else number
        return reached, [entry for entry in map(shown, part) if self._wants(entry)]

    def ends(self) -> tuple[str | None, str]:
        """(id of the oldest line that is kept, id of the newest)."""
        first = self._call("xrange", RING, "-", "+", count=1)
        last = self._call("xrevrange", RING, "+", "-", count=1)
        return first[0][0].decode() if first else None, last[0][0].decode() if last else "0-0"

    def _wants(self, entry: dict[str, Any]) -> bool:
        return entry["level"] in self._levels and self._server in (None, entry["server_id"])

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._redis, name)(*arguments, **options)
        except (redis.RedisError, OSError) as error:
            raise Unavailable(f"The log is in Redis, which is away: {error}", "redis_unavailable") from error

    def close(self) -> None:
        self._redis.close()


def shown(entry: tuple[bytes, dict[bytes, bytes]]) -> dict[str, Any]:
    """A line of the log as the API shows it."""
    number = entry[0].decode()
    said = {name.decode(): value.decode() for name, value in entry[1].items()}
    at = datetime.fromtimestamp(int(number.partition("-")[0]) / 1000, UTC)
    return {"id": number, **said, "ts": at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"}


def is_older(number: str, other: str) -> bool:
    return tuple(map(int, number.split("-"))) < tuple(map(int, other.split("-")))
