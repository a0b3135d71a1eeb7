"""Two relays at once: one was frozen while it numbered events, and its successor numbers them too."""

from __future__ import annotations

import threading

import pytest

from models import database, events
from models.errors import Unavailable
from models.events import Event


def record(stream: str, count: int) -> None:
    with database.transaction():
        events.append(stream, count, [Event("step_queued", run_id=stream) for _ in range(count)])


def number() -> str:
    try:
        with database.transaction():
            events.assign_positions()
    except Unavailable as error:
        return error.code
    return "numbered"


@pytest.mark.parametrize("store", ["postgres"], indirect=True)
def test_two_relays_never_number_an_event_twice(store) -> None:
    record("run_b", 3)
    answers: list[str] = []
    successor = threading.Thread(target=lambda: answers.append(number()))
    with database.transaction():
        events.assign_positions()
        successor.start()
        successor.join(0.5)  # it waits for the rows that the first one has changed
    successor.join(10)
    record("run_a", 2)
    assert answers == ["relay_superseded"] and number() == "numbered"
    with database.connection():
        assert [row["position"] for row in events.numbered_after(0)] == [1, 2, 3, 4, 5]
