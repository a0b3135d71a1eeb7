"""What a worker process knows of itself."""

from __future__ import annotations


class Process:
    """Which worker this process is; set once at its start. While it is `stopping` it claims nothing more."""

    worker_id = "wrk_none"
    stopping = False
