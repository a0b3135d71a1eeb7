"""/v1/mcp"""

from __future__ import annotations

import pytest

from models import audit, database, events, mcp, outbox, tokens
from models.mcp import McpServer
from tests.api.conftest import forget, on_sqlite

FILES = {"name": "Files", "config": {"command": "npx", "args": ["-y", "server", "/data"], "env": {"TOKEN": "${FILES}"}}}
FAR = {"name": "Far", "config": {"type": "http", "url": "https://example.com/mcp", "headers": {"Authorization": "abc"}}}
TOOLS = {"tools": ["read", {"name": "write", "description": "Writes.", "input_schema": {"type": "object"}}]}


@pytest.fixture(autouse=True)
def allowed(settings):
    settings.setenv("EGRESS_ALLOW", "example.com:443,other.example.com:443")
    forget()


@pytest.fixture
def files(api):
    return api.post("/v1/mcp", json=FILES).json


@pytest.fixture
def far(api):
    return api.post("/v1/mcp", json=FAR).json


def put(api, **changes):
    return api.put("/v1/mcp/files", json=changes).json


def approve(api, server: dict):
    return api.post(f"/v1/mcp/{server['id']}/approve", json={"sha256": server["approval"]["sha256"]})


def rung() -> list[tuple[str, str]]:
    with database.connection():
        return [(row["actor"], row["object_id"]) for row in database.rows("SELECT actor, object_id FROM outbox")]


def told() -> list[str]:
    return [row["type"] for row in events.numbered_after(0, 100)] or [
        row["type"] for row in database.rows("SELECT type FROM events ORDER BY stream, seq")
    ]


# --- create ---


def test_a_program_is_registered_and_waits_for_approval(api):
    answer = api.post("/v1/mcp", json=FILES)
    server = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/mcp/files")
    assert (server["status"], server["status_reason"], server["managed"]) == ("configuring", "approval required", False)
    assert server["approval"]["argv"] == ["npx", "-y", "server", "/data"]
    assert (server["approval"]["state"], server["approval"]["env_names"]) == ("pending", ["TOKEN"])
    assert (server["transport"], server["discovered_tools"], server["tools"]) == ("stdio", [], [])
    assert (server["generation"], server["restarts"], server["sandbox"]["network"]) == (1, 0, False)
    assert api.get("/v1/mcp/").json == [api.get("/v1/mcp/files/").json] == [server]
    assert (rung(), told()) == ([("mcp_discover", "files")], ["mcp_status_changed"])


def test_a_server_far_away_needs_no_approval_and_its_literal_secret_is_hidden(api, far):
    assert (far["managed"], far["approval"]["state"], far["transport"]) == (True, "not_needed", "streamable-http")
    assert far["config"] == {
        "type": "streamable-http",
        "url": "https://example.com/mcp",
        "headers": {"Authorization": "***"},
    }
    assert "abc" not in str(database.rows("SELECT * FROM mcp_servers"))
    assert mcp.literals(mcp.find("far")) == {"headers.Authorization": "abc"}


def test_both_spellings_are_read_and_a_disabled_server_is_stopped(api):
    body = FILES | {"id": "f2", "setupAgentId": "builder", "enabled": False, "sandbox": {"readPaths": ["/data"]}}
    server = api.post("/v1/mcp", json=body).json
    assert (server["id"], server["setup_agent_id"], server["status"]) == ("f2", "builder", "stopped")
    assert server["sandbox"] == {"network": False, "read_paths": ["/data"], "write_paths": []}


BAD_CONFIGS = [
    {},
    {"command": ""},
    {"command": 7},
    {"command": "a", "args": "b"},
    {"command": "a", "args": ["x"] * 65},
    {"command": "a", "env": {"a-b": "c"}},
    {"command": "a", "env": {"A": 1}},
    {"command": "a", "cwd": "relative"},
    {"command": "a", "cwd": "/a/../b"},
    {"command": "a", "url": "https://example.com"},
    {"command": "a", "timeout": 0},
    {"command": "a", "timeout": True},
    {"command": "a", "disabledTools": [1]},
    {"command": "a", "args": ["--key=sk-abcdefghijklmnopqrstuvwxyz"]},
    {"command": "a", "env": {"TOKEN": "***"}},
    {"type": "carrier-pigeon", "url": "https://example.com"},
    {"type": "sse"},
    {"type": "sse", "url": "ftp://example.com"},
    {"type": "sse", "url": "https://user:pass@example.com"},
    {"type": "sse", "url": "https://example.com", "command": "a"},
    {"type": "sse", "url": "https://example.com", "headers": {"A": "b\r\nC: d"}},
    {"type": ["sse"], "url": "https://example.com"},
]


