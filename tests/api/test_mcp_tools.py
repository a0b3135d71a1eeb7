"""/v1/mcp/{id}/tools, /v1/mcp/agents, /v1/mcp/tools/search, /v1/mcp/{id}/calls, /v1/mcp/logs"""

from __future__ import annotations

import json

import pytest

from models import database, mcp, mcp_calls, mcp_grants
from tests.api.conftest import on_sqlite
from workers import mcp_logs
from workers.broker import client
from workers.publisher import FEED_DATABASE

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOLS = [
    {"name": "read", "description": "Reads a file.", "input_schema": SCHEMA},
    {"name": "write", "description": "Writes a file."},
]


@pytest.fixture
def files(api):
    api.post("/v1/mcp", json={"name": "Files", "config": {"command": "x", "disabledTools": ["never"]}})
    api.post("/v1/agents", json={"id": "tester"})
    return api.patch("/v1/mcp/files/tools", json={"tools": TOOLS}).json


def drift(name: str, description: str) -> str:
    """As a discovery finds a tool that says something else; the hash of what it is now."""
    found = [{"title": None, "annotations": None, "input_schema": {"type": "object"}, **tool} for tool in TOOLS]
    now = [tool | {"description": description} if tool["name"] == name else tool for tool in found]
    server = mcp.find("files")
    server.pinned_generation = server.generation
    with database.transaction():
        mcp.found_tools(server, now, False)
    return mcp.tool("files", name).drift["schema_hash"]


def states(api) -> dict[str, str]:
    return {tool["name"]: tool["state"] for tool in api.get("/v1/mcp/files").json["tools"]}


# --- tools ---


def test_a_tool_is_disabled_and_described_in_other_words(api, files):
    body = {"enabled": False, "descriptionOverride": "Mine."}
    shown = api.patch("/v1/mcp/files/tools/read", json=body).json
    assert (shown["state"], shown["description"]) == ("disabled", "Mine.")
    assert api.get("/v1/mcp/files").json["discovered_tools"] == ["write"]
    shown = api.patch("/v1/mcp/files/tools/read", json={"enabled": True, "description_override": None}).json
    assert (shown["state"], shown["description"]) == ("active", "Reads a file.")
    assert api.patch("/v1/mcp/files/tools/nothing", json={}).json["code"] == "mcp_tool_not_found"


def test_a_drifted_tool_is_shown_side_by_side_and_approved_as_it_was_shown(api, files):
    now = drift("read", "Deletes everything.")
    assert states(api) == {"read": "drifted", "write": "active"}
    shown = api.get("/v1/mcp/files/tools/read/drift").json
    assert (shown["pinned"]["description"], shown["found"]["description"]) == ("Reads a file.", "Deletes everything.")
    wrong = api.post("/v1/mcp/files/tools/read/approve", json={"schema_hash": shown["pinned"]["schema_hash"]})
    assert (wrong.status_code, wrong.json["code"]) == (409, "approval_changed")
    answer = api.post("/v1/mcp/files/tools/read/approve", json={"schemaHash": now}).json
    assert (answer["state"], answer["description"], answer["schema_hash"]) == ("active", "Deletes everything.", now)


def test_a_tool_in_disabled_tools_is_disabled(api, files):
    api.patch("/v1/mcp/files/tools", json={"tools": ["never", "read"]})
    assert states(api) == {"never": "disabled", "read": "active"}


@pytest.mark.parametrize(("tool", "code"), [("read", "server_not_running"), ("nothing", "mcp_tool_not_found")])
def test_only_a_tool_of_a_running_server_is_called(api, files, tool, code):
    answer = api.post(f"/v1/mcp/files/tools/{tool}/call", json={"arguments": {"path": "a"}})
    assert answer.json["code"] == code


# --- grants ---


def test_an_agent_has_nothing_until_it_is_granted(api, files):
    assert api.get("/v1/mcp/agents/tester/tools").json == []
    assert api.get("/v1/mcp/agents/tester/manifest").json == {"agent_id": "tester", "grants": [], "manifest_text": ""}
    assert api.get("/v1/agents/tester").json["mcp_servers"] == []


