"""What clients asked and were answered, written to a file before anyone relies on it."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

PLENTY = 10**9  # tokens: a limit that is never reached, so that budgets are kept
PAUSE_SECONDS = 0.2  # between two tries
NO_ANSWER = 0
TASK = "storm"


class History:
    """One line of JSON per answer: when (s), what was asked, the status (0: none came), the run's id if known."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        path.touch()

    def note(self, asked: str, status: int, run_id: str | None = None, body: dict[str, Any] | None = None) -> None:
        said = {name: (body or {}).get(name) for name in ("detail", "allowed")}
        line = json.dumps({"at": time.time(), "asked": asked, "status": status, "run_id": run_id, **said})
        with self._lock, self._path.open("a") as file:
            file.write(line + "\n")

    def answers(self, *asked: str) -> list[dict]:
        found = map(json.loads, self._path.read_text().splitlines())
        return [answer for answer in found if answer["asked"] in asked]

    def statuses(self) -> Counter:
        """How often each status was the answer to `start`."""
        return Counter(answer["status"] for answer in self.answers("start"))

    def acknowledged(self) -> list[str]:
        """Ids of the runs that a client was told of."""
        return sorted({answer["run_id"] for answer in self.answers("start") if answer["status"] == 201})


def order(pipeline: str) -> dict[str, Any]:
    """The body of a request for a run."""
    return {"pipeline_id": pipeline, "task": TASK, "max_tokens": PLENTY}


class Callers:
    """Clients that ask at the same time, each on a connection of its own."""

    def __init__(self, base_url: str, token: str, history: History, count: int = 8) -> None:
        self._history, self._local = history, threading.local()
        self._clients: list[httpx.Client] = []
        self._options = {"base_url": base_url, "headers": {"Authorization": f"Bearer {token}"}, "timeout": 30.0}
        self._pool = ThreadPoolExecutor(count)

    def start(self, pipeline: str, patience: float = 120.0, pause: float = 0.0, key: str | None = None) -> str:
        """The id of a new run; asks again with the same Idempotency-Key until it is told one."""
        time.sleep(pause)
        body, key = order(pipeline), {"Idempotency-Key": key or uuid.uuid4().hex}
        deadline = time.monotonic() + patience
        while (answer := self.ask("start", "/v1/runs", body, key)).get("status") != "pending":
            assert time.monotonic() < deadline, f"no run was accepted: {answer}"
            time.sleep(PAUSE_SECONDS)
        return answer["id"]

    def command(self, verb: str, run_id: str, pause: float = 0.0) -> None:
        """`cancel` or `restart`, once, whatever is answered."""
        time.sleep(pause)
        self.ask(verb, f"/v1/runs/{run_id}/{verb}", run_id=run_id)

    def decide(self, decision: str, run_id: str, pause: float = 0.0) -> None:
        """Decides what waits for a person in the run, as soon as something does."""
        time.sleep(pause)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            for approval in self._client().get("/v1/approvals", params={"run_id": run_id}).json():
                path = f"/v1/approvals/{approval['id']}"
                self.ask(decision, path, {"decision": decision}, run_id=run_id)
                return
            time.sleep(PAUSE_SECONDS / 4)

    def ask(
        self, asked: str, path: str, body: dict | None = None, headers: dict | None = None, run_id: str | None = None
    ) -> dict[str, Any]:
        """The answer's body, or {} if none came; written down in any case."""
        try:
            answer = self._client().post(path, json=body or {}, headers=headers)
        except httpx.TransportError:
            self._history.note(asked, NO_ANSWER, run_id)
            return {}
        found = answer.json() if answer.content else {}
        self._history.note(asked, answer.status_code, run_id or found.get("id"), found)
        return found

    def _client(self) -> httpx.Client:
        if not hasattr(self._local, "client"):
            self._local.client = httpx.Client(**self._options)
            self._clients.append(self._local.client)
        return self._local.client

    def spread(self, call, *arguments: Any) -> Future:
        return self._pool.submit(call, *arguments)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients:
            client.close()