@on_sqlite
@pytest.mark.parametrize("config", BAD_CONFIGS)
def test_a_bad_config_is_refused_and_nothing_is_stored(api, config):
    answer = api.post("/v1/mcp", json={"name": "x", "config": config})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_mcp_config")
    assert api.get("/v1/mcp").json == []


@on_sqlite
@pytest.mark.parametrize("path", ["relative", "/", "/a/../b", "/proc", "//"])
def test_a_bad_path_of_the_sandbox_is_refused(api, path):
    answer = api.post("/v1/mcp", json=FILES | {"sandbox": {"write_paths": [path]}})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_mcp_config")


@on_sqlite
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/mcp", "http://169.254.169.254/", "http://[::1]:8000/", "http://0x7f.1/"]
)
def test_a_server_is_not_to_be_found_where_it_must_not_be_looked_for(api, url):
    answer = api.post("/v1/mcp", json={"name": "x", "config": {"type": "sse", "url": url}})
    assert (answer.status_code, answer.json["code"]) == (422, "egress_refused")


@on_sqlite
@pytest.mark.parametrize("name", ["config.json", "Logs", "agents", "restart", "status", "tools", "import", "approvals"])
def test_words_of_the_api_are_reserved(api, name):
    given = {"id": name} if name.islower() and "." not in name else {}
    answer = api.post("/v1/mcp", json=FILES | {"name": name} | given)
    assert (answer.status_code, answer.json["code"]) == (422, "reserved_id") if given or name == "Logs" else (201, None)


@on_sqlite
@pytest.mark.parametrize(
    "body", [{"name": "日本"}, {"id": "A b"}, {"id": "../x"}, {"name": ""}, {"x": 1}, {"sandbox": 1}]
)
def test_a_bad_body_is_refused(api, body):
    assert api.post("/v1/mcp", json=FILES | body).status_code == 422


def test_an_id_is_taken_once(api, files):
    answer = api.post("/v1/mcp", json=FILES)
    assert (answer.status_code, answer.json["code"]) == (409, "mcp_server_exists")


@on_sqlite
@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("run", 403), ("worker", 403), ("admin", 201)])
def test_only_an_admin_registers(anyone, scope, status):
    sent = {"Authorization": f"Bearer {tokens.create('t', scope)[1]}"}
    assert anyone.post("/v1/mcp", json=FILES, headers=sent).status_code == status


# --- list and get ---


def test_servers_are_listed_by_name_in_pages_and_narrowed(api, files, far):
    first = api.get("/v1/mcp?limit=1")
    assert [server["id"] for server in first.json] == ["far"]
    assert [server["id"] for server in api.get(first.headers["Link"].split(">")[0][1:]).json] == ["files"]
    api.patch("/v1/mcp/files/enabled", json={"enabled": False})
    assert [server["id"] for server in api.get("/v1/mcp?enabled=false").json] == ["files"]
    assert [server["id"] for server in api.get("/v1/mcp?status=configuring").json] == ["far"]
    assert api.get("/v1/mcp?status=sleeping").status_code == 422


@on_sqlite
@pytest.mark.parametrize("server_id", ["nothing", "..", "%2e%2e", "a%2fb", "%00", "a" * 300])
def test_what_does_not_exist_is_not_found(api, server_id):
    for method in ("GET", "PUT", "DELETE"):
        assert api.open(f"/v1/mcp/{server_id}", method=method, json={}).status_code == 404
    assert api.patch(f"/v1/mcp/{server_id}/status", json={"status": "running"}).status_code == 404


# --- approval ---


def test_what_was_shown_can_be_approved_once(api, files):
    answer = approve(api, files)
    server = answer.json
    assert (answer.status_code, server["managed"], server["status_reason"]) == (200, True, None)
    assert (server["approval"]["state"], server["approval"]["approved_by"]) == ("approved", "environment")
    assert approve(api, server).json["code"] == "approval_not_needed"
    assert audit.page(1, None, None, None)[0].detail["argv"] == files["approval"]["argv"]


def test_what_was_not_shown_cannot_be_approved(api, files, far):
    answer = api.post("/v1/mcp/files/approve", json={"sha256": "0" * 64})
    assert (answer.status_code, answer.json["code"]) == (409, "approval_changed")
    assert approve(api, far | {"approval": {"sha256": "0" * 64}}).json["code"] == "approval_not_needed"


