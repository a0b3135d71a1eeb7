"""From a provider's first token to the client's, in a chat: `python -m bench.first_word [answers]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.platform import Platform
from tests.storm.provider import Provider
from tests.storm.report import share

SPEECH_SECONDS = 0.3


def main() -> None:
    answers = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    provider = Provider()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        platform = Platform(Path(folder), **provider.settings)
        try:
            delays = sorted(measure(platform, provider, answers))
        finally:
            platform.stop()
            provider.stop()
    figures = ", ".join(f"{name} {1000 * share(delays, part):.0f} ms" for name, part in (("p50", 0.5), ("p95", 0.95)))
    print(f"first word of {answers} answers: {figures}, most {1000 * delays[-1]:.0f} ms")


def measure(platform: Platform, provider: Provider, answers: int) -> list[float]:
    """Seconds of each answer."""
    provider.speech = SPEECH_SECONDS
    body = {"agent_id": "writer", "model": "custom-slow/slow"}
    session = platform.client.post("/v1/chat/sessions", body)["id"]
    delays, events = [], platform.client.events(session)
    for _ in range(answers):
        platform.client.post(f"/v1/chat/sessions/{session}/message", {"message": "Hi"})
        _next(events, "agent_output")
        delays.append(time.time() - provider.calls[-1].at)
        _next(events, "chat_turn_end")
    return delays


def _next(events, type: str) -> None:
    next(event for event in events if event["type"] == type)


if __name__ == "__main__":
    main()