@pytest.mark.parametrize("end", ["", "/grant"])
def test_one_tool_or_all_of_a_server_is_granted_and_taken(api, files, end):
    grant = api.post(f"/v1/mcp/agents/tester/files/read{end}").json
    assert (grant["server_id"], grant["tool_name"], grant["base_url"]) == ("files", "read", None)
    assert api.post(f"/v1/mcp/agents/tester/files/read{end}").json == grant
    assert api.get("/v1/mcp/agents/tester/manifest").json["manifest_text"] == "- files/read: Reads a file."
    assert api.post(f"/v1/mcp/agents/tester/files{end}").json["tool_name"] == "*"
    assert api.get("/v1/agents/tester").json["mcp_servers"] == ["files"]
    assert [offer.name for offer in mcp_grants.load()["tester"]] == ["read", "write"]
    assert api.delete(f"/v1/mcp/agents/tester/files/read{end}").status_code == 204
    assert api.delete(f"/v1/mcp/agents/tester/files{end}").status_code == 204
    assert api.delete(f"/v1/mcp/agents/tester/files{end}").json["code"] == "grant_not_found"


def test_only_what_is_there_is_granted(api, files):
    for path in ("nobody/files", "tester/nothing", "tester/files/nothing"):
        assert api.post(f"/v1/mcp/agents/{path}").status_code == 404


STOPS = {
    "drifted": lambda api: drift("read", "Other."),
    "disabled": lambda api: api.patch("/v1/mcp/files/tools/read", json={"enabled": False}),
    "server off": lambda api: api.patch("/v1/mcp/files/enabled", json={"enabled": False}),
    "gone": lambda api: api.patch("/v1/mcp/files/tools", json={"tools": ["write"]}),
    "in disabledTools": lambda api: api.put(
        "/v1/mcp/files", json={"config": {"command": "x", "disabledTools": ["read"]}}
    ),
    "deleted": lambda api: api.delete("/v1/mcp/files"),
}


@pytest.mark.parametrize("why", STOPS)
def test_a_grant_gives_no_tool_that_must_not_be_used(api, files, why):
    api.post("/v1/mcp/agents/tester/files/read")
    assert mcp_grants.load()["tester"][0].name == "read"
    STOPS[why](api)
    assert mcp_grants.load() == {}


# --- search ---


def test_tools_are_found_by_words_best_first(api, files):
    assert [tool["name"] for tool in api.get("/v1/mcp/tools/search?query=write+a+file").json] == ["write", "read"]
    assert api.get("/v1/mcp/tools/search?query=nothing").json == []
    assert [tool["name"] for tool in api.get("/v1/mcp/tools/search?query=file&limit=1").json] == ["read"]


def test_of_an_agent_only_what_it_may_call_is_found(api, files):
    api.post("/v1/mcp/agents/tester/files/write")
    found = api.get("/v1/mcp/tools/search?query=file&agent_id=tester").json
    assert [(tool["server_id"], tool["name"]) for tool in found] == [("files", "write")]
    assert api.get("/v1/mcp/tools/search?query=file&agent_id=nobody").status_code == 404


# --- ledger ---


def test_calls_are_listed_newest_first_in_pages(api, files):
    with database.transaction():
        for number in range(3):
            mcp_calls.record("files", "read", {"n": number}, outcome="ok", duration_ms=number)
    first = api.get("/v1/mcp/files/calls?limit=2")
    assert [call["duration_ms"] for call in first.json] == [2, 1]
    assert [call["duration_ms"] for call in api.get(first.headers["Link"].split(">")[0][1:]).json] == [0]
    assert "n" not in first.json[0] and len(first.json[0]["arguments_hash"]) == 64
    assert api.get("/v1/mcp/nothing/calls").status_code == 404


# --- logs ---


