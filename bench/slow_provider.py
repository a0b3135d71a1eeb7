"""A model server that speaks slowly: OpenAI's streaming wire, `--rate` tokens a second for `--seconds`."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse
import json
import time

from gevent.pywsgi import WSGIServer

TOKEN = "word "


def chunk(delta: dict, finish: str | None = None, **more) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    frame = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "slow", "choices": [choice], **more}
    return f"data: {json.dumps(frame)}\n\n".encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    word, count = chunk({"content": TOKEN}), int(options.rate * options.seconds)

    def answer(environ, start_response):
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        started = time.monotonic()
        yield chunk({"role": "assistant", "content": ""})
        for number in range(count):
            time.sleep(max(started + number / options.rate - time.monotonic(), 0))
            yield word
        usage = {"prompt_tokens": 10, "completion_tokens": count, "total_tokens": count + 10}
        yield chunk({}, "stop", usage=usage)
        yield b"data: [DONE]\n\n"

    WSGIServer(("127.0.0.1", options.port), answer, log=None, backlog=1000).serve_forever()


if __name__ == "__main__":
    main()
