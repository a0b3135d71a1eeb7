"""Health checks, the OpenAPI document, the page to read it, Dramatiq's dashboard."""

from __future__ import annotations

import re

import pytest

from tests.api import factories
from tests.api.conftest import on_sqlite

pytestmark = on_sqlite
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(anyone):
    return anyone.get("/openapi.json").json


def operations(document):
    for path, item in document["paths"].items():
        for method in item.keys() & METHODS:
            yield path, method, item[method]


def test_a_process_that_answers_is_healthy_and_one_with_a_database_is_ready(anyone):
    assert anyone.get("/healthz").json == {"status": "ok"}
    assert anyone.get("/readyz").json == {"status": "ok"}
    factories.lose_database()
    assert anyone.get("/healthz").status_code == 200
    assert anyone.get("/readyz").status_code == 503


def test_every_operation_is_named_after_its_view_and_explained(app, document):
    found = list(operations(document))
    ids = [operation["operationId"] for _, _, operation in found]
    assert len(ids) == len(set(ids)) == len(found)
    views = {getattr(view, "view_class", view).__name__ for view in app.view_functions.values()}
    assert {name.split(".")[0] for name in ids} <= views
    assert all(operation["summary"] and operation["x-scope"] for _, _, operation in found)


def test_every_route_below_v1_is_documented(app, document):
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/v1")]
    paths = {re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", r"{\1}", rule.rule) for rule in rules}
    assert paths == document["paths"].keys()


def test_every_operation_has_typed_errors_and_a_described_answer(document):
    for path, method, operation in operations(document):
        statuses = operation["responses"].keys()
        assert {"401", "403", "421", "default"} <= statuses, (method, path)
        assert any(status.startswith("2") for status in statuses), (method, path)
    answers = document["components"]["responses"].values()
    assert all("application/problem+json" in answer["content"] for answer in answers)


def test_every_body_and_the_main_answers_have_examples(document):
    for path, _, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in content, path


def test_the_document_is_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_the_document_says_that_what_need_not_be_given_may_be_null(document):
    schemas = document["components"]["schemas"]
    assert schemas["Reindex"]["properties"]["full"]["type"] == ["boolean", "null"]
    assert schemas["CreateTask"]["properties"]["title"]["type"] == "string"


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere(anyone, document):
    page = anyone.get("/docs")
    shown = [f'id="{operation["operationId"]}"' in page.text for _, _, operation in operations(document)]
    assert shown == ["x-alias" not in operation for _, _, operation in operations(document)]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page.text)
    assert "<script" not in page.text
    assert anyone.get("/docs/style.css").mimetype == "text/css"


def test_the_dashboard_is_for_admins_and_keeps_its_links_below_its_path(api, anyone):
    assert anyone.get("/dashboard/").status_code == 401
    page = api.get("/dashboard")
    assert page.status_code == 200
    assert "Dramatiq" in page.text
    assert "/dashboard/queues/runs/delayed" in api.get("/dashboard/queues/runs").text
    assert api.post("/dashboard/delete-message", data={"queue": "runs"}).status_code == 403