@pytest.fixture
def log():
    """Adds lines to an empty log; returns their ids."""
    connection = client(FEED_DATABASE, 1.0)
    connection.delete(mcp_logs.RING)

    def write(*lines: tuple[str, str, str]) -> list[str]:
        entries = [mcp_logs.line(server, level, "stderr", text) for server, level, text in lines]
        return [connection.xadd(mcp_logs.RING, entry).decode() for entry in entries]

    yield write
    connection.delete(mcp_logs.RING)
    connection.close()


def streamed(api, count: int, query: str = "", **headers: str) -> list[str]:
    """The first frames of the stream."""
    answer = api.get(f"/v1/mcp/logs{query}", headers=headers)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    frames = []
    for chunk in answer.response:
        frames.append(chunk.decode())
        if len(frames) == count:
            break
    answer.close()
    return frames


LINES = [("files", "info", "a"), ("other", "warn", "b"), ("files", "error", "c")]


@on_sqlite
def test_the_backlog_comes_first_and_only_lines_have_ids(api, log):
    ids = log(*LINES)
    frames = streamed(api, 4)
    assert frames[0] == "event: connected\ndata: {}\n\n"
    assert [frame.splitlines()[0] for frame in frames[1:]] == [f"id: {number}" for number in ids]
    data = json.loads(frames[1].splitlines()[2].removeprefix("data: "))
    assert {**data, "ts": ""} == {"line": "a", "level": "info", "ts": "", "server_id": "files", "stream": "stderr"}


@on_sqlite
def test_after_any_id_comes_exactly_the_rest(api, log):
    ids = log(*LINES)
    for position, number in enumerate(ids[:-1]):
        rest = ids[position + 1 :]
        frames = streamed(api, 1 + len(rest), **{"Last-Event-ID": number})
        assert [frame.splitlines()[0] for frame in frames[1:]] == [f"id: {each}" for each in rest]


@on_sqlite
def test_what_is_older_than_the_log_is_a_gap(api, log):
    log(*LINES)
    frames = streamed(api, 3, **{"Last-Event-ID": "1-0"})
    assert frames[1].startswith("event: gap\n") and '"line":"a"' in frames[2]


@on_sqlite
@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("?server_id=files", "ac"),
        ("?level=warn", "bc"),
        ("?server_id=files&level=error", "c"),
        ("?tail=1", "c"),
        ("?tail=0", ""),
    ],
)
def test_lines_are_filtered_and_the_backlog_is_had_alone(api, log, query, lines):
    log(*LINES)
    answer = api.get(f"/v1/mcp/logs{query}", headers={"Accept": "application/json"})
    assert "".join(entry["line"] for entry in answer.json) == lines


@on_sqlite
def test_a_line_cannot_become_a_frame_of_its_own(api, log):
    log(("files", "info", "x\n\nid: 9-9\nevent: log\ndata: {}\r\r\u2028\x1b[31m"))
    frame = streamed(api, 2)[1]
    assert frame.count("\n") == 4 and "x" in frame and "\x1b" not in frame


@on_sqlite
@pytest.mark.parametrize("query", ["?level=loud", "?tail=1001", "?tail=-1", "?server_id=A B", "?x=1"])
def test_a_bad_filter_is_refused(api, log, query):
    assert api.get(f"/v1/mcp/logs{query}").status_code == 422


@on_sqlite
@pytest.mark.parametrize("given", ["x", "1", "1-x", "-1", "1-1-1"])
def test_a_bad_id_is_refused(api, log, given):
    answer = api.get("/v1/mcp/logs", headers={"Last-Event-ID": given})
    assert (answer.status_code, answer.json["code"]) == (422, "bad_last_event_id")


@on_sqlite
def test_a_new_line_comes_while_somebody_reads(api, log):
    answer = api.get("/v1/mcp/logs/stream?tail=0")
    frames = iter(answer.response)
    assert next(frames).startswith(b"event: connected")
    log(("files", "info", "now"))
    assert b'"line":"now"' in next(frames)
    answer.close()
