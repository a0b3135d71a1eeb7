"""Calling a provider again after a passing failure (engine, "Failures": 4 tries with backoff)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from models.errors import ProviderTransient
from workers.clients.llm.base import Piece, Provider, Request

TRIES = 4
FIRST_SECONDS = 0.5
FACTOR = 4.0
MAX_SECONDS = 30.0  # a provider that asks for a longer wait is left to the engine, which holds no worker meanwhile


def stream_with_tries(
    provider: Provider, request: Request, on_retry: Callable[[int, float, ProviderTransient], None] = lambda *_: None
) -> Iterator[Piece]:
    """`provider.stream`, tried again while nothing has arrived. `on_retry(try number, seconds to wait, error)`.

    Raises ProviderTransient when the tries are used up or the stream broke halfway.
    """
    for number in range(1, TRIES + 1):
        has_begun = False
        try:
            for piece in provider.stream(request):
                has_begun = True
                yield piece
            return
        except ProviderTransient as error:
            pause = _pause(number, error)
            if has_begun or number == TRIES or pause > MAX_SECONDS:
                raise
            on_retry(number, pause, error)
            time.sleep(pause)


def _pause(number: int, error: ProviderTransient) -> float:
    """Seconds: a random half to whole of the step, at least what the provider asks for."""
    step = FIRST_SECONDS * FACTOR ** (number - 1)
    return max(random.uniform(step / 2, step), error.retry_after or 0.0)
