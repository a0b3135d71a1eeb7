"""An event stream as a client reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.api.conftest import AUTH


@dataclass
class Received:
    """One frame: `id` None for control frames and comments; `event` "" for comments."""

    id: int | None
    event: str
    data: Any
    raw: str


@contextmanager
def stream(server, last: int | None = None, timeout: float = 10, headers: dict | None = None, **query: Any):
    """An open stream as an iterator of frames."""
    sent = dict(AUTH if headers is None else headers)
    if last is not None:
        sent["Last-Event-ID"] = str(last)
    url = f"{server.url}/v1/events/stream"
    with httpx.stream("GET", url, params=query, headers=sent, timeout=timeout) as response:
        assert response.status_code == 200, response.read()
        yield frames(response)


def frames(response: httpx.Response) -> Iterator[Received]:
    text = ""
    for chunk in response.iter_text():
        text += chunk
        while "\n\n" in text:
            raw, _, text = text.partition("\n\n")
            yield parse(raw)


def parse(raw: str) -> Received:
    fields = dict(line.split(": ", 1) for line in raw.split("\n") if not line.startswith(":"))
    number = fields.get("id")
    return Received(
        int(number) if number else None, fields.get("event", ""), json.loads(fields.get("data", "null")), raw
    )


def take(opened: Iterator[Received], count: int) -> list[Received]:
    """The next `count` events with a number."""
    found = []
    while len(found) < count:
        frame = next(opened)
        if frame.id is not None:
            found.append(frame)
    return found


def until(opened: Iterator[Received], event: str) -> list[Received]:
    """All frames up to the first of that name, included."""
    found = []
    for frame in opened:
        found.append(frame)
        if frame.event == event:
            break
    return found


def ids(frames: list[Received]) -> list[int]:
    return [frame.id for frame in frames if frame.id is not None]
