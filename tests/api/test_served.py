"""Runs over a real server: waiting, many clients at once, Redis away."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import github
from tests.api import factories
from tests.api.conftest import AUTH, ROOT, Server

BODY = {"pipeline_id": "execute", "task_description": "Say hello"}


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, headers=AUTH, timeout=60) as opened:
        yield opened


def test_wait_holds_the_answer_until_the_run_ends(client):
    run_id = factories.run()
    threading.Timer(0.5, factories.finish, [run_id]).start()
    began = time.monotonic()
    assert client.get(f"/v1/runs/{run_id}?wait=20").json()["status"] == "completed"
    assert 0.3 < time.monotonic() - began < 5


def test_wait_gives_up_when_the_time_is_up(client):
    run_id = factories.run()
    began = time.monotonic()
    assert client.get(f"/v1/runs/{run_id}?wait=1").json()["status"] == "pending"
    assert 0.9 < time.monotonic() - began < 3


def test_sixty_four_clients_with_one_key_make_one_run(client):
    def start(_: int) -> str:
        return client.post("/v1/runs", json=BODY | {"tags": ["sixty-four"]}, headers={"Idempotency-Key": "same"}).text

    with ThreadPoolExecutor(64) as pool:
        answers = set(pool.map(start, range(64)))
    assert len(answers) == 1
    assert len(client.get("/v1/runs?tag=sixty-four").json()) == 1


def test_of_two_restarts_at_once_one_wins(client):
    run_id = client.post("/v1/runs", json=BODY).json()["id"]
    client.post(f"/v1/runs/{run_id}/cancel")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: client.post(f"/v1/runs/{run_id}/restart"), range(2)))
    assert sorted(answer.status_code for answer in answers) == [202, 409]


def test_without_redis_runs_start_and_the_status_says_so(server):
    alone = Server(REDIS_URL="redis://127.0.0.1:1")
    try:
        assert httpx.post(f"{alone.url}/v1/runs", json=BODY, headers=AUTH).status_code == 201
        status = httpx.get(f"{alone.url}/v1/status").json()
        assert status == {"status": "degraded", "redis_connected": False, "database_connected": True}
    finally:
        alone.stop()


def test_a_redis_that_hangs_does_not_hold_the_status(server, redis):
    own = Server(REDIS_URL=redis.url)
    try:
        redis.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert httpx.get(f"{own.url}/v1/status").json()["redis_connected"] is False
        assert time.monotonic() - began < 1
    finally:
        own.stop()


def test_the_command_prints_a_link_that_signs_in_and_opens_a_stream_until_signed_out(server):
    command = [sys.executable, "-m", "api.cli", "login"]
    done = subprocess.run(command, cwd=ROOT, env=server.environment, capture_output=True, text=True, check=True)
    with httpx.Client(base_url=server.url, timeout=30) as browser:
        assert browser.get(done.stdout.strip()).status_code == 303
        with browser.stream("GET", "/v1/events/stream") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            assert httpx.post(f"{server.url}/logout", cookies=browser.cookies).status_code == 303
            list(lines)
        assert browser.get("/v1/runs").status_code == 401


def test_without_redis_github_is_answered_at_once(server):
    alone = Server(REDIS_URL="redis://127.0.0.1:1", GITHUB_WEBHOOK_SECRET=github.SECRET)
    try:
        with httpx.Client(base_url=alone.url) as opened:
            began = time.monotonic()
            for number in range(20):
                body = github.encode(github.labeled(number))
                sent = github.heads("issues", body)
                assert opened.post("/v1/github/webhooks", content=body, headers=sent).status_code == 202
        assert time.monotonic() - began < 10
    finally:
        alone.stop()
