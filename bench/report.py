"""How benches print: a title with the hardware, then aligned rows."""

from __future__ import annotations

import os
import platform


def print_table(title: str, rows: list[tuple[str, str]]) -> None:
    print(f"\n{title} ({os.cpu_count()} cores, Python {platform.python_version()})")
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name.ljust(width)}  {value}")
