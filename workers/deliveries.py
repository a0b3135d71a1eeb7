"""Deliveries of GitHub: taken into the inbox at once, applied by an actor, each of its effects once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from models import database, deliveries, events, outbox, projects, triggers
from models.base import now_ms
from models.deliveries import FAILED, IGNORED, PROCESSED, QUEUED, Delivery
from models.errors import LeaseLost
from models.events import Event
from pipelines import github_events
from pipelines.github_events import Facts
from workers import installations, merges
from workers import triggers as commands
from workers.broker import actor, doorbell, later

log = structlog.get_logger(__name__)

PING, PUSH = "ping", "push"
# Events that mean something without triggers.
BUILT_IN = ("installation", "installation_repositories", "pull_request", PUSH)
MOST_ATTEMPTS = 5
FIRST_PAUSE_MS = 5_000  # before the next attempt; doubles each time
SHOWN_CHARS = 500  # of an error
Rule = Callable[[], tuple[str, str | None] | None]


@dataclass(frozen=True, slots=True)
class Heads:
    """What GitHub's headers say."""

    delivery_id: str
    event: str
    hook_id: str | None = None
    hook_target: str | None = None


def receive(heads: Heads, body: bytes, payload: dict[str, Any]) -> dict[str, Any]:
    """Takes a delivery into the inbox and rings for it: {id, action, status, duplicate}."""
    facts = github_events.facts(heads.event, payload)
    digest = hashlib.sha256(body).hexdigest()
    with database.transaction():
        status = _first_status(heads.event)
        id, is_new = deliveries.add(heads.delivery_id, digest, body, **_columns(heads, facts), **status)
        if (is_new and status["status"] == QUEUED) or (not is_new and deliveries.requeue(id, (FAILED,))):
            doorbell("github_delivery", id)
        if is_new:
            _tell("github_delivery_received", id, heads.event, facts)
        row = deliveries.view(id)
    return {"id": id, "action": row["action"], "status": row["status"], "duplicate": not is_new}


def _first_status(event: str) -> dict[str, Any]:
    if event == PING:
        return {"status": PROCESSED, "processed_at": now_ms()}
    heard = event in BUILT_IN or triggers.has_listeners(event)
    return {"status": QUEUED if heard else IGNORED, "processed_at": None if heard else now_ms()}


def _columns(heads: Heads, facts: Facts) -> dict[str, Any]:
    of_hook = {"hook_id": heads.hook_id, "hook_target": heads.hook_target}
    about = {"repository": facts.repository and facts.repository.lower(), "installation_id": facts.installation_id}
    return of_hook | about | {"event": heads.event, "action": facts.action, "sender": facts.sender}


def replay(id: str, force: bool) -> dict[str, Any]:
    """Processes a delivery again, in the enclosing transaction: what is not done yet, or (`force`) everything.

    Raises NotFound, Conflict.
    """
    deliveries.refuse_unless_settled(deliveries.view(id))
    deliveries.requeue(id, (PROCESSED, IGNORED, FAILED))
    if force:
        deliveries.forget_effects(id)
    doorbell("github_delivery", id)
    return deliveries.view(id)


@actor
def github_delivery(id: str) -> None:
    """Applies a delivery; what fails is tried again later, without what was done already."""
    with database.transaction():
        row = deliveries.claim(id)
    if row is None:
        _forget_settled(id)
        return
    try:
        _apply(row)
    except LeaseLost:
        log.info("delivery_taken_over", id=id)


def _forget_settled(id: str) -> None:
    """The doorbell of what was settled meanwhile, or is gone."""
    with database.transaction():
        if not deliveries.is_open(id):
            outbox.answered(id, "")


def _apply(row: Delivery) -> None:
    payload = deliveries.payload(row)
    facts = github_events.facts(row.event, payload)
    failure = RuntimeError("workers have died of it") if row.attempts > MOST_ATTEMPTS else None
    for key, rule in () if failure else _rules(row, facts, payload):
        try:
            _once(row, key, rule)
        except LeaseLost:
            raise
        except Exception as error:  # one rule's failure must not keep the others from their work
            log.warning("delivery_rule_failed", id=row.id, rule=key, exc_info=error)
            failure = failure or error
    _settle(row, facts, failure)


def _rules(row: Delivery, facts: Facts, payload: dict[str, Any]) -> Iterator[tuple[str, Rule]]:
    """(key, what to do) of everything that may follow from a delivery."""
    if row.event in installations.EVENTS:
        yield "installation", lambda: installations.apply(row.event, facts, payload)
    with database.connection():
        waiting = triggers.listening(row.event)
        concerned = projects.of_repository(facts.repository) if facts.repository else []
    for project_id in concerned if merges.concerns(facts) else ():
        yield f"merge:{project_id}", lambda project_id=project_id: merges.apply(project_id, facts, payload)
    for project_id in concerned if row.event == PUSH else ():
        yield f"fetch:{project_id}", lambda project_id=project_id: _fetch(project_id)
    for trigger in waiting:
        yield f"trigger:{trigger.id}", lambda trigger=trigger: commands.react(trigger, row, facts, payload)


def _fetch(project_id: str) -> tuple[str, str]:
    doorbell("prepare_workspace", project_id, projects.WORKSPACE)
    return "fetch", project_id


def _once(row: Delivery, key: str, rule: Rule) -> None:
    with database.transaction():
        deliveries.hold(row)
        if key not in {effect["key"] for effect in row.effects} and (done := rule()):
            deliveries.note_effect(row, key, *done)


def _settle(row: Delivery, facts: Facts, failure: Exception | None) -> None:
    error = failure and str(failure)[:SHOWN_CHARS]
    again = failure is not None and row.attempts < MOST_ATTEMPTS
    status = QUEUED if again else FAILED if failure else PROCESSED
    with database.transaction():
        deliveries.settle(row, status, error)
        outbox.answered(row.id, "")
        if again:
            later("github_delivery", row.id, "", FIRST_PAUSE_MS * 2 ** (row.attempts - 1))
        else:
            _tell(f"github_delivery_{status}", row.id, row.event, facts, error=error, effects=_shown(row))


def _shown(row: Delivery) -> list[dict[str, Any]]:
    return [{"kind": effect["kind"], "ref": effect["ref"]} for effect in row.effects]


def _tell(type: str, id: str, event: str, facts: Facts, **more: Any) -> None:
    about = {"delivery_id": id, "event": event, "action": facts.action, "repository": facts.repository}
    events.note(Event(type, payload=about | more))
