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
from tests.storm.history import TASK, order
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
    body = json.dumps(order("one"), separators=(",", ":")).encode()
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


VERBS = {"cancel": 200, "restart": 202, "approve": 200, "reject": 200}  # what is asked of every run -> when granted
DECISIONS = ("approve", "reject")


def test_f14_contrary_commands_race(storm, size, row) -> None:
    storm.script({f"S{n}": [{"text": "quick", "delay_ms": 30}] for n in range(1, pipelines.STEPS + 1)})
    ids = [future.result(60) for future in storm.post(size(40, 2000), "gate")]
    for future in [future for run_id in ids for future in race(storm, run_id)]:
        future.result(600)
    wait_for(storm.approve_the_rest, size(60, 300))
    found, told = storm.findings(), storm.history.answers(*VERBS)
    wrong, answers = unfair(storm, ids, told), Counter(f"{answer['asked']} {answer['status']}" for answer in told)
    row("F14 cancel, restart, approve, reject race", storm, found, len(ids), answers=dict(answers), unfair=len(wrong))
    assert not found.all and not wrong
    known = {f"{verb} {status}" for verb, granted in VERBS.items() for status in (granted, 409)}
    assert {f"{verb} {status}" for verb, status in VERBS.items()} <= set(answers) <= known
    assert all(isinstance(answer["allowed"], list) for answer in told if answer["status"] == 409)


def race(storm: Storm, run_id: str) -> list[Future]:
    """Every verb once, in any order, at about the time when the run waits for its approval."""
    calls = {**dict.fromkeys(VERBS, storm.callers.command), **dict.fromkeys(DECISIONS, storm.callers.decide)}
    verbs = storm.random.sample(list(VERBS), len(VERBS))
    return [storm.callers.spread(calls[verb], verb, run_id, storm.random.uniform(0, 0.3)) for verb in verbs]


def unfair(storm: Storm, ids: list[str], told: list[dict]) -> list[str]:
    """What was granted has happened, what was refused has left no trace, and nothing was decided twice."""
    granted = {run_id: Counter() for run_id in ids}
    for answer in told:
        granted[answer["run_id"]][answer["asked"]] += answer["status"] == VERBS[answer["asked"]]
    return [run_id for run_id in ids if not is_fair(storm.events(run_id), granted[run_id])]


def is_fair(log: list[dict], granted: Counter) -> bool:
    """`granted`: how often clients were told so. The same cancel or decision may be granted again."""
    types, decided = Counter(event["type"] for event in log), [e for e in log if e["type"] == "approval_decided"]
    made = Counter(event["decision"] for event in decided) + Counter(cancel=types["run_cancelled"])
    told = all((0 < made[verb] <= granted[verb]) or made[verb] == granted[verb] for verb in (*DECISIONS, "cancel"))
    once = len({event["approval_id"] for event in decided}) == len(decided)
    return told and once and types["run_restarted"] == granted["restart"]
