"""Trying a provider again."""

from __future__ import annotations

import pytest

from models.errors import ProviderRejected, ProviderTransient
from workers.clients.llm import tries
from workers.clients.llm.base import Message, Request, Text
from workers.clients.llm.scripted import Scripted

REQUEST = Request("any", (Message("user", "x"),))


class Flaky:
    """Fails as often as it is told to, after that many pieces."""

    def __init__(self, *failures: Exception, pieces: int = 0) -> None:
        self.failures, self.pieces, self.calls = list(failures), pieces, 0

    def stream(self, request):
        self.calls += 1
        yield from [Text("x")] * self.pieces
        if self.failures:
            raise self.failures.pop(0)
        yield from Scripted({}).stream(request)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(tries, "FIRST_SECONDS", 0.001)


def busy(retry_after: float | None = None) -> ProviderTransient:
    return ProviderTransient("busy", retry_after=retry_after)


def test_a_passing_failure_is_tried_again():
    provider = Flaky(busy(), busy(), busy())
    assert next(tries.stream_with_tries(provider, REQUEST)) == Text("ok")
    assert provider.calls == 4


def test_the_fourth_failure_is_the_last():
    provider = Flaky(*[busy() for _ in range(9)])
    with pytest.raises(ProviderTransient):
        list(tries.stream_with_tries(provider, REQUEST))
    assert provider.calls == 4


def test_other_failures_are_not_tried_again():
    provider = Flaky(ProviderRejected("no"))
    with pytest.raises(ProviderRejected):
        list(tries.stream_with_tries(provider, REQUEST))
    assert provider.calls == 1


def test_a_stream_that_broke_halfway_is_not_tried_again():
    provider = Flaky(busy(), pieces=1)
    with pytest.raises(ProviderTransient):
        list(tries.stream_with_tries(provider, REQUEST))
    assert provider.calls == 1


def test_the_wait_is_at_least_what_the_provider_asks_for():
    waits = []
    list(tries.stream_with_tries(Flaky(busy(0.05), busy()), REQUEST, lambda *retry: waits.append(retry)))
    (first, pause, error), (second, *_) = waits
    assert (first, second) == (1, 2)
    assert pause == 0.05
    assert error.message == "busy"


def test_a_long_wait_is_left_to_the_engine():
    provider = Flaky(busy(3600))
    with pytest.raises(ProviderTransient):
        list(tries.stream_with_tries(provider, REQUEST))
    assert provider.calls == 1


def test_the_waits_grow():
    pauses = [tries._pause(number, busy()) for number in (1, 2, 3)]
    assert 0.0005 <= pauses[0] <= 0.001
    assert pauses[0] < pauses[1] < pauses[2]
