"""Real MCP servers on a whole platform: registered, approved, discovered, called by an agent."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests import mcp_servers
from tests.mcp_servers import DISCOVERED_SECONDS, discovered
from tests.platform import Platform, running

PIPELINE = """
id: caller
agents: [{id: tester}]
steps: [{id: A, agent: tester, input: go, outputs: [x], tools: [read]}]
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("platform"))


def call(platform: Platform, tool: str, **arguments: Any) -> dict:
    """The end of the tool call that an agent makes in a run of its own."""
    platform.script({"A": [[{"tool_calls": [{"name": tool, "arguments": arguments}]}, "X: done"]]})
    run = platform.run(platform.pipeline(PIPELINE))
    assert platform.wait(run)["status"] == "completed"
    return next(event for event in platform.events(run) if event["type"] == "tool_call_end")


def test_the_time_server_is_discovered_and_called(platform):
    server, seconds = discovered(platform.client, mcp_servers.TIME)
    assert server["discovered_tools"] == ["convert_time", "get_current_time"]
    assert seconds < DISCOVERED_SECONDS
    platform.client.post("/v1/mcp/agents/tester/time/get_current_time")
    end = call(platform, "time__get_current_time", timezone="UTC")
    assert '"timezone": "UTC"' in end["result"] and not end["is_error"]
