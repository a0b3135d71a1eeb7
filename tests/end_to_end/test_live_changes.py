"""Settings and providers are changed while a worker runs: it goes by them within two seconds, without a restart."""

from __future__ import annotations

import time

import pytest

from tests.platform import running
from tests.workers.clients.double import Double, Reply, openai_answer

PATIENCE_SECONDS = 2.0
PIPELINE = """
id: asks
agents: [{id: a}]
defaults: {maxRetries: 0, tools: []}
steps: [{id: A, agent: a, input: hello, outputs: [x]}]
"""
FIRST, SECOND = "sk-first-0123456789abcdef", "sk-second-0123456789abcde"


class Talker(Double):
    """Lists one model, and answers every call alike."""

    def answer(self, handler) -> None:
        models = Reply(headers={"Content-Type": "application/json"}, chunks=[b'{"data": [{"id": "m"}]}'])
        self.says(models if handler.command == "GET" else openai_answer("fine"))
        super().answer(handler)

    def keys(self) -> list[str]:
        asked = [headers for method, _, headers, _ in self.requests if method == "POST"]
        return [{name.lower(): value for name, value in sent.items()}["authorization"] for sent in asked]


@pytest.fixture
def talker():
    double = Talker()
    yield double
    double.close()


@pytest.fixture
def platform(tmp_path, talker):
    yield from running(tmp_path, EGRESS_ALLOW=talker.place, DEFAULT_MODEL="")


def ended(platform) -> dict:
    return platform.wait(platform.run("asks"))


def test_a_running_worker_uses_a_key_that_is_stored_changed_and_taken_away(platform, talker) -> None:
    platform.pipeline(PIPELINE)
    platform.client.put("/v1/settings", {"defaultExecutorModel": "custom-mine/m"})
    time.sleep(PATIENCE_SECONDS)
    assert ended(platform)["error_code"] == "config_error"
    body = {"name": "Mine", "slug": "mine", "baseUrl": f"{talker.url}/v1", "apiKey": FIRST}
    platform.client.post("/v1/settings/providers", body)
    time.sleep(PATIENCE_SECONDS)
    assert ended(platform)["outputs"] == {"x": "fine"}
    platform.client.put("/v1/settings/providers/custom-mine", {"apiKey": SECOND})
    time.sleep(PATIENCE_SECONDS)
    assert ended(platform)["status"] == "completed"
    assert talker.keys() == [f"Bearer {FIRST}", f"Bearer {SECOND}"]
    platform.client.put("/v1/settings/providers/custom-mine", {"enabled": False})
    time.sleep(PATIENCE_SECONDS)
    assert "disabled" in ended(platform)["error"]


def test_a_worker_lists_models_and_tries_a_key_for_the_api(platform, talker) -> None:
    body = {"name": "Mine", "slug": "mine", "baseUrl": f"{talker.url}/v1", "apiKey": FIRST}
    platform.client.post("/v1/settings/providers", body)
    path = "/v1/settings/providers/custom-mine"
    assert platform.client.get(f"{path}/models", refresh="true")["source"] == "live"
    began = time.monotonic()
    assert platform.client.post(f"{path}/test", {"model": "m"})["ok"] is True
    assert time.monotonic() - began < 5
    assert platform.client.get(path)["models"] == [{"id": "m", "name": "m", "description": None, "reasoning": False}]
