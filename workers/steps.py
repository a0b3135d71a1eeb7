"""Steps: the actor that works on a run's steps, and what the end of an attempt means."""

from __future__ import annotations

import random
import time

import structlog

from models import database, runs, visits
from models.base import now_ms
from models.errors import LeaseLost, NeedsPerson, ProviderTransient, StepError, Unavailable
from models.events import Event
from models.status import RunStatus, StepStatus
from pipelines import plan
from pipelines.definition import Step
from pipelines.state import Visit
from workers import saves, walks
from workers.agent import attempts
from workers.agent.loop import Answer
from workers.broker import actor, later
from workers.claims import claim, mine, release, take
from workers.holds import GiveBack, Hold, holding
from workers.walks import Walk

CLAIM_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between tries; after the last the relay rings again

log = structlog.get_logger(__name__)


@actor
def advance_run(run_id: str) -> None:
    """Takes a step of the run and walks on from it, in place, until nothing is left for this worker."""
    taken = _claim_patiently(run_id)
    while taken:
        taken = work(*taken)


def _claim_patiently(run_id: str) -> tuple[Walk, Visit] | None:
    """A database that is away for a moment costs no ring."""
    for pause in CLAIM_PAUSES:
        try:
            return claim(run_id)
        except Unavailable as error:
            log.warning("claim_waits", run_id=run_id, error=error.message)
            time.sleep(pause)
    return None


def work(walk: Walk, visit: Visit) -> tuple[Walk, Visit] | None:
    """One attempt and its settlement; returns the step to go on with, already claimed."""
    hold = Hold(walk.run.id, walk.run.epoch, visit.n, visit.token)
    facts = structlog.contextvars.bound_contextvars(run_id=hold.stream, step=visit.step_key, attempt=visit.attempt)
    with facts, holding(hold), attempts.opened(walk, visit, hold) as attempt:
        try:
            outcome = attempt.run()
        except Exception as error:
            outcome = error
        hold.settling = True
        return settle(walk, hold, outcome, attempt.feed.take())


def settle(walk: Walk, hold: Hold, outcome: Answer | Exception, pending: list[Event]) -> tuple[Walk, Visit] | None:
    """What the end of an attempt means: the one place where errors are judged."""
    match outcome:
        case Answer():
            decide = _complete
        case GiveBack():
            release(*hold.key, outcome.why)
            return None
        case Unavailable(code=database.AWAY):
            walks.hand_back(hold, lambda: release(*hold.key, "database_away"))
            return None
        case NeedsPerson():
            decide = _ask
        case LeaseLost():
            log.info("lease_lost", reason=outcome.message)
            return None
        case StepError():
            decide = _fail
        case _:
            log.error("attempt_crashed", exc_info=outcome)
            outcome = StepError(f"{type(outcome).__name__}: {outcome}", "internal_error")
            outcome.repeats = True
            decide = _fail
    try:
        following = walks.patiently(hold, lambda: walks.change(walk, lambda walk: decide(walk, hold, outcome, pending)))
    except LeaseLost as lost:
        if not _park(hold, outcome):
            log.info("settlement_refused", reason=lost.message)
        return None
    return (walk, following) if following else None


def _park(hold: Hold, outcome: object) -> bool:
    """The run was paused just before its step ended: the last turn is kept, and the step ends after the resume."""
    with database.connection():
        paused = runs.get(hold.stream).status == RunStatus.PAUSED
    if not paused:
        return False
    if isinstance(outcome, Answer) and outcome.last is not None:
        outcome.journal.keep(outcome.last, [])
    return release(*hold.key, "resume")


def _ask(walk: Walk, hold: Hold, asks: NeedsPerson, pending: list[Event]) -> Visit | None:
    """The attempt waits for a person and holds no worker."""
    visit = mine(walk, hold.n, hold.token)
    visit.status, visit.owner, visit.interrupted, visit.approval_id = StepStatus.PAUSED, None, asks.kind, None
    visit.token += 1
    visit.usage = walks.attempt_usage(hold)
    walk.state.touch(visit)
    walk.asked[visit.n] = asks
    following, last = take(walk)
    saves.save(walk, pending, last, started=following)
    return following


