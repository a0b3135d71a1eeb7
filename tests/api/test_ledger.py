"""GET /v1/llm-calls and its summary."""

from __future__ import annotations

import pytest

from api.paging import encode
from api.resources.ledger import CallSchema, GroupSchema, SumsSchema
from models import database
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.engine import Engine

DAY_MS = 86_400_000
MIDNIGHT = 1_790_035_200_000  # 2026-09-22 00:00 UTC


def names(schema):
    return {field.data_key or name for name, field in schema().fields.items()}


def ids(answer):
    return [call["id"] for call in answer.json]


def keys(api, query):
    return [(group["key"], group["calls"]) for group in api.get(f"/v1/llm-calls/summary?{query}").json["groups"]]


# --- works ---


def test_a_call_shows_exactly_the_fields_of_its_schema(api, run_id):
    call_id = factories.call(run_id, step_key="FIX", epoch=1, attempt=2, turn=3, tries=2, raw_usage={"x": 1})
    call = api.get("/v1/llm-calls").json[0]
    assert call.keys() == names(CallSchema)
    assert (call["id"], call["step_id"], call["attempt"], call["turn"], call["try"]) == (call_id, "FIX", 2, 3, 2)
    assert (call["raw_usage"], call["cost_usd"], call["session_id"]) == ({"x": 1}, None, f"{run_id}_FIX")


def test_what_a_worker_writes_is_in_the_ledger(api, settings):
    run = Engine("execute", {"EXECUTE": [{"text": "ok", "usage": {"input_tokens": 7, "output_tokens": 5}}]}).finish()
    call = api.get(f"/v1/llm-calls?run_id={run.run_id}").json[0]
    place = (call["step_id"], call["provider"], call["model"], call["status"], call["agent_id"])
    assert place == ("EXECUTE", "scripted", "test", "ok", run.of("EXECUTE")[0].agent_id)
    assert (call["input_tokens"], call["output_tokens"]) == (7, 5)
    assert ids(api.get("/v1/llm-calls?pipeline_id=execute")) == [call["id"]]


def test_newest_calls_come_first_and_pages_join_without_gap_or_repeat(api):
    made = [factories.call(created_at=moment) for moment in (5, 6, 6, 6, 7)]
    url, seen = "/v1/llm-calls?limit=2", []
    while url:
        answer = api.get(url)
        seen += ids(answer)
        url = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert seen == made[::-1]


FILTERED = {
    "step_id=FIX": "a",
    "session_id=chat_1": "c",
    "agent_id=tester": "b",
    "pipeline_id=two": "ba",
    "project_id=proj_1": "b",
    "provider=anthropic": "b",
    "model=small": "ca",
    "status=error": "c",
    "status=ok&model=small": "a",
    "agent_id=nobody": "",
    "created_after=20": "cb",
    "created_before=20": "a",
}


def test_filters_join_by_and(api, run_id):
    owner = {"pipeline_id": "two", "created_at": 10}
    made = {
        factories.call(run_id, step_key="FIX", **owner): "a",
        factories.call(
            run_id,
            **owner | {"created_at": 20},
            agent_id="tester",
            project_id="proj_1",
            provider="anthropic",
            model="x",
        ): "b",
        factories.call(session_id="chat_1", status="error", created_at=30): "c",
    }
    found = {query: "".join(made[one] for one in ids(api.get(f"/v1/llm-calls?{query}"))) for query in FILTERED}
    assert found == FILTERED
    assert ids(api.get(f"/v1/llm-calls?session_id={run_id}_FIX")) == ids(api.get("/v1/llm-calls?step_id=FIX"))


def test_a_summary_adds_up_by_model(api):
    used = {"input_tokens": 10, "output_tokens": 1, "cache_read_tokens": 3, "duration_ms": 100}
    factories.call(**used, cost_usd=0.5)
    factories.call(**used | {"duration_ms": 300}, cost_usd=0.25)
    factories.call(model="large", status="error", duration_ms=50)
    answer = api.get("/v1/llm-calls/summary").json
    assert answer["total"].keys() == names(SumsSchema) and answer["groups"][0].keys() == names(GroupSchema)
    small = {"calls": 2, "errors": 0, "input_tokens": 20, "output_tokens": 2, "cache_read_tokens": 6}
    small |= {"key": "small", "cost_usd": 0.75, "unpriced_calls": 0, "avg_duration_ms": 200}
    assert answer["groups"][0] == small
    assert (answer["total"]["calls"], answer["total"]["errors"], answer["total"]["cost_usd"]) == (3, 1, 0.75)


