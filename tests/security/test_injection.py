"""Security rules 5, 7, 10 and 11 at the API: text stays text in SQL, search, templates, paths and addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.paging import encode
from models import config, database, secrets
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.engine import Engine

SQL = ["' OR 1=1 --", "'; DROP TABLE runs; --", '" OR ""="', "\\'", "%", "_", "1) UNION SELECT hash FROM tokens --"]
SEARCHES = [
    *SQL,
    '"',
    "a* OR b*",
    "NEAR(a b)",
    "col:x",
    "(",
    ")",
    "-a",
    "^a",
    "a AND",
    "*x",
    "{a b}:c",
    "x" * 200,
    "&|!",
    "a:*",
]
PATHS = ["..", "%2e%2e", "..%2f..%2fetc", "%2fetc%2fpasswd", "a%00b", ".hidden", "x" * 300, "%E2%80%AE", "a%5c..%5cb"]
PRIVATE = [
    *("127.0.0.1", "localhost", "0.0.0.0", "0", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1."),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "user@127.0.0.1"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]"),
    *("x.localhost", "printer.local"),
]
LISTS = [
    *("/v1/runs?pipeline_id={}", "/v1/runs?project_id={}", "/v1/runs?agent_id={}", "/v1/runs?tag={}"),
    *("/v1/runs?schedule_id={}", "/v1/llm-calls?model={}", "/v1/llm-calls?session_id={}", "/v1/agents?q={}"),
    *(
        "/v1/lifecycle/timeline?agent_id={}",
        "/v1/lifecycle/timeline?session_id={}",
        "/v1/lifecycle/sessions?project_id={}",
    ),
    *("/v1/secrets?q={}", "/v1/audit?actor={}", "/v1/audit?object_id={}", "/v1/chat/sessions?agent_id={}"),
]
CURSORS = [
    *("/v1/runs", "/v1/llm-calls", "/v1/audit", "/v1/lifecycle/timeline", "/v1/lifecycle/sessions", "/v1/auth/tokens"),
    *("/v1/approvals", "/v1/chat/sessions", "/v1/auth/logins"),
]


@pytest.mark.parametrize("text", SQL)
def test_a_filter_is_a_value_and_never_sql(api, run_id, text):
    for path in LISTS:
        answer = api.get(path.split("?")[0], query_string={path.split("?")[1].split("=")[0]: text})
        assert answer.status_code == 200 and answer.json == [], path
    assert api.get(f"/v1/runs/{run_id}").status_code == 200


@pytest.mark.parametrize("text", SEARCHES)
def test_a_search_is_words_and_never_a_query_language(api, text):
    run_id = factories.run("Mend the fence")
    for path in ("/v1/runs", "/v1/chat/sessions"):
        answer = api.get(path, query_string={"q": text})
        assert answer.status_code in (200, 422), answer.json
        assert answer.status_code == 422 or run_id not in {found["id"] for found in answer.json}


@pytest.mark.parametrize("path", CURSORS)
def test_a_forged_cursor_is_refused_or_finds_nothing_more(api, run_id, path):
    for text in [*SQL, "1", "-1", "1.2.3", "99999999999999999999", "run_x", "1." + "x" * 1000]:
        for cursor in (text, encode(text.encode("ascii", "ignore").decode())):
            answer = api.get(path, query_string={"cursor": cursor, "limit": 1})
            assert answer.status_code in (200, 422), (path, cursor)


@on_sqlite
def test_no_list_takes_an_order_from_outside(api):
    for path in (*LISTS, "/v1/approvals?", "/v1/pipelines?"):
        assert api.get(path.split("?")[0], query_string={"sort": "id; DROP TABLE runs"}).status_code == 422, path


@pytest.mark.parametrize(
    "text", ["{{7*7}}", "{% for x in y %}{% endfor %}", "${7*7}", "{{ ''.__class__ }}", "<%= 7*7 %>", "#{7*7}"]
)
def test_a_template_in_a_task_stays_as_it_was_typed(api, settings, text):
    run = Engine("execute", {"EXECUTE": [text]}, task_description=text).finish()
    assert api.get(f"/v1/runs/{run.run_id}").json["task"] == text
    assert text in api.get(f"/v1/steps/{run.run_id}/EXECUTE").json["inputs"]["prompt"]
    assert api.get(f"/v1/steps/{run.run_id}/EXECUTE/output").json["raw_output"] == text


@on_sqlite
@pytest.mark.parametrize("name", PATHS)
def test_an_id_is_never_a_path(api, name):
    before = sorted(map(str, Path(config.get().data_dir).rglob("*")))
    for path in ("/v1/agents/{}", "/v1/agents/{}/config", "/v1/pipelines/{}", "/v1/pipelines/{}/raw", "/v1/runs/{}"):
        assert api.get(path.format(name)).status_code == 404, path
    assert api.put(f"/v1/agents/{name}/files/SOUL.md", json={"content": "x"}).status_code == 404
    assert api.put(f"/v1/agents/writer/files/{name}", json={"content": "x"}).status_code in (404, 422)
    assert api.post("/v1/agents", json={"id": name}).status_code == 422
    assert sorted(map(str, Path(config.get().data_dir).rglob("*"))) == before


@on_sqlite
@pytest.mark.parametrize("host", PRIVATE)
def test_a_webhook_never_leads_to_a_private_address(api, host):
    body = {"pipeline_id": "execute", "task": "x", "webhook_url": f"https://{host}/hook"}
    assert api.post("/v1/runs", json=body).status_code == 422


@on_sqlite
def test_a_webhook_is_https_and_nothing_else(api):
    for url in (
        "http://example.com",
        "file:///etc/passwd",
        "gopher://example.com",
        "//example.com",
        "https://",
        "javascript:x",
    ):
        assert api.post("/v1/runs", json={"pipeline_id": "execute", "task": "x", "webhook_url": url}).status_code == 422


@on_sqlite
def test_what_is_under_another_run_is_not_found(api, run_id):
    other = factories.run()
    factories.visit(other, "FIX")
    assert api.get(f"/v1/steps/{run_id}/{other}_FIX").status_code == 404
    assert api.get("/v1/runs?project_id=proj_of_others").json == []
    assert api.post("/v1/runs", json={"pipeline_id": "execute", "task": "x", "project_id": "proj_x"}).status_code == 404


def test_a_secret_typed_into_a_task_is_not_shown_with_the_step(api, settings):
    value = "correct horse battery staple"
    with database.transaction():
        secret = secrets.create("typed", value, secret_type="password")
        secrets.grant(secret, "writer", None)
    text = "id: two\nsteps:\n  - {id: A, agent: writer, input: 'Use {{task_description}}'}\n"
    run = Engine(text, task_description=f"the password is {value}").finish()
    for path in (f"/v1/steps/{run.run_id}/A", f"/v1/steps/{run.run_id}", f"/v1/runs/{run.run_id}/steps"):
        shown = api.get(path).text
        assert value not in shown and "[secret:typed]" in shown