def _complete(walk: Walk, hold: Hold, answer: Answer, pending: list[Event]) -> Visit | None:
    visit = mine(walk, hold.n, hold.token)
    recorded, add = list(pending), {}
    if answer.last is not None:
        recorded += answer.journal.keep_last(answer.last)
        add, visit.model = answer.last.add, answer.last.model
    visit.usage = walks.attempt_usage(hold, add)
    visit.completed_at = now_ms()
    visit.structured, visit.artifacts = answer.structured, answer.artifacts
    duration = visit.completed_at - visit.started_at
    done = walks.event(
        walk.run,
        "step_complete",
        visit,
        outputs=walks.shown(answer.outputs),
        result=answer.verdict.result or None,
        duration_ms=duration,
        usage=visit.usage,
        commit=None,
    )
    plan.complete(walk.state, visit, answer.outputs, answer.verdict)
    following, last = take(walk)
    saves.save(walk, [*recorded, done], last, started=following, add=add)
    return following


def _fail(walk: Walk, hold: Hold, error: StepError, pending: list[Event]) -> Visit | None:
    visit = mine(walk, hold.n, hold.token)
    visit.completed_at, visit.usage = now_ms(), walks.attempt_usage(hold)
    allowed = error.details.get("max_retries")
    allowed = visit.max_retries if allowed is None else allowed
    if error.repeats and not error.details.get("final") and visit.retry_count < allowed:
        _repeat(walk, visit, error, pending)
        return None
    plan.fail(walk.state, visit, error)
    following, last = take(walk)
    saves.save(walk, pending, last, started=following)
    return following


def _repeat(walk: Walk, visit: Visit, error: StepError, pending: list[Event]) -> None:
    """The attempt is kept as it failed; the visit waits for the next one and holds no worker."""
    visit.retry_count += 1
    delay_ms = _delay_ms(walk.state.step(visit), visit.retry_count, error)
    visit.status, visit.owner, visit.due_at = StepStatus.RETRYING, None, database.now() + delay_ms
    visit.error, visit.error_code = error.message, error.code
    visit.feedback = {
        "attempt": visit.attempt,
        "error": error.message,
        "error_code": error.code,
        "output": error.details.get("output"),
    }
    walk.state.touch(visit)
    waits = walks.event(
        walk.run,
        "step_retrying",
        visit,
        error=error.message,
        error_code=error.code,
        retry_count=visit.retry_count,
        delay_ms=delay_ms,
        retry_at=now_ms() + delay_ms,
    )
    saves.save(walk, [*pending, waits])
    _archive(walk, visit, error)
    later("advance_run", walk.run.id, walks.ref(visit), delay_ms)


def _delay_ms(step: Step, number: int, error: StepError) -> int:
    """Before repeat `number`: half to whole of an exponential delay, at least what the provider asks for."""
    rule = step.retry
    seconds = min(rule.delay_seconds * rule.factor ** (number - 1), rule.max_delay_seconds)
    asked = error.retry_after if isinstance(error, ProviderTransient) else None
    return int(1000 * max(random.uniform(0.5, 1) * seconds, asked or 0))


def _archive(walk: Walk, visit: Visit, error: StepError) -> None:
    visits.Attempt.insert(
        run_id=walk.run.id,
        epoch=walk.run.epoch,
        n=visit.n,
        attempt=visit.attempt,
        status=StepStatus.FAILED,
        model=visit.model,
        prompt=visit.prompt,
        error=error.message,
        error_code=error.code,
        usage=visit.usage,
        losses=visit.losses,
        first_seq=visit.first_seq,
        last_seq=walk.run.last_seq,
        started_at=visit.started_at,
        completed_at=visit.completed_at,
    ).execute()