def test_where_programs_are_not_run_they_are_not_approved_either(api, files, settings):
    settings.setenv("MCP_STDIO_ENABLED", "false")
    forget()
    assert approve(api, files).json["code"] == "stdio_disabled"
    assert api.get("/v1/mcp/files").json["managed"] is False


CHANGES = [
    {"config": FILES["config"] | {"args": ["-y", "server", "/"]}},
    {"config": FILES["config"] | {"command": "npx2"}},
    {"config": FILES["config"] | {"env": {"TOKEN": "${FILES}", "MORE": "x"}}},
    {"config": FILES["config"] | {"cwd": "/tmp"}},
    {"sandbox": {"network": True}},
    {"sandbox": {"read_paths": ["/etc"]}},
]


@on_sqlite
@pytest.mark.parametrize("change", CHANGES)
def test_another_program_folder_variable_or_sandbox_waits_again(api, files, change):
    approve(api, files)
    server = put(api, **change)
    assert (server["approval"]["state"], server["managed"], server["generation"]) == ("pending", False, 2)
    assert (server["status"], server["status_reason"]) == ("configuring", "approval required")


@on_sqlite
def test_a_variable_that_steers_programs_is_approved_with_its_value(api, files):
    entry = FILES["config"] | {"env": {"PATH": "/good"}}
    server = put(api, config=entry)
    assert server["approval"]["env_names"] == ["PATH=/good"]
    approve(api, server)
    assert put(api, config=entry | {"env": {"PATH": "/bad"}})["approval"]["state"] == "pending"


def test_another_value_is_another_generation_but_needs_no_approval(api, files):
    approve(api, files)
    server = put(api, config=FILES["config"] | {"env": {"TOKEN": "${OTHER}"}})
    assert (server["approval"]["state"], server["generation"], server["status"]) == ("approved", 2, "configuring")


# --- update ---


def test_a_change_that_changes_nothing_writes_nothing(api, files, far):
    same = {"name": "Files", "config": FILES["config"] | {"type": "stdio"}, "enabled": True, "description": ""}
    assert put(api, **same) == put(api) == files
    assert api.put("/v1/mcp/far", json={"config": far["config"]}).json == far


def test_other_fields_leave_the_generation_alone_and_null_clears_the_agent(api, files):
    assert put(api, setup_agent_id="builder", description="d")["generation"] == 1
    cleared = put(api, setup_agent_id=None, description=None)
    assert (cleared["setup_agent_id"], cleared["description"]) == (None, "d")


def test_stars_keep_a_stored_secret_but_not_for_another_address(api, far):
    kept = api.put("/v1/mcp/far", json={"config": far["config"] | {"timeout": 5}})
    assert kept.status_code == 200 and mcp.literals(mcp.find("far")) == {"headers.Authorization": "abc"}
    moved = far["config"] | {"url": "https://other.example.com/mcp"}
    answer = api.put("/v1/mcp/far", json={"config": moved})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["config.headers.Authorization"])


@on_sqlite
@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("API_KEY", "abc", "***"),
        ("API_KEY", "${KEY}", "${KEY}"),
        ("AUTH", "Bearer ${KEY}", "Bearer ${KEY}"),
        ("AUTH", "Bearer abc ${KEY}", "***"),
        ("PLAIN", "abc", "abc"),
        ("PLAIN", "ghp_abcdefghijabcdefghijabcdefghij", "***"),
    ],
)
def test_a_literal_that_looks_secret_is_never_shown(api, name, value, shown):
    body = {"name": "x", "config": {"command": "a", "env": {name: value}}}
    assert api.post("/v1/mcp", json=body).json["config"]["env"] == {name: shown}


def test_an_older_version_is_not_changed(api, files):
    tag = api.get("/v1/mcp/files").headers["ETag"]
    headers = {"If-Match": tag}
    assert api.put("/v1/mcp/files", json={"description": "a"}, headers=headers).status_code == 200
    assert api.put("/v1/mcp/files", json={"description": "b"}, headers=headers).status_code == 412
    assert api.delete("/v1/mcp/files", headers=headers).status_code == 412


# --- delete ---


def test_a_deleted_server_is_gone_with_its_tools_grants_and_doorbells(api, files):
    api.patch("/v1/mcp/files/tools", json=TOOLS)
    api.post("/v1/agents", json={"id": "tester"})
    api.post("/v1/mcp/agents/tester/files")
    assert api.delete("/v1/mcp/files").status_code == 204
    assert api.delete("/v1/mcp/files").status_code == 404
    assert api.get("/v1/mcp/agents/tester/tools").json == []
    assert (rung(), database.rows("SELECT * FROM mcp_tools")) == ([], [])


