"""Hours of steady work: nothing that a process or the queue holds may grow."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

import pytest

from tests.storm.target import Storm

WARM_UP = 1 / 3  # of the time
SAMPLES = 60
MOST_GROWTH = 1.0  # MB of an hour and process
LEAST_HOURS = 0.5  # in less than this a slope says nothing, and only handles are looked at
SLACK = 5  # descriptors, threads and keys that come and go


@dataclass(frozen=True)
class Sample:
    """Of every process by its name; `keys`: of the queue."""

    at: float  # hours
    memory: dict[str, float]  # MB
    descriptors: dict[str, int]
    threads: dict[str, int]
    keys: int


@pytest.mark.timeout(4 * 3600)
def test_f11_nothing_grows(storm, size, row, pytestconfig) -> None:
    hours = size(10 / 3600, pytestconfig.getoption("--soak-minutes", default=120) / 60)
    pause = 2 / drain_rate(storm)
    posted, samples = soak(storm, pause, hours)
    storm.settle(posted)
    found, steady = storm.findings(60), samples[int(WARM_UP * len(samples)) :]
    slopes, handles = growth(steady), spread(steady)
    steepest = f"{max(slopes.values()):.2f} MB/h ({max(slopes, key=slopes.get)})"
    figures = {"load": f"{1 / pause:.0f} runs/s for {hours * 60:.0f} min", "RSS": steepest, "handles": handles}
    row("F11 soak", storm, found, len(posted), **figures)
    assert not found.all and max(handles.values()) <= SLACK
    assert hours < LEAST_HOURS or max(slopes.values()) <= MOST_GROWTH


def drain_rate(storm: Storm) -> float:
    """Runs per second, as many as the platform can."""
    started = time.monotonic()
    return len(storm.settle(storm.post(60))) / (time.monotonic() - started)


def soak(storm: Storm, pause: float, hours: float) -> tuple[list, list[Sample]]:
    """Posts a run every `pause` seconds for so long; what was posted and seen."""
    posted, samples, started = [], [], time.monotonic()
    stop, gap = started + hours * 3600, hours * 3600 / SAMPLES
    while time.monotonic() < stop:
        posted += storm.post(1)
        if time.monotonic() >= started + len(samples) * gap:
            samples.append(sample(storm, (time.monotonic() - started) / 3600))
        time.sleep(max(started + len(posted) * pause - time.monotonic(), 0))
    return posted, samples


def sample(storm: Storm, hour: float) -> Sample:
    pids = {name: storm.processes[name].pid for kind in ("web", "relay", "worker") for name in storm.named(kind)}
    return Sample(
        hour,
        {name: int(_proc(pid, "statm").read_text().split()[1]) * 4096 / 1e6 for name, pid in pids.items()},
        {name: len(list(_proc(pid, "fd").iterdir())) for name, pid in pids.items()},
        {name: len(list(_proc(pid, "task").iterdir())) for name, pid in pids.items()},
        sum(storm.redis(number).dbsize() for number in range(2)),
    )


def _proc(pid: int, entry: str) -> Path:
    return Path(f"/proc/{pid}/{entry}")


def growth(samples: list[Sample]) -> dict[str, float]:
    """MB per hour of every process, by least squares."""
    hours = [sample.at for sample in samples]
    return {
        name: linear_regression(hours, [sample.memory[name] for sample in samples]).slope for name in samples[0].memory
    }


def spread(samples: list[Sample]) -> dict[str, float]:
    """How much more there was in the last third than in the first, on average; the worst process's."""
    part = max(len(samples) // 3, 1)
    first, last = samples[:part], samples[-part:]
    found = {"keys": _mean(s.keys for s in last) - _mean(s.keys for s in first)}
    for what in ("descriptors", "threads"):
        changes = [
            _mean(getattr(s, what)[name] for s in last) - _mean(getattr(s, what)[name] for s in first)
            for name in samples[0].memory
        ]
        found[what] = max(changes)
    return {what: round(value, 1) for what, value in found.items()}


def _mean(values) -> float:
    found = list(values)
    return sum(found) / len(found)
