"""What this process is working on, and how that work is interrupted.

A hold is one attempt at one visit, or one turn of a chat, under one fencing token. Its work runs in a greenlet; whoever
finds that the hold is lost (the keeper, a refused write) throws the reason into that greenlet, which ends provider
streams and tools at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import gevent
import greenlet

from models.errors import LeaseLost


class GiveBack(LeaseLost):
    """Stop at the next safe point and give the lease back. `why`: deploy or resume (the run was paused)."""

    def __init__(self, message: str, why: str, patience: float) -> None:
        super().__init__(message)
        self.why = why
        self.patience = patience  # seconds that a running tool call may still take


@dataclass(eq=False, slots=True)
class Hold:
    """Of visit `n` in an epoch of run `stream`, or of the chat message numbered `n` of session `stream` (epoch 1)."""

    stream: str
    epoch: int
    n: int
    token: int
    worker: greenlet.greenlet = field(default_factory=greenlet.getcurrent)
    lost: Exception | None = None
    used: Counter = field(default_factory=Counter)  # what the attempt has used so far
    in_tool: bool = False  # a tool call is running: let it finish if there is time
    settling: bool = False  # its end is being committed, which checks the token by itself

    @property
    def key(self) -> tuple[str, int, int, int]:
        return (self.stream, self.epoch, self.n, self.token)

    def interrupt(self, reason: Exception) -> None:
        """Throws `reason` into the greenlet that works on this hold (from any greenlet of the same hub)."""
        if self.lost is not None and not isinstance(self.lost, GiveBack):
            return
        again, self.lost = self.lost is not None, reason
        if isinstance(reason, GiveBack) and (again or self.in_tool):
            if not again:
                gevent.spawn_later(reason.patience, self._throw)
        elif self.worker is not greenlet.getcurrent():
            gevent.get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        if _holds.get(self.key) is self and not self.settling and not self.worker.dead:
            self.worker.throw(self.lost)

    def check(self) -> None:
        """Raises why this hold was interrupted, if it was."""
        if self.lost is not None:
            raise self.lost


_holds: dict[tuple[str, int, int, int], Hold] = {}


@contextmanager
def holding(hold: Hold) -> Iterator[Hold]:
    """Registers the hold for the block."""
    _holds[hold.key] = hold
    try:
        yield hold
    finally:
        del _holds[hold.key]


def current() -> list[Hold]:
    """Everything this process holds."""
    return list(_holds.values())
