"""/v1/mcp"""

from __future__ import annotations

from tests.api.conftest import on_sqlite

pytestmark = on_sqlite
FILES = {"name": "Files", "config": {"command": "npx", "args": ["-y", "server", "/data"], "env": {"TOKEN": "${FILES}"}}}


def test_a_server_is_registered_and_waits_for_approval(api):
    answer = api.post("/v1/mcp", json=FILES)
    server = answer.json
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/mcp/files")
    assert (server["status"], server["status_reason"], server["managed"]) == ("configuring", "approval required", False)
    assert server["approval"]["argv"] == ["npx", "-y", "server", "/data"]
    assert (server["approval"]["state"], server["approval"]["env_names"]) == ("pending", ["TOKEN"])
    assert api.get("/v1/mcp").json == [api.get("/v1/mcp/files").json] == [server]
