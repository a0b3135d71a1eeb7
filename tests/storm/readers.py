"""Clients of event streams that resume where they were when the connection broke."""

from __future__ import annotations

import ssl
import threading
import time
from typing import Any

import httpx

from models.events import TERMINAL_TYPES
from tests.api import sse_client

PAUSE_SECONDS = 0.2
SILENCE_SECONDS = 5.0  # then a client asks again
TLS = ssl.create_default_context()  # never used, and 20 ms to make, which 200 readers have not at every connection


class Reader(threading.Thread):
    """Reads one run's events until its end; without a run, everybody's until told to `stop`. `ids`: as they arrived."""

    def __init__(self, base_url: str, token: str, run_id: str | None = None) -> None:
        super().__init__(daemon=True)
        self.run_id, self.ids, self.resumes = run_id, [], 0
        self.stop = threading.Event()
        self._url, self._headers = f"{base_url}/v1/events/stream", {"Authorization": f"Bearer {token}"}
        self.start()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self._read()
            except httpx.TransportError:
                self.resumes += 1
                time.sleep(PAUSE_SECONDS)

    def _read(self) -> None:
        query: dict[str, Any] = {"run_id": self.run_id} if self.run_id else {}
        resume = {"Last-Event-ID": str(self.ids[-1])} if self.ids else {}
        options = {"params": query, "headers": self._headers | resume, "timeout": SILENCE_SECONDS, "verify": TLS}
        with httpx.stream("GET", self._url, **options) as response:
            if response.status_code != 200:
                time.sleep(PAUSE_SECONDS)
                return
            for frame in sse_client.frames(response):
                self._take(frame)
                if self.stop.is_set():
                    return
        self.resumes += 1

    def _take(self, frame: sse_client.Received) -> None:
        if frame.id is not None:
            self.ids.append(frame.id)
        if self.run_id and frame.event in TERMINAL_TYPES:
            self.stop.set()
