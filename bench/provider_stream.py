"""CPU per streamed chunk of the OpenAI provider, at many streams of 50 tokens a second in one gevent process.

python bench/provider_stream.py [streams] [tokens per stream]
"""

from gevent import monkey

monkey.patch_all()

import subprocess
import sys
import time

import gevent
import orjson
from gevent.server import StreamServer

GAP_SECONDS = 0.02  # 50 tokens a second
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(*events: dict | str) -> bytes:
    lines = (event.encode() if isinstance(event, str) else orjson.dumps(event) for event in events)
    body = b"".join(b"data: " + line + b"\n\n" for line in lines)
    return b"%x\r\n%s\r\n" % (len(body), body)


def event(delta: dict, finish: str | None = None) -> dict:
    """As large as OpenAI's own."""
    return {
        "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-bench",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        "usage": None,
        "obfuscation": "abcdefgh",
    }


def serve(tokens: int) -> None:
    """The provider, in a process of its own; says its port."""
    token, end = chunk(event({"content": " token"})), chunk(event({}, "stop"), "[DONE]") + b"0\r\n\r\n"

    def handle(connection, _address) -> None:
        with connection.makefile("rb") as lines:
            while lines.readline():
                answer(connection, lines)

    def answer(connection, lines) -> None:
        headers = dict(line.lower().split(b": ", 1) for line in iter(lines.readline, b"\r\n"))
        lines.read(int(headers[b"content-length"]))
        connection.sendall(HEAD)
        for _ in range(tokens):
            connection.sendall(token)
            gevent.sleep(GAP_SECONDS)
        connection.sendall(end)

    server = StreamServer(("127.0.0.1", 0), handle, backlog=2048)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


def measure(place: str, streams: int) -> None:
    from workers.clients import http
    from workers.clients.llm.base import Message, Request
    from workers.clients.llm.openai import OpenAI

    provider = OpenAI(f"http://{place}/v1", "none", http.client(allow=(place,)))
    request = Request("m", (Message("user", "hello"),))
    list(provider.stream(request))
    cpu, wall = time.process_time(), time.perf_counter()
    steps = [gevent.spawn(lambda: sum(1 for _ in provider.stream(request))) for _ in range(streams)]
    gevent.joinall(steps, raise_error=True)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    chunks = sum(step.value for step in steps)
    print(f"{streams} streams, {chunks} chunks: {cpu / chunks * 1e6:.1f} µs CPU a chunk, {cpu / wall:.0%} of a core")


def main(streams: int = 200, tokens: int = 300) -> None:
    argv = [sys.executable, __file__, "serve", str(tokens)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        measure(f"127.0.0.1:{server.stdout.readline().strip()}", streams)
        server.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:]))