def test_calls_without_a_known_price_are_counted(api):
    factories.call()
    factories.call(cost_usd=0)
    factories.call(status="error")
    assert api.get("/v1/llm-calls/summary").json["total"]["unpriced_calls"] == 1


def test_what_is_only_reserved_is_not_spent(api):
    factories.call(status="reserved", cost_usd=5, output_tokens=1000)
    assert api.get("/v1/llm-calls/summary").json["total"]["calls"] == 0
    assert api.get("/v1/llm-calls/summary?status=reserved").json["total"]["cost_usd"] == 5


@pytest.mark.parametrize("group", ["provider", "agent", "pipeline", "run"])
def test_sums_come_by_whatever_is_asked_for(api, run_id, group):
    columns = {"provider": "anthropic", "agent_id": "tester", "pipeline_id": "two"}
    factories.call(run_id, **columns, cost_usd=1)
    factories.call()
    expected = {"provider": "anthropic", "agent": "tester", "pipeline": "two", "run": run_id}[group]
    assert keys(api, f"group_by={group}") == [(expected, 1), ("openai" if group == "provider" else None, 1)]


def test_days_begin_where_the_time_zone_says(api):
    for moment in (MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY_MS - 60_000):
        factories.call(created_at=moment)
    assert keys(api, "group_by=day") == [("2026-09-22", 2), ("2026-09-21", 1)]
    assert keys(api, "group_by=day&timezone=Asia/Kathmandu") == [("2026-09-23", 1), ("2026-09-22", 2)]


def test_a_summary_takes_the_filters_of_the_list(api, run_id):
    factories.call(run_id, created_at=10)
    factories.call(created_at=20)
    assert keys(api, f"run_id={run_id}&group_by=run") == [(run_id, 1)]
    assert keys(api, "created_after=20&group_by=run") == [(None, 1)]


def test_the_most_expensive_groups_are_shown_and_the_total_is_of_all(api):
    with database.transaction():
        for number in range(1001):
            factories.call(model=f"m{number}", cost_usd=number)
    answer = api.get("/v1/llm-calls/summary").json
    assert [group["key"] for group in answer["groups"][:2]] == ["m1000", "m999"]
    assert (len(answer["groups"]), answer["total"]["calls"]) == (1000, 1001)


# --- bad input ---


@on_sqlite
@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "status=fine", "created_after=5&created_before=4", "foo=1", f"cursor={encode('run_x')}"),
        *(f"cursor={encode('5.llm_x')}", f"cursor={encode('x')}"),
    ],
)
def test_a_bad_query_is_refused(api, query):
    assert api.get(f"/v1/llm-calls?{query}").status_code == 422


@on_sqlite
@pytest.mark.parametrize("query", ["group_by=colour", "limit=5", "created_after=5&created_before=5"])
def test_a_bad_summary_is_refused(api, query):
    assert api.get(f"/v1/llm-calls/summary?{query}").status_code == 422


@on_sqlite
@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "Europe", "", "/etc/localtime"])
def test_a_time_zone_that_is_none_is_refused(api, name):
    answer = api.get("/v1/llm-calls/summary", query_string={"timezone": name})
    assert (answer.status_code, answer.json["code"]) == (422, "bad_timezone")


# --- cost ---


@on_sqlite
def test_a_page_walks_an_index_and_a_summary_reads_no_rows(api, monkeypatch):
    seen, execute = [], database.db.obj.execute_sql
    monkeypatch.setattr(
        database.db.obj, "execute_sql", lambda sql, *rest: seen.append((sql, rest)) or execute(sql, *rest)
    )
    pages = ["", *(f"?{name}=x" for name in ("agent_id", "pipeline_id", "project_id", "provider", "model"))]
    pages += ["?status=error", "?session_id=chat_1", "/summary", "/summary?agent_id=x"]
    for query in pages:
        seen.clear()
        assert api.get(f"/v1/llm-calls{query}").status_code == 200
        ((sql, rest),) = seen
        plan = [row[3] for row in execute(f"EXPLAIN QUERY PLAN {sql}", *rest).fetchall()]
        assert "INDEX llm_calls_" in plan[0], (query, plan)
        assert ("COVERING" in plan[0]) if "summary" in query else not any("TEMP B-TREE" in step for step in plan)
