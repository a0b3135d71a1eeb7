"""Real MCP servers on a whole platform: registered, approved, discovered, called by an agent."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests import mcp_servers
from tests.mcp_servers import DISCOVERED_SECONDS, discovered
from tests.platform import Platform, free_port, running

PIPELINE = """
id: caller-{agent}
agents: [{{id: {agent}}}]
steps: [{{id: A, agent: {agent}, input: go, outputs: [x], tools: [read]}}]
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    ports = {"streamable-http": free_port(), "sse": free_port()}
    allowed = ",".join(f"127.0.0.1:{port}" for port in ports.values())
    for started in running(tmp_path_factory.mktemp("platform"), EGRESS_ALLOW=allowed):
        started.ports = ports
        yield started


def grant(platform: Platform, agent: str, *servers: str) -> None:
    platform.client.post("/v1/agents", {"id": agent})
    for server in servers:
        platform.client.post(f"/v1/mcp/agents/{agent}/{server}")


def calls(platform: Platform, agent: str, *calls: tuple[str, dict[str, Any]]) -> list[dict]:
    """The ends of the tool calls that an agent makes in a run of its own."""
    turns = [{"tool_calls": [{"name": tool, "arguments": arguments}]} for tool, arguments in calls]
    platform.script({"A": [[*turns, "X: done"]]})
    run = platform.run(platform.pipeline(PIPELINE.format(agent=agent)))
    assert platform.wait(run)["status"] == "completed"
    return [event for event in platform.events(run) if event["type"] == "tool_call_end"]


def call(platform: Platform, agent: str, tool: str, **arguments: Any) -> dict:
    return calls(platform, agent, (tool, arguments))[0]


def test_the_time_server_is_discovered_and_called(platform):
    server, _ = discovered(platform.client, mcp_servers.TIME)  # the first one also waits for the supervisor
    assert server["discovered_tools"] == ["convert_time", "get_current_time"]
    grant(platform, "clock", "time/get_current_time")
    end = call(platform, "clock", "time__get_current_time", timezone="UTC")
    assert '"timezone": "UTC"' in end["result"] and not end["is_error"]


def test_the_git_server_reads_the_repository_it_was_given(platform, tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path / "repo"], check=True)
    (tmp_path / "repo" / "new.txt").write_text("x")
    server, seconds = discovered(platform.client, mcp_servers.git(tmp_path / "repo"))
    assert "git_status" in server["discovered_tools"] and seconds < DISCOVERED_SECONDS
    grant(platform, "reader", "git")
    assert "new.txt" in call(platform, "reader", "git__git_status", repo_path=str(tmp_path / "repo"))["result"]


def test_the_filesystem_server_writes_where_it_may(platform, tmp_path):
    server, seconds = discovered(platform.client, mcp_servers.filesystem(tmp_path))
    assert "write_file" in server["discovered_tools"] and seconds < DISCOVERED_SECONDS
    grant(platform, "filer", "files/write_file")
    end = call(platform, "filer", "files__write_file", path=str(tmp_path / "a.txt"), content="hello")
    assert not end["is_error"] and (tmp_path / "a.txt").read_text() == "hello"


def test_the_everything_server_over_stdio(platform):
    server, seconds = discovered(platform.client, mcp_servers.everything())
    assert "echo" in server["discovered_tools"] and seconds < DISCOVERED_SECONDS
    grant(platform, "echoer", "everything")
    assert "Echo: hi" in call(platform, "echoer", "everything__echo", message="hi")["result"]


@pytest.mark.parametrize(
    ("transport", "argument", "path"), [("streamable-http", "streamableHttp", "/mcp"), ("sse", "sse", "/sse")]
)
def test_the_everything_server_over_http_comes_back_after_it_was_away(platform, transport, argument, path):
    port, agent = platform.ports[transport], f"far-{transport}"
    entry = {"name": transport, "config": {"type": transport, "url": f"http://127.0.0.1:{port}{path}"}}
    with mcp_servers.served(argument, port):
        server, seconds = discovered(platform.client, entry)
        assert server["approval"]["state"] == "not_needed" and seconds < DISCOVERED_SECONDS
        grant(platform, agent, server["id"])
        assert "Echo: hi" in call(platform, agent, f"{server['id']}__echo", message="hi")["result"]
    assert call(platform, agent, f"{server['id']}__echo", message="hi")["is_error"]
    assert "onnect" in mcp_servers.failed(platform.client, server["id"])
    with mcp_servers.served(argument, port):
        mcp_servers.running(platform.client, server["id"])
        assert "Echo: again" in call(platform, agent, f"{server['id']}__echo", message="again")["result"]


def test_of_many_tools_an_agent_searches_the_one_it_needs(platform):
    grant(platform, "seeker", "time", "git", "files", "everything")
    wanted = ("mcp_call", {"name": "time__get_current_time", "arguments": {"timezone": "UTC"}})
    found, called = calls(platform, "seeker", ("mcp_search", {"query": "current time"}), wanted)
    assert found["result"].startswith("time__get_current_time (call it with mcp_call)")
    assert '"timezone": "UTC"' in called["result"]
