"""Skills on a whole platform: seeded, granted, loaded, edited by hand while it runs."""

from __future__ import annotations

import time

import pytest

from tests.platform import Platform, running, wait_for

PIPELINE = """
id: loader
agents: [{id: tester}]
steps: [{id: A, agent: tester, input: go, outputs: [x], tools: [read]}]
"""
CALL = {"name": "load_skill", "arguments": {"name": "debugging"}}
NOTICED_SECONDS = 2.0 + 2.0  # the promise, and what a busy test machine may add


@pytest.fixture
def platform(tmp_path):
    yield from running(tmp_path)


def listed(platform: Platform) -> dict[str, dict]:
    return {skill["name"]: skill for skill in platform.client.get("/v1/skills")}


def seeded(platform: Platform) -> dict[str, dict]:
    found = listed(platform)
    assert len(found) >= 4
    return found


def test_a_built_in_skill_is_granted_and_loaded(platform):
    assert wait_for(lambda: seeded(platform))["debugging"]["source"] == "builtin"
    platform.client.post("/v1/skills/agents/tester/debugging/grant")
    platform.script({"A": [[{"tool_calls": [CALL]}, "X: done"]]})
    run = platform.run(platform.pipeline(PIPELINE))
    assert platform.wait(run)["status"] == "completed"
    heard = [event["result"] for event in platform.events(run) if event["type"] == "tool_call_end"]
    assert "# Debugging" in heard[0] and listed(platform)["debugging"]["uses"] == 1


def test_an_edit_by_hand_is_noticed_and_a_deleted_skill_stays_away(platform):
    wait_for(lambda: seeded(platform))
    page = platform.folder / "skills" / "debugging" / "SKILL.md"
    page.write_text(page.read_text() + "\nOne more thing.\n")
    began = time.monotonic()

    def noticed() -> None:
        assert listed(platform)["debugging"]["content"].endswith("One more thing.\n")

    wait_for(noticed)
    assert time.monotonic() - began < NOTICED_SECONDS
    platform.client.delete("/v1/skills/code-review")
    for kind in ("web", "relay"):
        for name in platform.named(kind):
            platform.kill(name)
        platform.start(kind)
    wait_for(lambda: platform.client.get("/readyz"))
    time.sleep(NOTICED_SECONDS)
    assert "code-review" not in listed(platform) and listed(platform)["debugging"]["version"] == 2
