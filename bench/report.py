"""What benches share: a database of their own, and how they print (a title with the hardware, then aligned rows)."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    print(f"\n{title} ({os.cpu_count()} cores, Python {platform.python_version()})")
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name.ljust(width)}  {value}")


def on_database(measure: Callable[[], None], **settings: str) -> None:
    """Measures with an empty data folder, on SQLite or on the PostgreSQL database that the command line names."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ |= {"DATA_DIR": folder, "LOG_LEVEL": "error"} | settings
        if len(sys.argv) > 1 and sys.argv[1] != "sqlite":
            os.environ["DATABASE_URL"] = sys.argv[1]
        measure()
