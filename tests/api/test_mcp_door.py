"""/mcp: the platform as an MCP server, asked by the official client and by hand."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from models import tokens
from tests.api.conftest import AUTH, on_sqlite
from tests.api.test_memories import indexed, put


def ask(client, method: str, headers: dict | None = None, **params) -> dict:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return client.post("/mcp", json=message, headers=headers).json


def call(client, tool: str, headers: dict | None = None, **arguments) -> tuple[dict, bool]:
    result = ask(client, "tools/call", headers, name=tool, arguments=arguments)["result"]
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return result["structuredContent"], result["isError"]


def test_the_official_client_drives_the_platform(server):
    async def drive() -> tuple:
        async with (
            httpx2.AsyncClient(headers=AUTH) as http,
            Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
        ):
            tools = [tool.name for tool in (await client.list_tools()).tools]
            listed = await client.call_tool("list_pipelines", {})
            made = await client.call_tool("run_pipeline", {"pipeline_id": "quickstart", "task": "Say hello"})
            status = await client.call_tool("run_status", {"run_id": made.structured_content["id"]})
            return tools, listed.structured_content, status.structured_content

    tools, listed, status = asyncio.run(drive())
    assert tools == ["list_pipelines", "run_pipeline", "run_status", "search_memory", "cancel_run"]
    assert "quickstart" in {pipeline["id"] for pipeline in listed["pipelines"]}
    assert (status["pipeline_id"], status["status"]) == ("quickstart", "pending")


@on_sqlite
def test_a_run_is_started_watched_and_ended(api):
    run, failed = call(api, "run_pipeline", pipeline_id="quickstart", task="Say hello", context="In French")
    assert not failed and api.get(f"/v1/runs/{run['id']}").json["human_context"] == "In French"
    assert call(api, "cancel_run", run_id=run["id"]) == ({"id": run["id"], "status": "cancelled"}, False)
    assert call(api, "run_status", run_id=run["id"], wait_seconds=5)[0]["status"] == "cancelled"


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("run_pipeline", {"pipeline_id": "nothing", "task": "x"}, "pipeline_not_found"),
        ("run_pipeline", {"pipeline_id": "quickstart"}, "validation_error"),
        ("run_pipeline", {"pipeline_id": "quickstart", "task": "x", "steps": []}, "validation_error"),
        ("run_status", {"run_id": "run_x"}, "run_not_found"),
        ("run_status", {"run_id": 1}, "validation_error"),
    ],
)
def test_what_cannot_be_done_is_an_error_that_the_model_can_read(api, tool, arguments, code):
    result, failed = call(api, tool, **arguments)
    assert (result["code"], failed) == (code, True)


def test_a_token_may_no_more_here_than_elsewhere(anyone):
    reader = {"Authorization": f"Bearer {tokens.create('r', 'read')[1]}"}
    assert call(anyone, "list_pipelines", reader)[1] is False
    result, failed = call(anyone, "run_pipeline", reader, pipeline_id="quickstart", task="x")
    assert (result["code"], failed) == ("forbidden", True)
    assert anyone.post("/mcp", json={}).status_code == 401


def test_pages_of_other_sites_and_of_other_names_are_refused(api):
    assert api.post("/mcp", json={}, headers={"Origin": "https://evil.test"}).status_code == 403
    assert api.post("/mcp", json={}, headers={"Host": "evil.test"}).status_code == 421
    assert api.post("/mcp", data="{}", content_type="text/plain").status_code == 415


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26"])
def test_the_version_that_the_client_speaks_is_spoken(api, version):
    assert ask(api, "initialize", protocolVersion=version)["result"]["protocolVersion"] == version
    assert ask(api, "initialize", protocolVersion="1999-01-01")["result"]["protocolVersion"] == "2025-11-25"


def test_messages_that_are_none_are_refused(api):
    for body in ([], 1, {"method": "ping", "id": 1}, {"jsonrpc": "2.0", "id": 1}):
        answer = api.post("/mcp", json=body)
        assert (answer.status_code, answer.json["error"]["code"]) == (400, -32600)
    assert ask(api, "resources/list")["error"]["code"] == -32601
    assert ask(api, "tools/call", name="nothing")["error"]["code"] == -32602
    assert ask(api, "tools/call", name="run_status", arguments=[])["error"]["code"] == -32602
    assert api.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}).json["error"]
    assert ask(api, "ping")["result"] == {}


def test_a_notification_has_no_answer_and_there_is_no_stream(api):
    answer = api.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (answer.status_code, answer.data) == (202, b"")
    assert api.get("/mcp").status_code == api.delete("/mcp").status_code == 405


@on_sqlite
def test_what_agents_remember_is_found_as_far_as_the_token_sees_it(api, anyone):
    put("release.md", "---\ntitle: Release day\n---\nWe ship on Thursdays.\n", "shared")
    put("plan.md", "---\ntitle: Release plan\n---\nShip the parser first.\n", "architect")
    for vault in ("shared", "architect"):
        indexed(vault)
    found, _ = call(api, "search_memory", query="release", limit=5)
    assert {memory["filename"] for memory in found["memories"]} == {"release.md", "plan.md"}
    found, _ = call(api, "search_memory", query="release", vault="architect")
    assert [memory["filename"] for memory in found["memories"]] == ["plan.md"]
    token = tokens.create("narrow", "read", vaults=["shared"])[1]
    narrow = {"Authorization": f"Bearer {token}"}
    found, _ = call(anyone, "search_memory", narrow, query="release")
    assert [memory["filename"] for memory in found["memories"]] == ["release.md"]
    assert call(anyone, "search_memory", narrow, query="release", vault="architect")[0]["code"] == "vault_not_found"
