"""The platform as processes: what happens when one of them dies, stops or goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import httpx
import pytest

from tests.api.sse_client import stream, until
from tests.platform import ROOT, TOKEN, free_port, running, wait_for

SLOW = """
id: slow
agents: [{id: a}]
defaults: {tools: []}
steps:
  - {id: A, agent: a, input: "a", outputs: [x], onComplete: B}
  - {id: B, agent: a, input: "b {{x}}", outputs: [y], onComplete: C}
  - {id: C, agent: a, input: "c {{y}}", outputs: [z]}
"""
SPEAKING = {"B": [{"text": "many words " * 20, "chars_per_second": 60}]}  # 3.7 seconds


@pytest.fixture
def platform(tmp_path):
    yield from running(tmp_path)


def is_speaking(platform, run_id: str) -> None:
    types = Counter(event["type"] for event in platform.events(run_id) if event["step_id"] == "B")
    assert types["agent_output"] >= 2


def check_log(platform, run_id: str) -> list[dict]:
    log = platform.events(run_id)
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    done = Counter(event["step_id"] for event in log if event["type"] == "step_complete")
    assert done == {"A": 1, "B": 1, "C": 1}
    return log


def test_a_run_survives_its_worker(platform) -> None:
    platform.script(SPEAKING)
    run_id = platform.run(platform.pipeline(SLOW))
    wait_for(lambda: is_speaking(platform, run_id))
    platform.kill(platform.named("worker")[0])
    killed = time.monotonic()
    platform.start("worker")
    assert platform.wait(run_id)["status"] == "completed"
    assert time.monotonic() - killed < 45
    assert "step_resumed" in [event["type"] for event in check_log(platform, run_id)]


def test_a_stopping_worker_hands_its_step_over(platform) -> None:
    platform.script(SPEAKING)
    run_id = platform.run(platform.pipeline(SLOW))
    wait_for(lambda: is_speaking(platform, run_id))
    platform.start("worker")
    started = time.monotonic()
    platform.kill(platform.named("worker")[0], signal.SIGTERM)
    assert time.monotonic() - started < 5
    assert platform.wait(run_id)["status"] == "completed"
    resumed = [event for event in check_log(platform, run_id) if event["type"] == "step_resumed"]
    assert [event["reason"] for event in resumed] == ["deploy"]


@pytest.fixture
def short_leases(tmp_path):
    yield from running(tmp_path, LEASE_SECONDS="3")


def test_a_frozen_worker_cannot_write_any_more(short_leases) -> None:
    platform = short_leases
    platform.script(SPEAKING)
    run_id = platform.run(platform.pipeline(SLOW))
    wait_for(lambda: is_speaking(platform, run_id))
    frozen = platform.named("worker")[0]
    platform.kill(frozen, signal.SIGSTOP)
    platform.start("worker")
    assert platform.wait(run_id)["status"] == "completed"
    platform.kill(frozen, signal.SIGCONT)
    time.sleep(1.5)
    check_log(platform, run_id)


def test_runs_are_accepted_and_finished_without_redis(platform) -> None:
    id = platform.pipeline(SLOW)
    platform.kill("redis")
    started = time.monotonic()
    run_ids = [platform.run(id) for _ in range(5)]
    assert time.monotonic() - started < 3
    platform.start_redis()
    assert {platform.wait(run_id)["status"] for run_id in run_ids} == {"completed"}


def test_cancel_stops_the_work_within_a_second(platform) -> None:
    platform.script(SPEAKING)
    run_id = platform.run(platform.pipeline(SLOW))
    wait_for(lambda: is_speaking(platform, run_id))
    platform.client.post(f"/v1/runs/{run_id}/cancel")
    wait_for(lambda: nobody_works(platform), 1.0)
    assert platform.events(run_id)[-1]["type"] == "run_cancelled"
    time.sleep(0.5)
    assert platform.events(run_id)[-1]["type"] == "run_cancelled"


def nobody_works(platform) -> None:
    log = (platform.folder / f"{platform.named('worker')[0]}.log").read_text()
    assert "lease_lost" in log


def test_a_failed_run_is_told_to_its_readers_and_to_everybody(platform) -> None:
    platform.script({"A": ["STATUS: failed\nERROR: no disk"]})
    pipeline = platform.pipeline(SLOW.replace("tools: []", "tools: [], retry: {delaySeconds: 0.1}"))
    server, headers = SimpleNamespace(url=f"http://127.0.0.1:{platform.port}"), {"Authorization": f"Bearer {TOKEN}"}
    with stream(server, headers=headers) as everything:
        until(everything, "ready")
        run_id = platform.run(pipeline)
        told = until(everything, "run_failed")[-1].data
    with stream(server, headers=headers, run_id=run_id) as own:
        assert until(own, "run_failed")[-1].data == told
    assert (told["run_id"], told["error"], told["failed_step"]) == (run_id, "no disk", "A")
    assert [event["attempt"] for event in platform.events(run_id) if event["type"] == "step_started"] == [1, 2, 3]


GATE = """
id: gate
agents: [{id: a}]
defaults: {tools: []}
steps:
  - {id: A, agent: a, input: "a", outputs: [x], onComplete: OK}
  - {id: OK, type: approval, approval: {prompt: "Go on?"}, onResult: {APPROVED: {goto: B}}}
  - {id: B, agent: a, input: "b", outputs: [y]}
