"""Looks at everything the platform depends on, in parallel, each look capped, the result kept for two seconds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from models import config, database, endpoints, overview
from workers.broker import client
from workers.publisher import FEED_DATABASE

CAP_SECONDS = 0.5
KEEP_SECONDS = 2.0
LEAST_FREE = 0.05  # part of the disk

_executor = ThreadPoolExecutor(16, thread_name_prefix="probe")
_kept: tuple[float, dict[str, Any]] = (0.0, {})


def report() -> dict[str, Any]:
    """`{counts: obj or None, components: [obj]}`; at most two seconds old, never later than the cap."""
    global _kept
    if time.monotonic() - _kept[0] > KEEP_SECONDS:
        _kept = (time.monotonic(), _look())
    return _kept[1]


def forget() -> None:
    """Makes the next report look anew."""
    global _kept
    _kept = (0.0, {})


def _look() -> dict[str, Any]:
    began = time.monotonic()
    probes = {"database": _database, "redis": _redis, "disk": _disk, "llm_providers": _providers}
    running = {name: _executor.submit(_timed, probe) for name, probe in probes.items()}
    found = {name: _result(future, began) for name, future in running.items()}
    counts = found["database"].pop("counts", None)
    found |= {"workers": _workers(counts), "outbox": _outbox(counts), "github": _finding("ok", "not configured")}
    return {"counts": counts, "components": [{"name": name, **found[name]} for name in sorted(found)]}


def _timed(probe: Callable[[], Any]) -> dict[str, Any]:
    began = time.monotonic()
    finding = probe()
    return finding | {"latency_ms": round((time.monotonic() - began) * 1000)}


def _result(future: Future, began: float) -> dict[str, Any]:
    """A probe may raise whatever its client raises: that is the finding."""
    try:
        return future.result(max(began + CAP_SECONDS - time.monotonic(), 0))
    except TimeoutError:
        return _finding("down", f"no answer within {CAP_SECONDS} s")
    except Exception as error:
        return _finding("down", type(error).__name__)


def _finding(status: str, detail: str | None = None) -> dict[str, Any]:
    return {"status": status, "detail": detail, "latency_ms": None}


def _database() -> dict[str, Any]:
    with database.connection():
        return _finding("ok") | {"counts": overview.counts()}


def _redis() -> dict[str, Any]:
    client(FEED_DATABASE, CAP_SECONDS).ping()
    return _finding("ok")


def _disk() -> dict[str, Any]:
    usage = shutil.disk_usage(config.get().data_dir)
    free = usage.free / usage.total
    return _finding("ok" if free >= LEAST_FREE else "degraded", f"{free:.0%} free")


def _providers() -> dict[str, Any]:
    settings = config.get()
    with database.connection():
        usable = [provider.info.id for provider in endpoints.usable()]
    if usable or settings.default_model or settings.scripted_replies:
        return _finding("ok", ", ".join(usable) or settings.default_model or "scripted")
    return _finding("degraded", "no provider has a key and no DEFAULT_MODEL is set")


def _workers(counts: dict[str, Any] | None) -> dict[str, Any]:
    if counts is None:
        return _finding("down", "unknown without the database")
    alive = counts["workers"]["alive"]
    return _finding("ok" if alive else "degraded", f"{alive} alive")


def _outbox(counts: dict[str, Any] | None) -> dict[str, Any]:
    if counts is None:
        return _finding("down", "unknown without the database")
    unsent = counts["queue"]["outbox_unsent"]
    return _finding("ok" if not unsent else "degraded", f"{unsent} unsent")
