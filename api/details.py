"""A run and its steps, read as the API shows them."""

from __future__ import annotations

import time
from typing import Any

from api import definitions
from api.feeds import StreamFeed
from api.sse import hub
from models import database, run_views, step_views
from models.errors import NotFound
from models.status import TERMINAL, RunStatus
from models.step_views import Epoch, Pinned

SETTLED = TERMINAL | {RunStatus.PAUSED}


def epoch_of(row: dict[str, Any], number: int | None = None) -> Epoch:
    """An epoch of the run in that row, by default the current one. Raises NotFound."""
    if number is not None and number > row["epoch"]:
        raise NotFound(f"Run {row['id']} has no epoch {number}", "epoch_not_found")
    return step_views.load(row, definitions.pinned(row["pipeline_hash"]), number)


def run_detail(row: dict[str, Any], number: int | None = None) -> dict[str, Any]:
    """The Run with its steps, or with those of an earlier epoch."""
    epoch = epoch_of(row, number)
    if epoch.number != row["epoch"]:
        row = row | {"outputs": None}
    return _run(row, epoch) | {"steps": step_views.steps(epoch)}


def run(run_id: str) -> dict[str, Any]:
    """The Run as it is now. Raises NotFound."""
    row = run_views.fetch(run_id)
    return _run(row, epoch_of(row))


def _run(row: dict[str, Any], epoch: Epoch) -> dict[str, Any]:
    return run_views.run(row, step_views.progress(epoch), step_views.outputs(epoch), row["task_description"])


def etag(row: dict[str, Any]) -> str:
    return f"{row['epoch']}.{row['last_seq']}"


def find_step(epoch: Epoch, step_id: str) -> Pinned:
    """The step with that key, or with that id of a row (`{run_id}_{step key}`). Raises NotFound."""
    for pinned in epoch.pinned:
        if step_id in (pinned.key, f"{epoch.run_id}_{pinned.key}"):
            return pinned
    raise NotFound(f"Run {epoch.run_id} has no step {step_id}", "step_not_found")


def settled(run_id: str, seconds: int, holder: str) -> dict[str, Any]:
    """The run's row once it is terminal or paused, or when the time is up. Raises NotFound, TooMany."""
    row = run_views.fetch(run_id)
    if not seconds or row["status"] in SETTLED:
        return row
    hub.check_limits(holder)
    database.release()
    deadline = time.monotonic() + seconds
    with hub.reading(StreamFeed(run_id), holder) as reader:
        reader.go_live(reader.channel.last)
        while not reader.closed and not _over(run_id) and (left := deadline - time.monotonic()) > 0:
            reader.take(left)
    return run_views.fetch(run_id)


def _over(run_id: str) -> bool:
    with database.connection():
        sql = "SELECT status FROM runs WHERE id = ?"
        return database.execute(sql, (run_id,)).fetchone()[0] in SETTLED
