"""A real HTTP server on loopback that answers what a test tells it to, and sees who hangs up."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson


@dataclass
class Reply:
    """`chunks` go out `gap` seconds apart; then the body ends, breaks off (`cut`) or stays open (`hang`)."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    gap: float = 0.0
    cut: bool = False
    hang: bool = False


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_):
        """Clients that hang up are what the tests are about."""


class Double:
    """Replies are used up in order, the last one repeats. `requests`: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.hung_up = threading.Event()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                double.answer(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.place}"

    def says(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def bodies(self) -> list[dict]:
        return [json.loads(body) for *_, body in self.requests]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        self.requests.append((handler.command, handler.path, dict(handler.headers), body))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        try:
            self.send(handler, reply)
        except OSError:
            self.hung_up.set()
            handler.close_connection = True

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "text/event-stream", **reply.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in reply.chunks:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wait(handler, reply.gap)
        if reply.hang:
            self.wait(handler, 30)
        if reply.cut or reply.hang:
            handler.close_connection = True
        else:
            handler.wfile.write(b"0\r\n\r\n")

    def wait(self, handler: BaseHTTPRequestHandler, seconds: float) -> None:
        """Raises OSError if the client hangs up meanwhile."""
        if not seconds:
            return
        handler.connection.settimeout(seconds)
        try:
            if not handler.connection.recv(1):
                raise ConnectionResetError
        except TimeoutError:
            handler.connection.settimeout(None)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def sse(*events: dict | str) -> list[bytes]:
    """Each event as the bytes of one `data:` line."""
    return [
        b"data: " + (event.encode() if isinstance(event, str) else orjson.dumps(event)) + b"\n\n" for event in events
    ]


def error(status: int, message: str, headers: dict[str, str] | None = None, **details: str) -> Reply:
    body = orjson.dumps({"error": {"message": message, **details}})
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, [body])


def said(delta: dict, finish: str | None = None, **fields) -> dict:
    """One event of an OpenAI stream."""
    return {"model": "gpt-test-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields}


USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def openai_answer(*texts: str, finish: str = "stop", **options) -> Reply:
    deltas = [said({"content": text}) for text in texts]
    end = [said({}, finish), {"model": "gpt-test-1", "choices": [], "usage": USAGE}, "[DONE]"]
    return Reply(chunks=sse(*deltas, *end), **options)


def anthropic_events(*blocks: tuple[dict, list[dict]], stop: str = "end_turn", **stop_fields) -> list[bytes]:
    """`blocks`: (content block, its deltas)."""
    usage = {"input_tokens": 10, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 5, "output_tokens": 1}
    events = [{"type": "message_start", "message": {"model": "claude-test-1", "usage": usage}}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop, **stop_fields}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 30}})
    return sse(*events, {"type": "message_stop"})


def anthropic_answer(*blocks: tuple[dict, list[dict]], **options) -> Reply:
    return Reply(chunks=anthropic_events(*blocks, **options))


def text_block(*texts: str) -> tuple[dict, list[dict]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]
