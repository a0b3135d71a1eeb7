"""Doorbells: they ring until they are answered, whatever happens to Redis or to who should answer."""

from __future__ import annotations

import os

import pytest
import redis

from models import config, database, leases, outbox, workers
from models.workers import Worker
from tests.engine import Engine
from workers import claims
from workers.broker import Ringer, broker, client
from workers.process import Process
from workers.relay import Relay
from workers.sweeper import CANARY, Sweeper

pytestmark = pytest.mark.usefixtures("store")
CHAIN = "id: c\nagents: [{id: a}]\ndefaults: {tools: []}\nsteps: [{id: A, agent: a, input: a, outputs: [x]}]\n"


def waiting() -> list[outbox.Outbox]:
    with database.connection():
        return list(outbox.Outbox.select())


def make_due() -> None:
    with database.transaction():
        database.execute("UPDATE outbox SET not_before = 0")


def queued() -> int:
    return broker.client.llen("dramatiq:runs")


@pytest.fixture(autouse=True)
def empty_queue():
    broker.client.flushdb()


def test_a_doorbell_stays_until_the_claim_that_answers_it() -> None:
    run = Engine(CHAIN)
    assert [row.object_id for row in waiting()] == [run.run_id]
    claims.claim(run.run_id)
    assert waiting() == []


def test_the_relay_rings_what_is_due_and_moves_it_away() -> None:
    Engine(CHAIN)
    broker.client.flushdb()
    assert Relay().ring_due() == 0
    make_due()
    assert (Relay().ring_due(), queued()) == (1, 1)
    assert Relay().ring_due() == 0 and waiting()[0].rings == 1


def test_what_is_still_queued_is_not_rung_again() -> None:
    Engine(CHAIN)
    for _ in range(3):
        make_due()
        Relay().ring_due()
    assert (queued(), waiting()[0].rings) == (2, 1)


def test_gaps_between_rings_grow_to_five_minutes() -> None:
    Engine(CHAIN)
    gaps = []
    for _ in range(7):
        broker.client.flushdb()
        make_due()
        Relay().ring_due()
        with database.connection():
            gaps.append(round((waiting()[0].not_before - database.now()) / 1000))
    assert gaps == [10, 20, 40, 80, 160, 300, 300]


def test_what_redis_does_not_take_stays_due(monkeypatch) -> None:
    Engine(CHAIN)
    make_due()
    monkeypatch.setattr(Ringer, "ring", lambda *_: False)
    assert Relay().ring_due() == 0 and waiting()[0].rings == 0


def test_a_ring_without_redis_is_refused_at_once_and_then_not_tried(monkeypatch) -> None:
    ringer = Ringer()
    ringer._broker.client = redis.Redis(unix_socket_path="/nowhere", retry=None)
    ringer._broker.scripts = {name: ringer._broker.client.register_script("") for name in ringer._broker.scripts}
    assert not ringer.ring("advance_run", "run_x")
    monkeypatch.setattr(ringer._broker, "enqueue", lambda *_: pytest.fail("it should rest"))
    assert not ringer.ring("advance_run", "run_x")


def test_into_a_long_queue_only_the_relay_rings(monkeypatch) -> None:
    monkeypatch.setattr("workers.broker.CROWD", 2)
    ringer = Ringer()
    for _ in range(5):
        ringer.ring_soon("advance_run", "run_x")
    assert queued() == 3
    assert ringer.ring("advance_run", "run_x") and queued() == 4


def test_every_slot_of_a_worker_may_talk_to_redis_at_once() -> None:
    pool = client(1, timeout=None).connection_pool
    connections = [pool.get_connection() for _ in range(config.get().worker_concurrency + 20)]
    for connection in connections:
        pool.release(connection)
    pool.disconnect()


def test_a_wiped_redis_rings_everything_again() -> None:
    Engine(CHAIN)
    make_due()
    Relay().ring_due()
    sweeper = Sweeper()
    sweeper.sweep()
    broker.client.flushdb()
    redis.Redis.from_url(os.environ["REDIS_URL"], db=0).delete(CANARY)
    Engine(CHAIN)
    sweeper.sweep()
    assert Relay().ring_due() == 1, "though another message is queued already"


def test_an_intact_redis_rings_nothing_again() -> None:
    Engine(CHAIN)
    make_due()
    Relay().ring_due()
    sweeper = Sweeper()
    sweeper.sweep()
    sweeper.sweep()
    assert Relay().ring_due() == 0


def claimed_by(worker_id: str) -> Engine:
    run = Engine(CHAIN)
    Process.worker_id = worker_id
    claims.claim(run.run_id)
    return run


def owners(run: Engine) -> list[str | None]:
    return [visit.owner for visit in run.visits]


def test_a_worker_whose_process_is_gone_loses_its_steps_at_once() -> None:
    worker = workers.register("1", 1)
    run = claimed_by(worker)
    with database.transaction():
        Worker.update(process_started=1).where(Worker.id == worker).execute()
    Sweeper().sweep()
    assert owners(run) == [None] and run.visits[0].losses == 1
    assert [row.object_id for row in waiting()] == [run.run_id]


def test_what_waits_for_a_worker_is_not_lost_again_while_there_is_none() -> None:
    worker = workers.register("1", 1)
    run = claimed_by(worker)
    with database.transaction():
        Worker.update(process_started=1).where(Worker.id == worker).execute()
    for _ in range(4):
        Sweeper().sweep()
    assert (run.visits[0].status, run.visits[0].losses) == ("running", 1)


def test_what_a_dead_worker_had_fetched_is_rung_again_at_once() -> None:
    worker = workers.register("1", 1)
    for _ in range(2):
        Engine(CHAIN)
    make_due()
    Relay().ring_due()
    broker.client.flushdb()
    Engine(CHAIN)
    with database.transaction():
        Worker.update(process_started=1).where(Worker.id == worker).execute()
    Sweeper().sweep()
    assert Relay().ring_due() == 1, "no more than it had slots for, though another message is queued already"


def test_a_worker_that_lives_keeps_its_steps() -> None:
    worker = workers.register("1", 1)
    run = claimed_by(worker)
    Sweeper().sweep()
    assert owners(run) == [worker]


def test_a_worker_elsewhere_is_given_a_whole_lease(monkeypatch) -> None:
    worker = workers.register("1", 1)
    run = claimed_by(worker)
    with database.transaction():
        Worker.update(host="elsewhere").where(Worker.id == worker).execute()
    sweeper, clock = Sweeper(), [1000.0]
    monkeypatch.setattr("workers.sweeper.time.monotonic", lambda: clock[0])
    sweeper.sweep()
    clock[0] += 29
    sweeper.sweep()
    assert owners(run) == [worker]
    clock[0] += 2
    sweeper.sweep()
    assert owners(run) == [None]


def test_a_beat_renews_the_lease(monkeypatch) -> None:
    worker = workers.register("1", 1)
    run = claimed_by(worker)
    sweeper, clock = Sweeper(), [1000.0]
    monkeypatch.setattr("workers.sweeper.time.monotonic", lambda: clock[0])
    for _ in range(5):
        with database.transaction():
            Worker.update(host="elsewhere", beat=Worker.beat + 1).where(Worker.id == worker).execute()
        clock[0] += 20
        sweeper.sweep()
    assert owners(run) == [worker]


def test_one_relay_leads_and_another_takes_over() -> None:
    first, second = Relay(), Relay()
    second.stopping.set()
    assert first._leads() and not second._leads()
    leases.release("relay", first.id)
    assert second._leads()
