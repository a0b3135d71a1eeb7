"""A worker whose clock is ten minutes ahead, then behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


def library() -> str:
    """What shows a process another time of day."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        raise RuntimeError("libfaketime is missing: apt-get install libfaketime")
    return str(found[0])


@pytest.mark.parametrize("shift", ["+10m", "-10m"])
def test_f7_a_clock_is_wrong(storm, shift, size, row) -> None:
    storm.kill(storm.named("worker")[0])
    wrong = storm.start("worker", LD_PRELOAD=library(), FAKETIME=shift)
    storm.complete()
    posted = storm.post(size(20, 150)) + storm.post(size(20, 150), "fork")
    storm.settle(posted, 120)
    found, shares = storm.findings(), started_by_clock(storm)
    row(f"F7 clock {shift}", storm, found, len(posted), **shares)
    storm.kill(wrong)
    assert not found.all and all(shares.values())


def started_by_clock(storm) -> dict[str, int]:
    """How many steps of these runs were started by a worker whose clock was right, and by the other one."""
    ids = storm.history.acknowledged()
    marks = ", ".join("?" * len(ids))
    sql = f"SELECT created_at FROM events WHERE type = 'step_started' AND stream IN ({marks})"
    late = [abs(at / 1000 - time.time()) > 300 for (at,) in storm.store.rows(sql, *ids)]
    return {"right": late.count(False), "wrong": late.count(True)}