# --- config.json ---


def test_without_servers_the_gateway_s_file_is_empty(api):
    assert api.get("/v1/mcp/config.json").json == {"mcpServers": {}}


def test_the_gateway_s_file_has_the_enabled_servers_without_secrets(api, files, far):
    answer = api.get("/v1/mcp/config.json")
    assert answer.json == {"mcpServers": {"far": far["config"], "files": FILES["config"]}}
    assert api.get("/v1/mcp/config.json", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    api.patch("/v1/mcp/files/enabled?enabled=false")
    assert list(api.get("/v1/mcp/config.json").json["mcpServers"]) == ["far"]


def test_a_worker_s_token_reads_real_values_and_that_is_recorded(api, anyone, far):
    sent = {"Authorization": f"Bearer {tokens.create('gateway', 'worker')[1]}"}
    answer = anyone.get("/v1/mcp/config.json", headers=sent)
    assert answer.json["mcpServers"]["far"]["headers"] == {"Authorization": "abc"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert audit.page(1, None, None, None)[0].action == "mcp.read_config"


# --- reports ---


def test_a_gateway_reports_status_and_tools(api, files):
    server = api.patch("/v1/mcp/files/status", json={"status": "running", "reason": "by mcpo"}).json
    assert (server["status"], server["status_reason"]) == ("running", "by mcpo")
    server = api.patch("/v1/mcp/files/tools", json=TOOLS).json
    assert server["discovered_tools"] == ["read", "write"]
    assert server["tools"][1]["input_schema"] == {"type": "object"} and server["tools"][1]["state"] == "active"
    assert api.patch("/v1/mcp/files/tools", json={"tools": []}).json["tools"] == []


@on_sqlite
@pytest.mark.parametrize(
    "tools", [["a", "a"], ["a", {"name": "a"}], [1], [{}], ["x" * 129], "a", [f"t{n}" for n in range(501)]]
)
def test_a_bad_report_of_tools_is_refused(api, files, tools):
    assert api.patch("/v1/mcp/files/tools", json={"tools": tools}).status_code == 422


@on_sqlite
def test_a_bad_status_is_refused(api, files):
    assert api.patch("/v1/mcp/files/status", json={"status": "asleep"}).status_code == 422
    assert api.patch("/v1/mcp/files/status", json={"status": "error", "reason": "x" * 501}).status_code == 422


def test_one_of_our_own_is_stopped_and_resumed_by_a_report(api, far):
    stopped = api.patch("/v1/mcp/far/status", json={"status": "stopped"}).json
    assert (stopped["status"], rung(), McpServer.get().paused) == ("stopped", [], True)
    resumed = api.patch("/v1/mcp/far/status", json={"status": "running"}).json
    assert (resumed["status"], rung(), McpServer.get().paused) == ("running", [("mcp_check", "far")], False)


def test_a_server_is_disabled_in_body_or_query(api, files):
    assert api.patch("/v1/mcp/files/enabled", json={"enabled": False}).json["status"] == "stopped"
    assert api.patch("/v1/mcp/files/enabled?enabled=true").json["status"] == "configuring"
    assert api.patch("/v1/mcp/files/enabled").status_code == 422


def test_a_look_and_a_restart_are_asked_for(api, far):
    outbox.withdraw("mcp_discover", "far")
    answer = api.post("/v1/mcp/far/discover")
    assert (answer.status_code, answer.json["id"], rung()) == (202, "far", [("mcp_discover", "far")])
    for path in ("/v1/mcp/far/restart", "/v1/mcp/restart"):
        assert (api.post(path).status_code, api.post(path).json) == (202, {"status": "restart_requested"})
    assert McpServer.get().restart_wanted == 4


# --- import ---


def test_a_gateway_s_file_is_imported_entry_by_entry_and_nothing_runs(api, files):
    body = {"mcpServers": {"Time": {"command": "uvx"}, "Files": {"command": "x"}, "bad": {"command": ""}}}
    found = api.post("/v1/mcp/import", json=body).json
    assert [(entry["name"], entry["status"], entry["code"]) for entry in found] == [
        ("Time", "created", None),
        ("Files", "failed", "mcp_server_exists"),
        ("bad", "failed", "invalid_mcp_config"),
    ]
    assert found[0]["server"]["approval"]["state"] == "pending"
