"""What a durable step costs: 5-step runs with instant scripted replies, beside a bare Dramatiq `pipeline` of 5 no-ops.

`python -m bench.engine [--runs 200]` starts its own Redis, worker and relay. Figures: SQLite (WAL, synchronous=NORMAL).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import print_table
from tests.platform import Platform

STEPS = 5
PIPELINE = f"""
id: five
agents: [{{id: a}}]
defaults: {{tools: []}}
steps:
{"".join(f"  - {{id: S{n}, agent: a, input: 'step {n}', outputs: [o{n}]}}" + chr(10) for n in range(1, STEPS + 1))}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="djinnbot-bench-") as folder:
        platform = Platform(Path(folder), LOG_LEVEL="warning")
        try:
            platform.pipeline(PIPELINE)
            rows = measure(platform, runs)
        finally:
            platform.stop()
    print_table(f"{runs} runs of {STEPS} steps, one worker process", rows)


def measure(platform: Platform, runs: int) -> list[tuple[str, str]]:
    environment = platform.environment
    single = [float(value) for value in child("ours-single", environment, 30)]
    bare_single = [float(value) for value in child("bare-single", environment, 30)]
    ours = float(child("ours-many", environment, runs)[0])
    bare = float(child("bare-many", environment, runs)[0])
    return [
        ("ours, one run at a time: ms per step, median", f"{statistics.median(single) / STEPS:.2f}"),
        ("bare dramatiq, one at a time: ms per step, median", f"{statistics.median(bare_single) / STEPS:.2f}"),
        (f"ours, {runs} runs at once: steps/s", f"{runs * STEPS / ours:.0f}"),
        (f"bare dramatiq, {runs} pipelines at once: steps/s", f"{runs * STEPS / bare:.0f}"),
    ]


def child(part: str, environment: dict[str, str], count: int) -> list[str]:
    """One part in a process of its own: its figures, as text."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.engine_parts", part, str(count)],
        env=environment | {"PYTHONPATH": str(Path.cwd())},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


if __name__ == "__main__":
    main()
