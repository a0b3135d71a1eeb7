"""The supervisor's sessions: who may be open, for how long, how many, and what their ends mean."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from models import config, database, mcp, secrets, settings
from models.errors import ConfigError, Conflict, DjinnBotError
from models.mcp import McpServer
from tests import mcp_servers
from tests.api.conftest import on_sqlite
from workers import mcp as commands
from workers.mcp_sessions import Sessions, wanted

pytestmark = [on_sqlite, pytest.mark.usefixtures("store")]


def server(name: str, mode: str = "plain", approved: bool = True, **entry: Any) -> str:
    """A server of that id, which answers and means no ill."""
    with database.transaction():
        made = commands.create(name, mcp_servers.hostile(mode, name=name, **entry))
        if approved:
            commands.approve(made, made.approval["sha256"], "somebody")
    return name


def request(op: str, server_id: str, **body: Any) -> dict[str, Any]:
    row = mcp.find(server_id)
    return {"op": op, "server_id": server_id, "key": [row.generation, row.restart_wanted], **body}


def call(server_id: str) -> dict[str, Any]:
    return {"op": "call", "server_id": server_id, "tool": "echo", "arguments": {"a": 1}, "timeout": 5}


class Pool:
    """Sessions in a loop; `ask` answers a request as the supervisor does."""

    def __init__(self) -> None:
        self.alarms: list[str] = []
        self.sessions = Sessions(lambda *_: None, self.alarms.append)

    async def ask(self, given: dict[str, Any]) -> dict[str, Any]:
        return await self.sessions.answer(given)

    @property
    def open(self) -> list[str]:
        return sorted(self.sessions.open)

    async def settle(self) -> None:
        await self.sessions.settle(await asyncio.to_thread(wanted))


def run(play) -> Any:
    async def whole() -> Any:
        pool = Pool()
        try:
            return await play(pool)
        finally:
            await pool.sessions.close()

    return asyncio.run(whole())


def test_a_server_is_opened_once_and_called():
    server("a")

    async def play(pool: Pool) -> None:
        first, again = await pool.ask(request("list", "a")), await pool.ask(request("list", "a"))
        assert (first["opened"], again["opened"], [tool["name"] for tool in first["tools"]]) == (True, False, ["echo"])
        answer = await pool.ask(call("a"))
        assert answer["content"][0]["text"] == 'echo {"a": 1}'

    run(play)


def test_what_must_not_run_is_not_opened():
    server("a", approved=False)

    async def play(pool: Pool) -> None:
        with pytest.raises(Conflict, match="approval required"):
            await pool.ask(call("a"))
        assert pool.open == []

    run(play)


CHANGES = {
    "disabled": lambda row: commands.update(row, {"enabled": False}),
    "stopped": lambda row: commands.report_status(row, "stopped", None, managed=True),
    "changed": lambda row: commands.update(row, {"config": row.config | {"timeout": 9}}),
    "unapproved": lambda row: commands.update(row, {"sandbox": {"network": True}}),
    "restarted": commands.restart,
    "deleted": commands.remove,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_session_ends_with_what_it_was_opened_for(change):
    server("a")

    async def play(pool: Pool) -> None:
        await pool.ask(request("list", "a"))
        await pool.settle()
        assert pool.open == ["a"]
        with database.transaction():
            CHANGES[change](mcp.find("a"))
        await pool.settle()
        assert (pool.open, pool.alarms) == ([], [])

    run(play)


def test_programs_are_not_run_where_they_are_forbidden(setting):
    server("a")
    setting(MCP_STDIO_ENABLED="false")
    assert wanted() == {}


def test_an_idle_program_sleeps_until_the_next_call():
    server("a")
    with database.transaction():
        settings.update({"mcpIdleShutdownSec": 1})

    async def play(pool: Pool) -> None:
        await pool.ask(request("list", "a"))
        await pool.settle()
        assert pool.open == ["a"]
        pool.sessions.open["a"].used = time.monotonic() - 2
        await pool.settle()
        assert (pool.open, await pool.ask(request("check", "a"))) == ([], {"asleep": True})
        assert (await pool.ask(call("a")))["is_error"] is False
        assert pool.open == ["a"] and "asleep" not in await pool.ask(request("check", "a"))

    run(play)


def test_of_too_many_programs_the_longest_unused_one_sleeps(setting):
    for name in ("a", "b", "c"):
        server(name)
    setting(MCP_MAX_PROCESSES="2")

    async def play(pool: Pool) -> None:
        for name in ("a", "b"):
            await pool.ask(request("list", name))
        await pool.ask(call("a"))
        await pool.ask(request("list", "c"))
        assert pool.open == ["a", "c"]
        for used in pool.sessions.open.values():
            used.busy = 1
        with pytest.raises(DjinnBotError, match="MCP_MAX_PROCESSES"):
            await pool.ask(request("list", "b"))

    run(play)
    assert config.get().mcp_max_processes == 2


def test_a_slow_server_holds_up_no_other():
    server("slow", "hang", timeout=30)
    server("a")

    async def play(pool: Pool) -> None:
        waits = asyncio.create_task(pool.ask(request("list", "slow")))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(10):
            assert (await pool.ask(request("list", "a")))["opened"]
        assert not waits.done()
        waits.cancel()

    run(play)


def test_a_program_that_dies_raises_the_alarm_and_says_why_once():
    server("a", "crash_call")

    async def play(pool: Pool) -> None:
        await pool.ask(request("list", "a"))
        with pytest.raises(DjinnBotError, match="it ended with code 3"):
            await pool.ask(call("a"))
        assert (pool.open, pool.alarms) == ([], ["a"])
        with pytest.raises(DjinnBotError, match="it ended with code 3"):
            await pool.ask(request("check", "a"))
        assert (await pool.ask(request("check", "a")))["opened"]

    run(play)


def test_a_secret_is_filled_in_and_its_use_noted_once():
    server("a", "environment", env={"MINE": "x ${PLANTED}"})

    async def missing(pool: Pool) -> None:
        with pytest.raises(ConfigError, match="there is no secret PLANTED"):
            await pool.ask(call("a"))

    async def play(pool: Pool) -> str:
        await pool.ask(call("a"))
        return (await pool.ask(call("a")))["content"][0]["text"]

    run(missing)
    with database.transaction():
        secrets.create("planted", "the-planted-secret", secret_type="token")
    assert '"MINE": "x [secret:PLANTED]"' in run(play)
    uses = database.rows("SELECT actor FROM audit WHERE action = 'secret.use'")
    assert uses == [{"actor": "mcp:a"}] and McpServer.get().id == "a"
