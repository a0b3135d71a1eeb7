"""A model server inside the test: it speaks OpenAI's streaming wire and knows when each caller came and went."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.platform import wait_for

TOKENS_PER_SECOND = 20


@dataclass
class Call:
    """One request: what was asked in which turn, and when (s, wall clock) its connection was closed too early."""

    prompt: str
    turn: int
    at: float = field(default_factory=time.time)
    answered: bool = False
    closed_at: float | None = None


class Provider:
    """`speech` is how long (s) it talks in a turn, `pauses` ({turn: s}) where it talks longer; it calls a tool in every
    turn but the last of `turns`.
    """

    def __init__(self) -> None:
        self.forget()
        server = type("Server", (ThreadingHTTPServer,), {"request_queue_size": 500, "daemon_threads": True})
        self._server = server(("127.0.0.1", 0), type("Handler", (_Handler,), {"provider": self}))
        self.place = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def forget(self) -> None:
        """As new."""
        self.calls: list[Call] = []
        self.speech, self.turns, self.pauses = 0.0, 1, {}

    @property
    def settings(self) -> dict[str, str]:
        """What a platform needs to know of it."""
        return {"CUSTOM_SLOW_BASE_URL": f"http://{self.place}/v1", "EGRESS_ALLOW": self.place}

    def wait_for_calls(self, count: int) -> None:
        def enough() -> None:
            assert len(self.calls) >= count

        wait_for(enough, 60)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    provider: Provider
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        turn = sum(message["role"] == "assistant" for message in asked["messages"])
        call = Call(str(asked["messages"][-1]["content"]), turn)
        self.provider.calls.append(call)
        try:
            self._answer(call)
        except OSError:
            call.closed_at = call.closed_at or time.time()
        self.close_connection = True

    def _answer(self, call: Call) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self._send({"role": "assistant", "content": ""})
        until = call.at + self.provider.pauses.get(call.turn, self.provider.speech)
        while time.time() < until:
            self._send({"content": "word "})
            self._wait(call)
        if call.turn + 1 < self.provider.turns:
            self._send({"tool_calls": [_tool_call(call.turn)]})
            self._send({}, "tool_calls")
        else:
            self._send({"content": "done"})
            self._send({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")
        call.answered = True

    def _wait(self, call: Call) -> None:
        """Until the next token is due, or the caller goes away."""
        readable, _, _ = select.select([self.connection], [], [], 1 / TOKENS_PER_SECOND)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            call.closed_at = time.time()
            raise ConnectionAbortedError

    def _send(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        frame = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "slow", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(frame)}\n\n".encode())

    def log_message(self, *_: Any) -> None:
        pass


def _tool_call(turn: int) -> dict[str, Any]:
    """Leaves a mark in the workspace: the tool's own history of its effects."""
    arguments = json.dumps({"command": f"echo {turn} >> effects.txt"})
    return {"index": 0, "id": f"call_{turn}", "type": "function", "function": {"name": "bash", "arguments": arguments}}