"""


def test_what_waits_for_a_person_does_not_notice_that_its_worker_died(platform) -> None:
    run_id = platform.run(platform.pipeline(GATE))
    approval = wait_for(lambda: platform.client.get("/v1/approvals", run_id=run_id)[0])
    platform.kill(platform.named("worker")[0])
    platform.start("worker")
    platform.client.post(f"/v1/approvals/{approval['id']}", {"decision": "approve"})
    assert platform.wait(run_id)["status"] == "completed"
    assert "step_resumed" not in [event["type"] for event in platform.events(run_id)]


def test_up_stops_within_five_seconds_under_open_streams(tmp_path) -> None:
    port = free_port()
    environment = os.environ | {"DATA_DIR": str(tmp_path), "PORT": str(port), "API_TOKEN": TOKEN}
    environment.pop("REDIS_URL")
    up = subprocess.Popen([sys.executable, "-m", "api.cli", "up"], env=environment, cwd=ROOT, stderr=subprocess.PIPE)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        wait_for(lambda: client.get("/readyz").raise_for_status())
        check_stop(up, client)
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).stdout == b""


def check_stop(up: subprocess.Popen, client: httpx.Client) -> None:
    with client.stream("GET", "/v1/events/stream") as stream:
        assert next(stream.iter_lines())
        started = time.monotonic()
        up.send_signal(signal.SIGTERM)
        up.communicate(timeout=10)
        assert time.monotonic() - started < 5


@pytest.fixture
def bare(tmp_path):
    """A platform whose shell runs without a sandbox, so that its commands have effects nobody can take back."""
    yield from running(tmp_path, SANDBOX="none")


DECISIONS = [("repeat", 2, "completed"), ("skip", 1, "completed"), ("fail", 1, "failed")]


@pytest.mark.parametrize(("decision", "lines", "status"), DECISIONS)
def test_an_effect_that_nobody_knows_of_is_a_persons_to_judge(bare, decision: str, lines: int, status: str) -> None:
    platform, diary = bare, bare.folder / "diary"
    call = {"name": "bash", "arguments": {"command": f"echo sent >> {diary}; sleep 3"}}
    platform.script({"EXECUTE": [[{"tool_calls": [call]}, "SUMMARY: sent"]]})
    run_id = platform.run("execute")
    wait_for(lambda: diary.read_text())
    platform.kill(platform.named("worker")[0])
    platform.start("worker")
    approval = wait_for(lambda: platform.client.get("/v1/approvals", run_id=run_id)[0])
    assert (approval["kind"], platform.client.get(f"/v1/runs/{run_id}")["status_reason"]) == ("effect", "attention")
    platform.client.post(f"/v1/approvals/{approval['id']}", {"decision": decision})
    assert platform.wait(run_id)["status"] == status
    assert len(diary.read_text().splitlines()) == lines
