"""Chats over a platform of processes: what is said is answered once, in order, whatever dies meanwhile."""

from __future__ import annotations

import signal
import time

import pytest

from tests.platform import running, wait_for
from tests.storm.provider import Provider

FIRST_TOKEN_SECONDS = 0.1  # from the provider's first token to the client's


@pytest.fixture
def provider():
    """A model server behind `custom-slow/slow`."""
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def platform(tmp_path, provider):
    yield from running(tmp_path, workers=1, LEASE_SECONDS="5", **provider.settings)


@pytest.fixture
def session(platform) -> str:
    """An open chat with a built-in agent."""
    body = {"agent_id": "senior-engineer", "model": "custom-slow/slow"}
    return platform.client.post("/v1/chat/sessions", body)["id"]


def say(platform, session: str, text: str = "Hi", **more) -> str:
    body = {"message": text, **more}
    return platform.client.post(f"/v1/chat/sessions/{session}/message", body)["assistant_message_id"]


def shown(platform, session: str) -> dict:
    return platform.client.get(f"/v1/chat/sessions/{session}")


def answers(platform, session: str) -> list[dict]:
    return [message for message in shown(platform, session)["messages"] if message["role"] == "assistant"]


def wait_until_ready(platform, session: str) -> list[dict]:
    def ready() -> None:
        assert shown(platform, session)["status"] == "ready"

    wait_for(ready, 40)
    return answers(platform, session)


def wait_for_text(platform, session: str) -> None:
    def spoken() -> None:
        assert answers(platform, session)[-1]["content"]

    wait_for(spoken, 30)


def events(platform, session: str, count: int) -> list[dict]:
    stream = platform.client.events(session)
    return [next(stream) for _ in range(count)]


def test_two_quick_messages_are_answered_in_order(platform, provider, session) -> None:
    say(platform, session, "first")
    say(platform, session, "second")
    said = wait_until_ready(platform, session)
    assert [answer["status"] for answer in said] == ["completed", "completed"]
    assert [call.prompt for call in provider.calls] == ["first", "second"]
    assert provider.calls[1].turn == 1  # it was told the first answer


def test_an_answer_survives_its_worker(platform, provider, session) -> None:
    provider.speech = 3.0
    say(platform, session)
    wait_for_text(platform, session)
    platform.kill(platform.named("worker")[0])
    platform.start("worker")
    assert [answer["status"] for answer in wait_until_ready(platform, session)] == ["completed"]
    log = events(platform, session, shown(platform, session)["last_seq"])
    types = [event["type"] for event in log]
    assert (types.count("chat_turn_resumed"), types.count("chat_turn_end")) == (1, 1)


def test_a_deploy_does_not_end_an_answer(platform, provider, session) -> None:
    provider.speech = 3.0
    say(platform, session)
    wait_for_text(platform, session)
    platform.start("worker")
    platform.kill(platform.named("worker")[0], signal.SIGTERM)
    assert wait_until_ready(platform, session)[0]["content"].endswith("done")


def test_an_answer_survives_the_api(platform, provider, session) -> None:
    provider.speech = 2.0
    say(platform, session)
    wait_for_text(platform, session)
    platform.kill(platform.named("web")[0])
    platform.start("web")
    wait_for(lambda: platform.client.get("/readyz"))
    assert wait_until_ready(platform, session)[0]["content"].endswith("done")


def test_stop_ends_the_call_and_keeps_the_text(platform, provider, session) -> None:
    provider.speech = 30.0
    say(platform, session)
    wait_for_text(platform, session)
    asked = time.time()
    platform.client.post(f"/v1/chat/sessions/{session}/stop")
    stopped = answers(platform, session)[0]
    assert stopped["status"] == "stopped" and stopped["content"].startswith("word")

    def closed() -> None:
        assert provider.calls[0].closed_at

    wait_for(closed, 5)
    assert provider.calls[0].closed_at - asked < 1.0


def test_the_first_word_arrives_at_once(platform, provider, session) -> None:
    provider.speech = 0.3
    delays = []
    for _ in range(5):
        after = shown(platform, session)["last_seq"]
        say(platform, session)
        for event in platform.client.events(session, after):
            if event["type"] == "agent_output":
                delays.append(time.time() - provider.calls[-1].at)
                break
        wait_until_ready(platform, session)
    assert sorted(delays)[2] <= FIRST_TOKEN_SECONDS, delays
