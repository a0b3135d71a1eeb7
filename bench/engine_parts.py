"""The parts of `bench.engine`, each in a process of its own against the platform in the environment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from models import config, database
from pipelines.catalog import Catalog
from workers import runs

BARE = Path(__file__).parent / "bare_dramatiq.py"


def entry():
    return Catalog([config.get().pipelines_dir]).get("five")


def wait_until(sql: str, expected: int) -> None:
    while True:
        with database.connection():
            if database.execute(sql).fetchone()[0] >= expected:
                return
        time.sleep(0.002)


def ours_single(count: int) -> None:
    """Milliseconds from the first claim to the end, as the run row has them, one line per run."""
    for _ in range(count):
        run_id = runs.start(entry(), task_description="bench")
        wait_until(f"SELECT count(*) FROM runs WHERE id = '{run_id}' AND status = 'completed'", 1)
        with database.connection():
            sql = "SELECT min(created_at), max(created_at) FROM events WHERE stream = ? AND seq > 1"
            first, last = database.execute(sql, (run_id,)).fetchone()
        print(last - first)


def ours_many(count: int) -> None:
    """Seconds from the first start to the end of the last run."""
    pipeline, started = entry(), time.monotonic()
    done = "SELECT count(*) FROM runs WHERE status = 'completed'"
    with database.connection():
        before = database.execute(done).fetchone()[0]
    for _ in range(count):
        runs.start(pipeline, task_description="bench")
    wait_until(done, before + count)
    print(time.monotonic() - started)


def bare(kind: str, count: int) -> None:
    worker = subprocess.Popen([sys.executable, str(BARE), "worker"])
    try:
        time.sleep(1.5)
        subprocess.run([sys.executable, str(BARE), kind, str(count)], check=True)
    finally:
        worker.terminate()
        worker.wait()


def main() -> None:
    part, count = sys.argv[1], int(sys.argv[2])
    database.init()
    {
        "ours-single": lambda: ours_single(count),
        "ours-many": lambda: ours_many(count),
        "bare-single": lambda: bare("single", count),
        "bare-many": lambda: bare("many", count),
    }[part]()


if __name__ == "__main__":
    main()
