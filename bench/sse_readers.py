"""Reads the event streams of the run ids on standard input, one client each, and prints what arrived as JSON.

Arguments: the port, then tokens to share out (a token may hold twenty streams).
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import itertools
import json
import sys
import time
from http.client import HTTPConnection

import gevent

END = {"run_complete", "run_failed", "run_cancelled"}


def read(port: int, token: str, run_id: str) -> dict:
    """The text of one run's stream, and how late its last events were in ms."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    path = f"/v1/events/stream?run_id={run_id}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    response, text, lags, seqs = connection.getresponse(), [], [], []
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if event["type"] == "agent_output":
            text.append(event["text"])
            lags.append(time.time() * 1000 - event["timestamp"])
        seqs.append(event.get("seq"))
        if event["type"] in END:
            break
    connection.close()
    numbers = [seq for seq in seqs if seq is not None]
    return {"chars": len("".join(text)), "lags": lags, "gapless": numbers == list(range(1, len(numbers) + 1))}


def main() -> None:
    port, tokens = int(sys.argv[1]), itertools.cycle(sys.argv[2:])
    jobs = [gevent.spawn(read, port, next(tokens), run_id) for run_id in sys.stdin.read().split()]
    gevent.joinall(jobs, raise_error=True)
    print(json.dumps([job.value for job in jobs]))


if __name__ == "__main__":
    main()
