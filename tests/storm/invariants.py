"""What must hold after every storm, read from the database, from the clients' history and from the process table."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.events import TERMINAL_TYPES
from models.status import ACTIVE, RUN_SOURCES, TERMINAL, may_follow
from models.workers import host, process_started

if TYPE_CHECKING:
    from tests.storm.store import Store
    from tests.storm.target import Storm

RUN_EVENTS = {  # event -> the status it leads to
    "run_created": "pending",
    "run_started": "running",
    "run_paused": "paused",
    "run_resumed": "running",
    "run_complete": "completed",
    "run_failed": "failed",
    "run_cancelled": "cancelled",
    "run_restarted": "pending",
}
STEP_EVENTS = {
    "step_queued": "queued",
    "step_started": "running",
    "step_resumed": "running",
    "step_retrying": "retrying",
    "approval_requested": "paused",
    "step_complete": "completed",
    "step_failed": "failed",
    "step_cancelled": "cancelled",
    "step_skipped": "skipped",
}
BATCH = 200  # runs read at once


@dataclass
class Findings:
    lost: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.lost, *self.duplicates, *self.broken]


@dataclass
class Told:
    """One run as it is stored."""

    id: str
    status: str
    epoch: int
    last_seq: int
    reserved_tokens: int
    events: list[dict[str, Any]] = field(default_factory=list)
    visits: list[dict[str, Any]] = field(default_factory=list)
    turns: list[tuple] = field(default_factory=list)  # (epoch, n, attempt, turn, text of the reply)
    doorbells: set[str] = field(default_factory=set)


def check(storm: Storm, ids: list[str], settle: float) -> Findings:
    """Everything, over the runs `ids`; what needs a moment (numbering, burials) is given `settle` seconds."""
    found = over(storm.store, ids)
    slow = (lambda: unnumbered(storm.store), lambda: dead_holders(storm.store), lambda: _orphans(storm))
    found.broken += [text for look in slow for text in _within(settle, look)]
    found.broken += [f"database: {text}" for text in storm.store.damage()]
    return found


def over(store: Store, ids: list[str]) -> Findings:
    """What the rows of these runs say, all of which a client was told of."""
    found = Findings()
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        runs = read(store, part)
        found.lost += [f"{id} is not there" for id in part if id not in runs]
        for run in runs.values():
            found.lost += unfinished(run)
            found.duplicates += [f"{run.id}: {text}" for text in repeated(run)]
            found.broken += [f"{run.id}: {text}" for text in (*disordered(run), *illegal(run), *stranded(run))]
            found.broken += [f"{run.id}: {text}" for text in (*unfenced(run), *misheard(run))]
    return found


def read(store: Store, ids: list[str]) -> dict[str, Told]:
    marks = ", ".join("?" * len(ids))
    runs = {
        row[0]: Told(*row)
        for row in store.rows(
            f"SELECT id, status, epoch, last_seq, reserved_tokens FROM runs WHERE id IN ({marks})", *ids
        )
    }
    for stream, data in store.rows(
        f"SELECT stream, data FROM events WHERE stream IN ({marks}) ORDER BY stream, seq", *ids
    ):
        runs[stream].events.append(json.loads(data))
    names = ("epoch", "n", "type", "step_key", "visit", "scope", "status", "token", "owner")
    for id, *values in store.rows(
        f"SELECT run_id, {', '.join(names)} FROM visits WHERE run_id IN ({marks}) ORDER BY run_id, epoch, n", *ids
    ):
        runs[id].visits.append(dict(zip(names, values, strict=True)))
    sql = f"SELECT run_id, epoch, n, attempt, turn, reply FROM llm_calls WHERE status = 'ok' AND run_id IN ({marks})"
    for id, *place, reply in store.rows(sql, *ids):
        runs[id].turns.append((*place, json.loads(reply)["text"]))
    for id, ref in store.rows(f"SELECT object_id, ref FROM outbox WHERE object_id IN ({marks})", *ids):
        runs[id].doorbells.add(ref)
    return runs


# --- of one run ---


def unfinished(run: Told) -> Iterator[str]:
    if run.status not in TERMINAL:
        active = [
            (visit["step_key"], visit["status"], visit["owner"]) for visit in run.visits if visit["status"] in ACTIVE
        ]
        yield f"{run.id} is {run.status}; active: {active}"


def repeated(run: Told) -> Iterator[str]:
    """A step visit completes once, with one event; a turn is kept once."""
    done = Counter(_place(event) for event in run.events if event["type"] == "step_complete")
    yield from (f"{place} completed {count} times" for place, count in done.items() if count > 1)
    for visit in run.visits:
        if visit["status"] == "completed" and visit["epoch"] == 1 and not done[_row_place(visit)]:
            yield f"{_row_place(visit)} is completed without an event"
    turns = Counter(turn[:4] for turn in run.turns)
    yield from (f"turn {place} is kept {count} times" for place, count in turns.items() if count > 1)


def _place(event: dict[str, Any]) -> tuple:
    return event["epoch"], event["step_id"], event["visit"], event["item_index"]


def _row_place(visit: dict[str, Any]) -> tuple:
    scope = json.loads(visit["scope"])
    return visit["epoch"], visit["step_key"], visit["visit"], scope[-1][2] if scope else None


def disordered(run: Told) -> Iterator[str]:
    """`seq` is 1..n from `run_created` on; statuses follow their table; an epoch ends once and is silent after it."""
    numbers = [event["seq"] for event in run.events]
    if numbers != list(range(1, run.last_seq + 1)):
        yield f"events are numbered {numbers[:3]}..{numbers[-3:]} of {run.last_seq}"
    status, reason, begun = None, None, set()  # epochs in which a worker has started the run
    for event in run.events:
        if status in TERMINAL and event["type"] != "run_restarted":
            yield f"{event['type']} after the run was {status}"
        if event["type"] == "run_started":
            begun.add(event["epoch"])
        if event["type"] in RUN_EVENTS:
            before, status = (status, reason), RUN_EVENTS[event["type"]]
            if event["type"] == "run_resumed" and event["epoch"] not in begun:
                status = "pending"
            reason = event["reason"] if event["type"] == "run_paused" else None
            if not _may_run_follow((status, reason), before):
                yield f"{before} -> {(status, reason)}"
    if status != run.status:
        yield f"events say {status}, the row says {run.status}"
    epochs = Counter(event["epoch"] for event in run.events if event["type"] in TERMINAL_TYPES)
    yield from (f"epoch {epoch} ended {count} times" for epoch, count in epochs.items() if count > 1)


def _may_run_follow(now: tuple, before: tuple) -> bool:
    """(status, reason of a pause): what waits for one thing may be told to wait for another."""
    if before[0] is None:
        return now[0] == "pending"
    return before[0] in RUN_SOURCES[now[0]] or (now[0] == before[0] == "paused" and now != before)


def illegal(run: Told) -> Iterator[str]:
    """Steps follow their table too, and the rows say what the events say."""
    now: dict[tuple, str] = {}
    maps = {_row_place(visit) for visit in run.visits if visit["type"] == "map"}  # at work as soon as they are entered
    for event in run.events:
        if event["type"] in STEP_EVENTS:
            before, status = now.get(_place(event), "pending"), STEP_EVENTS[event["type"]]
            if status == "queued" and _place(event) in maps:
                status = "running"
            if not may_follow(status, before):
                yield f"{_place(event)}: {before} -> {status}"
            now[_place(event)] = status
    for visit in run.visits:
        told = now.get(_row_place(visit), visit["status"])
        if told != visit["status"]:
            yield f"{_row_place(visit)}: events say {told}, the row says {visit['status']}"


def stranded(run: Told) -> Iterator[str]:
    """Nothing is active in a run that is over; what waits has a doorbell; a running run has something to do."""
    now = [visit for visit in run.visits if visit["epoch"] == run.epoch]
    active = [visit for visit in now if visit["status"] in ACTIVE]
    if run.status in TERMINAL:
        yield from (f"{visit['step_key']} is {visit['status']} in a run that is over" for visit in active)
        yield from (f"doorbell {ref!r} of a run that is over" for ref in run.doorbells)
        if run.reserved_tokens:
            yield f"{run.reserved_tokens} tokens are reserved for a run that is over"
    if run.status == "pending" and "" not in run.doorbells:
        yield "waits for a worker without a doorbell"
    if run.status == "running":
        if not active:
            yield "has nothing left to do and is not over"
        for visit in active:
            waits = visit["owner"] is None and visit["status"] != "paused"
            if waits and f"{visit['epoch']}.{visit['n']}" not in run.doorbells:
                yield f"{visit['step_key']} waits as {visit['status']} without a doorbell"


def unfenced(run: Told) -> Iterator[str]:
    """Every claim of a visit had a token of its own."""
    kinds = ("step_started", "step_resumed")
    claims = Counter(_place(event) for event in run.events if event["type"] in kinds)
    for visit in run.visits:
        count = claims[_row_place(visit)]
        if visit["token"] < count and visit["type"] != "pipeline":  # which starts without a worker of its own
            yield f"{visit['step_key']} was claimed {count} times under {visit['token']} tokens"


def misheard(run: Told) -> Iterator[str]:
    """What was streamed of a turn since its worker took the step is exactly what the turn is kept as."""
    kept = {turn[:4]: turn[4] for turn in run.turns}
    numbers = {_row_place(visit): visit["n"] for visit in run.visits}
    heard: dict[tuple, dict[int, str]] = defaultdict(lambda: defaultdict(str))
    for event in run.events:
        place = _place(event)
        if event["type"] in ("step_started", "step_resumed"):
            heard[place].clear()
        elif event["type"] == "agent_output":
            heard[place][event["turn"]] += event["text"]
        elif event["type"] == "llm_call" and not event["error"]:
            text = kept.get((event["epoch"], numbers[place], event["attempt"], event["turn"]))
            if text != heard[place][event["turn"]]:
                yield f"{place}: heard {heard[place][event['turn']]!r:.80}, kept {text!r:.80}"


# --- of the platform ---


def unnumbered(store: Store) -> list[str]:
    """Positions are 1..n over all events."""
    count, distinct, highest = store.rows("SELECT count(*), count(DISTINCT position), max(position) FROM events")[0]
    return [] if count == distinct == (highest or 0) else [f"{count} events, {distinct} positions up to {highest}"]


def dead_holders(store: Store) -> list[str]:
    """No worker that is gone holds a visit, and none is held by a worker that nobody knows."""
    sql = (
        "SELECT v.run_id, v.step_key, w.pid, w.process_started, w.host FROM visits v LEFT JOIN workers w"
        " ON w.id = v.owner WHERE v.status = 'running' AND v.owner IS NOT NULL"
    )
    return [
        f"{run_id} {key} is held by a dead worker"
        for run_id, key, pid, started, where in store.rows(sql)
        if pid is None or (where == host() and process_started(pid) != started)
    ]


def _orphans(storm: Storm) -> list[str]:
    return [f"orphan: {text}" for text in storm.orphans()]


def _within(seconds: float, look) -> list[str]:
    """What is still wrong after so long."""
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
