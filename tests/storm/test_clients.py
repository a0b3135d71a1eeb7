"""Clients whose connection is cut, who read through restarts of the API, who ask for contrary things at once."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
import uuid
from collections import Counter
from concurrent.futures import Future

from bench.streams import tokens
from tests.platform import TOKEN, wait_for
from tests.storm import pipelines
from tests.storm.history import TASK
from tests.storm.readers import Reader
from tests.storm.target import Storm

STREAMS_PER_TOKEN = 20


def test_f6_connections_are_cut_after_the_commit(storm, size, row) -> None:
    count, before = size(40, 500), accepted(storm)
    posted = [storm.callers.spread(cut_and_ask_again, storm, number) for number in range(count)]
    ids = storm.settle(posted, 120)
    found, made = storm.findings(), accepted(storm) - before
    row("F6 connection cut", storm, found, count, runs=made)
    assert not found.all and made == len(set(ids)) == count


def accepted(storm: Storm) -> int:
    return storm.store.value("SELECT count(*) FROM runs WHERE task_head = ?", TASK)


def cut_and_ask_again(storm: Storm, number: int) -> str:
    """Every other time the answer is there before the cut, so the change is committed for certain."""
    key = uuid.uuid4().hex
    with socket.create_connection(("127.0.0.1", storm.port)) as wire:
        wire.sendall(request(key))
        if number % 2:
            select.select([wire], [], [], 30)
        else:
            time.sleep(storm.random.uniform(0, 0.02))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
    return storm.callers.start("one", key=key)


def request(key: str) -> bytes:
    body = json.dumps({"pipeline_id": "one", "task": TASK}, separators=(",", ":")).encode()
    head = f"POST /v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_f9_the_api_is_killed_under_its_readers(storm, size, row) -> None:
    storm.script({"SAY": [pipelines.said(size(6, 30), 40)]})
    posted = storm.post(size(18, 180), "speech")
    runs, everything = read_all(storm, [future.result(60) for future in posted], size(2, 20))
    blows = storm.strike(lambda: storm.replace("web"), size((1.5, 2.5), (3, 3)), posted, size(4, 12))
    storm.settle(posted, size(80, 300))
    for reader in runs:
        reader.join(30)
    wait_for(lambda: all_is_read(storm, everything), 30)
    found = storm.findings()
    wrong = [reader.ids for reader in (*runs, *everything) if not consecutive(reader.ids)]
    wrong += [reader.ids for reader in runs if reader.ids[:1] != [1] or reader.ids[-1] != last_seq(storm, reader)]
    resumes = sum(reader.resumes for reader in (*runs, *everything))
    row("F9 API killed under readers", storm, found, len(runs) + len(everything), kills=blows, resumes=resumes)
    assert not found.all and not wrong and resumes


def read_all(storm: Storm, ids: list[str], others: int) -> tuple[list[Reader], list[Reader]]:
    """One reader per run, and others of the whole feed."""
    base = f"http://127.0.0.1:{storm.port}"
    keys = tokens(storm, (len(ids) + others) // STREAMS_PER_TOKEN + 1)
    runs = [Reader(base, keys[n // STREAMS_PER_TOKEN], run_id) for n, run_id in enumerate(ids)]
    everything = [Reader(base, keys[(len(ids) + n) // STREAMS_PER_TOKEN]) for n in range(others)]
    return runs, everything


def all_is_read(storm: Storm, readers: list[Reader]) -> None:
    head = storm.store.value("SELECT max(position) FROM events")
    assert all(reader.ids and reader.ids[-1] == head for reader in readers)
    for reader in readers:
        reader.stop.set()


def consecutive(ids: list[int]) -> bool:
    return bool(ids) and ids == list(range(ids[0], ids[0] + len(ids)))


def last_seq(storm: Storm, reader: Reader) -> int:
    return storm.store.value("SELECT last_seq FROM runs WHERE id = ?", reader.run_id)


def test_f14_contrary_commands_race(storm, size, row) -> None:
    storm.script({f"S{n}": [{"text": "quick", "delay_ms": 30}] for n in range(1, pipelines.STEPS + 1)})
    ids = [future.result(60) for future in storm.post(size(40, 500))]
    asked = [race(storm, run_id) for run_id in ids]
    for futures in asked:
        for future in futures:
            future.result(60)
    storm.settle([])
    found, answers = storm.findings(), Counter()
    wrong = [text for run_id in ids for text in unfair(storm, run_id)]
    for verb in ("cancel", "restart"):
        answers += Counter({f"{verb} {status}": n for status, n in storm.history.statuses(verb).items()})
    row("F14 cancel, restart, complete race", storm, found, 4 * len(ids), answers=dict(answers), unfair=len(wrong))
    assert not found.all and not wrong
    assert set(answers) == {"cancel 200", "cancel 409", "restart 202", "restart 409"}


def race(storm: Storm, run_id: str) -> list[Future]:
    verbs = storm.random.sample(["cancel", "cancel", "restart", "restart"], 4)
    return [storm.callers.spread(storm.callers.command, verb, run_id, storm.random.uniform(0, 0.2)) for verb in verbs]


def unfair(storm: Storm, run_id: str) -> list[str]:
    """A restart that was acknowledged is an epoch; what was refused left no trace."""
    types = Counter(event["type"] for event in storm.events(run_id))
    told = Counter(
        (verb, answer["status"])
        for verb in ("cancel", "restart")
        for answer in storm.history.answers(verb)
        if answer["run_id"] == run_id
    )
    found = [] if types["run_restarted"] == told["restart", 202] else [f"{run_id}: {types} {told}"]
    return found if types["run_cancelled"] <= told["cancel", 200] else [*found, f"{run_id}: {types} {told}"]
