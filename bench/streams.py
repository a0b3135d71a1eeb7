"""One worker holds many steps that each stream from a slow provider over HTTP; every token must reach an SSE client.

`python -m bench.streams [--steps 200] [--rate 50] [--seconds 10]`: tokens a second, and seconds, per step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.report import print_table
from tests.platform import Platform, free_port, wait_for

WORD = "word "
PIPELINE = """
id: speak
agents: [{id: a}]
defaults: {tools: []}
steps: [{id: SPEAK, agent: a, input: "speak", outputs: [text]}]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    port = free_port()
    provider = [sys.executable, "-m", "bench.slow_provider", "--port", str(port)]
    limits = ["--rate", str(options.rate), "--seconds", str(options.seconds)]
    with tempfile.TemporaryDirectory(prefix="djinnbot-bench-") as folder, subprocess.Popen(provider + limits) as slow:
        platform = Platform(
            Path(folder),
            WORKER_CONCURRENCY=str(options.steps),
            CUSTOM_SLOW_BASE_URL=f"http://127.0.0.1:{port}/v1",
            EGRESS_ALLOW=f"127.0.0.1:{port}",
            DEFAULT_MODEL="custom-slow/slow",
            LOG_LEVEL="warning",
        )
        try:
            rows = measure(platform, options)
        finally:
            platform.stop()
            slow.terminate()
    print_table(f"{options.steps} steps at {options.rate:g} tokens/s for {options.seconds:g} s, one worker", rows)


def measure(platform: Platform, options: argparse.Namespace) -> list[tuple[str, str]]:
    platform.pipeline(PIPELINE)
    started = time.monotonic()
    ids = [platform.run("speak") for _ in range(options.steps)]
    readers = subprocess.Popen(
        [sys.executable, "-m", "bench.sse_readers", str(platform.port), *tokens(platform, options.steps // 20 + 1)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    peaks = Peaks({kind: _family(platform, kind) for kind in ("web", "worker", "relay")})
    found = json.loads(readers.communicate("\n".join(ids), timeout=options.seconds * 6 + 60)[0])
    took = time.monotonic() - started
    wait_for(lambda: platform.wait(ids[-1]))
    return rows(found, peaks.stop(), took, options)


def tokens(platform: Platform, count: int) -> list[str]:
    """Further tokens, made in the platform's database."""
    code = "from models import database, tokens; database.init(); "
    code += f"[print(tokens.create('bench', 'read')[1]) for _ in range({count})]"
    made = subprocess.run(
        [sys.executable, "-c", code], env=platform.environment, check=True, capture_output=True, text=True
    )
    return made.stdout.split()


def _family(platform: Platform, kind: str) -> list[int]:
    """The process of that kind and its children."""
    pid = platform.processes[platform.named(kind)[0]].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def rows(found: list[dict], peaks: dict[str, tuple[float, float]], took: float, options) -> list[tuple[str, str]]:
    expected = int(options.rate * options.seconds) * len(WORD)
    lags = sorted(lag for one in found for lag in one["lags"])
    whole = sum(one["chars"] == expected and one["gapless"] for one in found)
    return [
        ("streams that got every token, in order, once", f"{whole} of {len(found)}"),
        (
            "tokens delivered",
            f"{sum(one['chars'] for one in found) // len(WORD)} of {expected // len(WORD) * len(found)}",
        ),
        ("event stored -> client, ms, p50 / p99", f"{lags[len(lags) // 2]:.0f} / {lags[int(len(lags) * 0.99)]:.0f}"),
        ("first start -> last end, s", f"{took:.1f}"),
        *((f"{name}: peak RSS MB, CPU s", f"{rss:.0f}, {cpu:.1f}") for name, (rss, cpu) in peaks.items()),
    ]


class Peaks:
    """The highest resident memory (MB) and the CPU seconds of processes, sampled until stopped."""

    def __init__(self, pids: dict[str, list[int]]) -> None:
        self._pids, self._peaks, self._done = pids, dict.fromkeys(pids, 0.0), threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        while not self._done.wait(0.2):
            for name, pids in self._pids.items():
                pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
                self._peaks[name] = max(self._peaks[name], pages * 4096 / 1e6)

    def stop(self) -> dict[str, tuple[float, float]]:
        self._done.set()
        self._thread.join()
        return {name: (self._peaks[name], sum(map(_cpu_seconds, pids))) for name, pids in self._pids.items()}


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
