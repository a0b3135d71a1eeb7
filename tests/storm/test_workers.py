"""Workers that are killed, frozen, replaced; and steps that kill them."""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter

from tests.platform import wait_for
from tests.storm import pipelines
from tests.storm.report import seconds, share

RECOVERY_P95 = 20.0  # seconds from kill -9 until another worker goes on
HANDOVER_P95 = 2.0  # from SIGTERM
CANCEL_P99 = 1.0  # from the request until the provider sees its connection closed


def test_calm_weather_interrupts_nothing(storm, size, row) -> None:
    before = len(storm.upsets())
    posted = storm.post(size(20, 200), "fork")
    storm.settle(posted)
    found = storm.findings()
    row("calm", storm, found, len(posted))
    assert not found.all and not storm.upsets()[before:]


def test_f1_processes_are_killed(storm, size, row) -> None:
    victims = itertools.cycle(["worker", "worker", "relay", "worker", "web", "worker"])
    storm.script({f"S{n}": [{"text": f"answer {n}", "delay_ms": size(1000, 400)}] for n in range(1, 6)})
    posted = storm.post(size(60, 1000), pause=size(1.0, 0.5))
    wait_for(lambda: storm.busy(6), 60)
    blows = storm.strike(lambda: storm.replace(next(victims)), (1, 2), posted, size(6, 60))
    storm.settle(posted, size(80, 600))
    found, times = storm.findings(), storm.recoveries()
    row("F1 kill -9", storm, found, len(posted), kills=blows, recovery=seconds(times), poisoned=poisoned(storm))
    assert not found.all
    assert times and share(times, 0.95) <= RECOVERY_P95


def poisoned(storm) -> int:
    return storm.store.value("SELECT count(*) FROM runs WHERE error_code = 'worker_lost'")


def test_f2_a_frozen_worker_wakes_up(storm, size, row) -> None:
    storm.script({"SAY": [pipelines.said(5)]})
    posted = storm.post(size(10, 100), "speech")
    wait_for(lambda: storm.busy(size(10, 100)))
    frozen = storm.freeze_past_its_lease()
    storm.settle(posted)
    refused = sum(storm.log(frozen).count(mark) for mark in ("lease_lost", "settlement_refused"))
    found = storm.findings()
    row("F2 SIGSTOP past the lease", storm, found, len(posted), refused=refused)
    assert not found.all and refused


def test_f12_a_step_kills_its_worker_three_times(storm, size, row) -> None:
    fatal = storm.callers.start("fatal")
    posted = storm.post(size(30, 300))
    for _ in range(3):
        storm.replace("worker", name=wait_for(lambda: storm.holder(fatal)))
    storm.settle(posted)
    run, found = storm.wait(fatal), storm.findings()
    neighbours = Counter(storm.client.get(f"/v1/runs/{future.result()}")["status"] for future in posted)
    row("F12 G20 a step that kills its worker", storm, found, len(posted), neighbours=dict(neighbours))
    assert not found.all and set(neighbours) == {"completed"}
    assert (run["status"], run["error_code"]) == ("failed", "worker_lost")


def test_f13_processes_are_replaced_one_after_the_other(storm, size, row) -> None:
    roll = itertools.cycle(["worker", "worker", "relay", "worker", "web"])
    slow = {f"S{n}": [{"text": f"answer {n}", "delay_ms": 1000}] for n in range(1, 6)}
    storm.script({"SAY": [pipelines.said(3)], **slow})
    kinds = storm.random.sample(["speech", "chain"] * size(20, 200), size(40, 400))
    posted = [
        future for kind in kinds for future in storm.post(1, kind, pause=size(1.5, 2.0))
    ]  # slots enough for all of them
    wait_for(lambda: storm.busy(6), 60)
    blows = storm.strike(lambda: storm.roll(next(roll)), (0.5, 2), posted, size(5, 30))
    storm.settle(posted, size(80, 600))
    found, times = storm.findings(), storm.recoveries("deploy")
    row("F13 rolling SIGTERM", storm, found, len(posted), stops=blows, hand_over=seconds(times))
    assert not found.all
    assert times and share(times, 0.95) <= HANDOVER_P95


def test_g11_every_first_attempt_fails_at_once(storm, size, row) -> None:
    posted = storm.post(size(40, 200), "stumble")
    ids = storm.settle(posted)
    found = storm.findings()
    ended = Counter(storm.client.get(f"/v1/runs/{run_id}")["status"] for run_id in ids)
    row("G11 first attempts fail", storm, found, len(posted), ended=dict(ended))
    assert not found.all and set(ended) == {"completed"}


def test_g18_an_agent_goes_on_where_its_worker_died(storm, provider, row) -> None:
    provider.turns, provider.pauses = 40, {37: 3.0}
    run_id = storm.callers.start("turns")
    wait_for(lambda: reached(provider, 37), 60)
    storm.replace("worker", name=storm.holder(run_id))
    run, found = storm.wait(run_id), storm.findings()
    asked = Counter(call.turn for call in provider.calls)
    row("G18 killed in turn 38 of 40", storm, found, 1, calls=len(provider.calls))
    assert run["status"] == "completed" and not found.all
    assert asked == {**dict.fromkeys(range(40), 1), 37: 2}
    assert effects(storm, run_id) == list(range(39)) and events(storm, run_id) == (1, [37])


def reached(provider, turn: int) -> None:
    assert any(call.turn == turn for call in provider.calls)


def effects(storm, run_id: str) -> list[int]:
    """What the tool did, by its own account."""
    return [int(line) for line in (storm.folder / "workspaces" / run_id / "effects.txt").read_text().split()]


def events(storm, run_id: str) -> tuple[int, list[int]]:
    """(attempts, `from_turn` of each takeover); turns count from 0."""
    log = storm.events(run_id)
    resumed = [event["from_turn"] for event in log if event["type"] == "step_resumed"]
    return len({event["attempt"] for event in log if event["type"] == "step_started"}), resumed


def test_a_cancel_reaches_the_provider(storm, provider, size, row) -> None:
    provider.speech, count = 120.0, size(12, 100)
    ids = [future.result(60) for future in storm.post(2 * count, "wait")]
    provider.wait_for_calls(2 * count)
    nudged = cancelled(storm, provider, ids[:count])
    storm.kill("redis")
    unnudged = cancelled(storm, provider, ids[count:])
    found = storm.findings()
    figures = {"delay": seconds(nudged), "without Redis": seconds(unnudged)}
    row("cancel -> connection closed", storm, found, 2 * count, **figures)
    assert not found.all and max(share(nudged, 0.99), share(unnudged, 0.99)) <= CANCEL_P99


def cancelled(storm, provider, ids: list[str]) -> list[float]:
    """Cancels the runs one by one; seconds until each lost its provider."""
    asked, calls = {}, {re.search(r"run_\w+", call.prompt)[0]: call for call in provider.calls}
    for run_id in ids:
        asked[run_id] = time.time()
        storm.callers.command("cancel", run_id)
    wait_for(lambda: all_closed([calls[run_id] for run_id in ids]), 10)
    return [calls[run_id].closed_at - at for run_id, at in asked.items()]


def all_closed(calls: list) -> None:
    assert all(call.closed_at for call in calls)
