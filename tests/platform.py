"""A whole platform in processes of its own: Redis, web, workers, relay, as the Procfile starts them."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import redis
import yaml

from api import supervisor
from api.client import Client

TOKEN = "djb_test_platform_token"
ROOT = Path(__file__).parent.parent


class Platform:
    """`folder` is its data folder; `settings` are environment variables for its processes."""

    def __init__(self, folder: Path, workers: int = 1, **settings: str) -> None:
        self.folder, self.port = folder, free_port()
        self.processes: dict[str, subprocess.Popen] = {}
        self._numbers = itertools.count(1)
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "SCRIPTED_REPLIES")
        } | {
            "DATA_DIR": str(folder),
            "PORT": str(self.port),
            "API_TOKEN": TOKEN,
            "REDIS_URL": f"unix://{folder}/redis.sock",
            "DEFAULT_MODEL": "scripted/test",
            "SCRIPTED_REPLIES": str(folder / "replies.yml"),
            "LOG_FORMAT": "json",
            **settings,
        }
        self.script({})
        self.client = Client(f"http://127.0.0.1:{self.port}", TOKEN)
        self.start_redis()
        subprocess.run([sys.executable, "-m", "api.cli", "migrate"], env=self.environment, cwd=ROOT, check=True)
        for name in ("web", "relay", *["worker"] * workers):
            self.start(name)
        wait_for(lambda: self.client.get("/readyz"))

    def start(self, kind: str) -> str:
        """One more process of that kind; returns its name."""
        name = f"{kind}{next(self._numbers)}"
        command = supervisor.command(supervisor.PROCESSES[kind])
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=log, stderr=log)
        return name

    def start_redis(self) -> None:
        command = supervisor.queue_command(self.folder / "redis.sock")
        self.processes["redis"] = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        wait_for(lambda: redis.Redis(unix_socket_path=str(self.folder / "redis.sock")).ping())

    def named(self, kind: str) -> list[str]:
        return [name for name in self.processes if name.startswith(kind)]

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Sends the signal and, if it ends the process, waits for the end."""
        process = self.processes[name]
        process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.wait(20)
            del self.processes[name]

    def script(self, replies: dict[str, Any]) -> None:
        (self.folder / "replies.yml").write_text(yaml.safe_dump(replies), "utf-8")

    def pipeline(self, text: str) -> str:
        """Installs a pipeline file; returns its id."""
        folder = self.folder / "pipelines"
        folder.mkdir(exist_ok=True)
        id = yaml.safe_load(text)["id"]
        (folder / f"{id}.yml").write_text(text, "utf-8")
        return id

    def run(self, pipeline: str, **body: Any) -> str:
        return self.client.post("/v1/runs", {"pipeline_id": pipeline, "task": "test", **body})["id"]

    def wait(self, run_id: str, seconds: float = 60.0) -> dict:
        """The run once it is over."""

        def ended() -> dict:
            run = self.client.get(f"/v1/runs/{run_id}")
            assert run["completed_at"], f"{run_id} is still {run['status']}"
            return run

        return wait_for(ended, seconds)

    def events(self, run_id: str) -> list[dict]:
        found: list[dict] = []
        while page := self.client.get(f"/v1/runs/{run_id}/events", after_seq=len(found), limit=200):
            found += page
        return found

    def stop(self) -> None:
        self.client.close()
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            process.wait(20)
        self.processes.clear()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(check: Callable[[], Any], seconds: float = 15.0) -> Any:
    """What `check` returns once it neither fails nor asserts."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except (AssertionError, LookupError, httpx.HTTPError, redis.RedisError, OSError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def running(folder: Path, **options: Any) -> Iterator[Platform]:
    """For fixtures: a platform for the test, ended after it."""
    platform = Platform(folder, **options)
    try:
        yield platform
    finally:
        platform.stop()
