"""Tools of MCP servers as an agent has them."""

from __future__ import annotations

import re
import time

import pytest

from models import database, runs, taint
from models.mcp_grants import Offer
from pipelines import arguments
from tests.api import factories
from workers.agent.toolbox import Toolbox
from workers.tools import mcp
from workers.tools.base import Context

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


def offer(name: str = "read", server: str = "files", by_name: bool = False, **hints: bool) -> Offer:
    return Offer(server, server.title(), name, f"Does {name}.", SCHEMA, hints, "", 30, by_name)


def effects(*offers: Offer) -> dict[str, str]:
    return {tool.name: tool.effect for tool in mcp.tools(offers)}


# --- names ---


@pytest.mark.parametrize("name", ["read", "a.b", "ü" * 128, "x" * 128, "a/b", "a b"])
def test_every_provider_takes_the_name_of_a_tool(name):
    found = mcp.tool_name(offer(name, "s" * 64))
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found) and found == mcp.tool_name(offer(name, "s" * 64))


def test_different_tools_have_different_names():
    tools = [offer(name, server) for name in ("a.b", "a_b", "a/b", "a" * 128, "a" * 127) for server in ("s", "s" * 64)]
    assert len({mcp.tool_name(each) for each in tools}) == len(tools)
    assert mcp.tool_name(offer()) == "files__read"


# --- what a server says of its tools ---


def test_only_a_tool_that_says_so_is_repeated_after_a_crash():
    found = effects(
        offer("a"), offer("b", readOnlyHint=True), offer("c", idempotentHint=True), offer("d", destructiveHint=True)
    )
    assert found == {"files__a": "unsafe", "files__b": "idempotent", "files__c": "idempotent", "files__d": "unsafe"}


def test_what_destroys_asks_a_person_unless_it_was_granted_by_name():
    offers = [offer("a", destructiveHint=True), offer("b", by_name=True, destructiveHint=True), offer("c")]
    assert Toolbox((), tuple(mcp.asks(offers)), mcp.tools(offers)).asks == {"files__a"}


# --- many tools ---

MANY = [*(offer(f"tool{number}") for number in range(40)), offer("wipe", destructiveHint=True)]


def test_forty_tools_are_shown_and_more_are_searched():
    assert len(mcp.tools(MANY[:40])) == 40
    assert list(effects(*MANY)) == ["mcp_search", "mcp_call", "mcp_call_asking"]
    assert Toolbox((), tuple(mcp.asks(MANY)), mcp.tools(MANY)).asks == {"mcp_call_asking"}
    assert list(effects(*MANY[:40], offer("more"))) == ["mcp_search", "mcp_call"]


def test_a_search_says_how_to_call_what_it_finds(tmp_path):
    search = mcp.tools(MANY)[0]
    assert search.call(Context(tmp_path), {"query": "wipe"}).startswith("files__wipe (call it with mcp_call_asking)")
    assert search.call(Context(tmp_path), {"query": "tool7"}).startswith("files__tool7 (call it with mcp_call)")
    assert search.call(Context(tmp_path), {"query": "zebra"}) == "No tool fits."


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": "files__wipe", "arguments": {"path": "x"}}, "mcp_call has no"),
        ({"name": "files__tool1"}, "'path' is a required property"),
        ({"name": "files__tool1", "arguments": {"path": 1}}, "is not of type"),
    ],
)
def test_a_call_of_a_found_tool_is_checked_like_any_other(tmp_path, given, why):
    with pytest.raises(mcp.ToolError, match=why):
        mcp.tools(MANY)[1].call(Context(tmp_path), given)


# --- schemas from outside ---


def test_arguments_are_checked_and_explained():
    assert arguments.problems(SCHEMA, {"path": "x"}) == []
    assert arguments.problems(SCHEMA, {"path": 1}) == ["$.path: 1 is not of type 'string'"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"pattern": "^(a+)+$"}}},
        {"patternProperties": {"^(x+)+y$": {}}},
        {"$ref": "#/$defs/d0", "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}},
        {"$ref": "#"},
    ],
)
def test_no_schema_keeps_us_busy(schema):
    began = time.monotonic()
    arguments.problems(schema, {"x": "a" * 40 + "!", "x" * 40: 1})
    assert time.monotonic() - began < 3


def test_a_schema_without_a_bottom_is_broken_and_siblings_do_not_count_as_depth():
    assert "deeper than 100" in arguments.problems({"$ref": "#"}, {"x": 1})[0]
    wide = {"properties": {f"p{n}": {"type": "string"} for n in range(300)}}
    assert arguments.problems(wide, {f"p{n}": "x" for n in range(300)}) == []


def test_a_reference_elsewhere_is_not_followed():
    assert "schema is broken" in arguments.problems({"$ref": "http://127.0.0.1:1/x"}, {})[0]


# --- taint ---


def test_a_result_taints_the_run_and_the_first_reason_stays(store):
    run_id = factories.run()
    with database.transaction():
        for why in ("first", "second"):
            taint.mark(run_id, why)
    assert runs.get(run_id).tainted_by == "first"
