"""Looking for what GitHub has failed to deliver: it is asked to deliver it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from models import database, deliveries, github_apps, github_cache, leases, outbox
from models.base import new_id, now_ms
from models.errors import OutsideError
from models.github_apps import APP
from pipelines import github_events
from workers.broker import actor
from workers.clients import github
from workers.clients.github import Client

log = structlog.get_logger(__name__)

STATE = "reconcile"
LEASE = "github_reconcile"
LEASE_MS = 600_000
MOST_AGE_MS = 3 * 86_400_000  # what is older GitHub does not deliver again
MOST_REQUESTS = 3  # for one delivery
BATCH = 200  # ids asked for in one statement


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook whose deliveries can be listed."""

    client: Client
    path: str


@actor
def github_reconcile(id: str) -> None:
    """One look at everything since the last one; two at a time would ask twice."""
    owner = new_id("rec_")
    if not leases.hold(LEASE, owner, LEASE_MS):
        return
    try:
        if github_apps.is_configured():
            _look(now_ms())
        with database.transaction():
            outbox.answered(id, "")
    finally:
        leases.release(LEASE, owner)


def _look(began: int) -> None:
    """Asks for what is missing; what it could not settle is looked at again the next time."""
    with database.connection():
        kept, _ = github_cache.state(STATE)
    kept = kept or {"since": 0, "asked": {}}
    since, asked = max(kept["since"], began - MOST_AGE_MS), dict(kept["asked"])
    open_since = [began]
    for hook in _hooks():
        try:
            open_since += _settle(hook, since, asked)
        except OutsideError as error:
            log.warning("reconcile_failed", hook=hook.path, error=error.message)
            open_since.append(since)
    recent = {guid: [count, at] for guid, (count, at) in asked.items() if at > began - 2 * MOST_AGE_MS}
    with database.transaction():
        github_cache.put(STATE, {"since": min(open_since), "asked": recent})


def _hooks() -> Iterator[Hook]:
    """The App's webhook, or those of the repositories that have delivered something."""
    if github_apps.identity().mode == APP:
        yield Hook(github.app(), "/app/hook/deliveries")
        return
    with database.connection():
        known = deliveries.hooks_of_repositories()
    for repository, hook_id in known:
        yield Hook(github.user(), f"/repos/{github.path(repository)}/hooks/{hook_id}/deliveries")


def _settle(hook: Hook, since: int, asked: dict[str, list[int]]) -> list[int]:
    """Asks again for what did not arrive; when (ms) each of those was sent that may still come."""
    tries: dict[str, list[dict[str, Any]]] = {}
    for entry in _since(hook, since):
        tries.setdefault(entry["guid"], []).append(entry)
    known = _known(list(tries))
    missing = [found for guid, found in tries.items() if guid not in known or not any(map(_arrived, found))]
    return [at for found in missing if (at := _again(hook, found, asked))]


def _since(hook: Hook, since: int) -> Iterator[dict[str, Any]]:
    """Newest first."""
    for entry in hook.client.pages(hook.path):
        if (github_events.moment(entry.get("delivered_at")) or 0) < since:
            return
        yield entry


def _arrived(entry: dict[str, Any]) -> bool:
    return 200 <= (entry.get("status_code") or 0) < 300


def _known(guids: list[str]) -> set[str]:
    found: set[str] = set()
    with database.connection():
        for start in range(0, len(guids), BATCH):
            found |= deliveries.known(guids[start : start + BATCH])
    return found


def _again(hook: Hook, tries: list[dict[str, Any]], asked: dict[str, list[int]]) -> int | None:
    """Asks for one delivery once more; when it was sent first. None if it was asked for often enough."""
    newest, oldest = tries[0], tries[-1]
    count, _ = asked.get(newest["guid"], (0, 0))
    if count >= MOST_REQUESTS:
        return None
    asked[newest["guid"]] = [count + 1, now_ms()]
    hook.client.post(f"{hook.path}/{newest['id']}/attempts", {})
    log.info("delivery_asked_for", guid=newest["guid"], requests=count + 1)
    return github_events.moment(oldest.get("delivered_at"))
