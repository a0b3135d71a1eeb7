"""An MCP server that wants a login: a person is sent there, comes back, and tokens are refreshed before they end."""

from __future__ import annotations

import subprocess
import sys
import time

import httpx
import pytest

from api.client import ApiError
from tests import mcp_servers
from tests.platform import Platform, free_port, running, wait_for

SERVER = mcp_servers.ROOT / "tests" / "fixtures" / "mcp" / "login_server.py"
BROWSER = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


@pytest.fixture(scope="module")
def port():
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SERVER), str(port)])
    wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/.well-known/oauth-authorization-server").raise_for_status())
    yield port
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def platform(tmp_path_factory, port):
    yield from running(tmp_path_factory.mktemp("platform"), EGRESS_ALLOW=f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
def guarded(platform, port):
    config = {"type": "http", "url": f"http://127.0.0.1:{port}/mcp"}
    return platform.client.post("/v1/mcp", {"name": "guarded", "config": config})["id"]


def sent_back(platform: Platform, guarded: str) -> str:
    """Where the server's page sends a person who has logged in."""
    begun = platform.client.post(f"/v1/mcp/{guarded}/oauth/start")
    answer = httpx.get(begun["authorization_url"], headers=BROWSER)
    assert answer.status_code == 302
    return answer.headers["Location"]


def call(platform: Platform, guarded: str) -> str:
    return platform.client.post(f"/v1/mcp/{guarded}/tools/tokens/call", {"arguments": {}})["content"][0]["text"]


def test_a_server_that_wants_a_login_says_so(platform, guarded):
    assert "401" in mcp_servers.failed(platform.client, guarded)


def test_who_comes_back_with_the_state_has_logged_the_server_in(platform, guarded):
    back = sent_back(platform, guarded)
    assert httpx.get(back, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403  # a page, not a person
    landed = httpx.get(back, headers=BROWSER)
    assert (landed.status_code, landed.text.split(".")[0]) == (200, "You are logged in")
    mcp_servers.running(platform.client, guarded)
    assert call(platform, guarded) == "1"
    assert httpx.get(back, headers=BROWSER).json()["code"] == "oauth_unknown_state"


def test_a_token_is_refreshed_before_it_ends_even_by_a_new_supervisor(platform, guarded):
    time.sleep(1.5)
    assert int(call(platform, guarded)) >= 2
    platform.kill(platform.named("relay")[0])
    platform.start("relay")

    def again() -> None:
        assert int(call(platform, guarded)) >= 3

    wait_for(again, 40)


def test_no_token_is_left_but_as_ciphertext(platform, guarded):
    stored = b"".join(path.read_bytes() for path in platform.folder.glob("*.sqlite3*"))
    assert b"mcp_logins" in stored and b"access_token" not in stored and b"refresh_token" not in stored


def test_a_state_that_nobody_was_sent_with_is_refused(platform, guarded):
    answer = httpx.get(f"{platform.client.base_url}/v1/mcp/oauth/callback?state=x&code=y", headers=BROWSER)
    assert (answer.status_code, answer.json()["code"]) == (409, "oauth_unknown_state")


def test_a_program_has_no_login(platform):
    server = mcp_servers.register(platform.client, mcp_servers.hostile("plain"))
    with pytest.raises(ApiError, match="is a program"):
        platform.client.post(f"/v1/mcp/{server}/oauth/start")
