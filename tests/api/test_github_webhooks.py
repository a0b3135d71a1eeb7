"""/v1/github/webhooks and /v1/github/deliveries"""

from __future__ import annotations

import pytest

from models import config, deliveries, outbox
from models.deliveries import Delivery
from tests import github
from tests.api import factories
from tests.github import closed, deliver, encode, heads, labeled
from workers import deliveries as workers

URL = "/v1/github/webhooks"


@pytest.fixture
def hook(settings, anyone):
    """A client that GitHub could be, with a secret configured."""
    settings.setenv("GITHUB_APP_WEBHOOK_SECRET", github.SECRET)
    config.get.cache_clear()
    return anyone


def process_all() -> None:
    """What a worker does with everything that waits."""
    for row in Delivery.select().where(Delivery.status == "queued"):
        workers.github_delivery(row.id)


def test_a_delivery_is_taken_and_waits_for_a_worker(hook, api):
    answer = deliver(hook, "issues", labeled())
    assert answer.status_code == 202 and answer.json["id"].startswith("dlv_")
    assert (answer.json["received"], answer.json["duplicate"], answer.json["status"]) == (True, False, "queued")
    assert (answer.json["event"], answer.json["action"]) == ("issues", "labeled")
    row = api.get(f"/v1/github/deliveries/{answer.json['id']}").json
    assert (row["repository"], row["sender"], row["installation_id"]) == ("octo/hello", "mona", 99)
    assert [box.actor for box in outbox.Outbox.select()] == ["github_delivery"]


def test_a_delivery_that_comes_again_is_the_first_one(hook):
    body = encode(labeled())
    sent = heads("issues", body)
    first, again = (hook.post(URL, data=body, headers=sent) for _ in range(2))
    process_all()
    late = hook.post(URL, data=body, headers=sent)
    assert (first.status_code, again.status_code, late.status_code) == (202, 200, 200)
    assert (again.json["duplicate"], again.json["id"], late.json["status"]) == (True, first.json["id"], "processed")
    assert Delivery.select().count() == 1


def test_after_seven_days_the_same_body_is_another_delivery(hook):
    payload = labeled()
    first = deliver(hook, "issues", payload).json["id"]
    week = deliveries.SAME_BODY_MS + 1
    Delivery.update(received_at=Delivery.received_at - week).execute()
    assert deliver(hook, "issues", payload).json["id"] != first
    assert Delivery.select().count() == 2


def test_what_has_failed_is_queued_again_when_it_comes_again(hook):
    payload = labeled()
    first = deliver(hook, "issues", payload).json["id"]
    Delivery.update(status="failed").execute()
    answer = deliver(hook, "issues", payload)
    assert (answer.status_code, answer.json["id"], answer.json["status"]) == (200, first, "queued")


def test_a_ping_is_answered_at_once(hook):
    answer = deliver(hook, "ping", {"zen": "Keep it logically awesome."})
    assert (answer.status_code, answer.json["status"]) == (200, "processed")
    assert outbox.Outbox.select().count() == 0


def test_what_nobody_listens_to_is_kept_and_ignored(hook, api):
    answer = deliver(hook, "watch", {"action": "started"})
    assert (answer.status_code, answer.json["status"]) == (202, "ignored")
    assert [row["event"] for row in api.get("/v1/github/deliveries?status=ignored").json] == ["watch"]


@pytest.mark.parametrize("header", ["X-GitHub-Event", "X-GitHub-Delivery"])
def test_a_delivery_says_what_it_is(hook, header):
    body = encode(labeled())
    sent = {name: value for name, value in heads("issues", body).items() if name != header}
    assert hook.post(URL, data=body, headers=sent).status_code == 400


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 100])
def test_a_delivery_is_a_json_object(hook, body):
    assert hook.post(URL, data=body, headers=heads("issues", body)).status_code == 400
    assert Delivery.select().count() == 0


def test_without_a_secret_nothing_is_taken(settings, anyone):
    answer = deliver(anyone, "issues", labeled())
    assert (answer.status_code, answer.json["code"]) == (503, "webhook_secret_missing")
    assert "Retry-After" in answer.headers


def test_without_a_database_github_is_told_to_come_again(hook):
    factories.lose_database()
    assert deliver(hook, "issues", labeled()).status_code == 503


def test_the_trailing_slash_makes_no_difference(hook):
    body = encode(labeled())
    assert hook.post(f"{URL}/", data=body, headers=heads("issues", body)).status_code == 202


def test_every_recorded_payload_is_accepted_and_processed(hook, api):
    found = github.examples()
    assert len(found) == 329
    answers = [deliver(hook, event, payload) for event, payload in found]
    assert {answer.status_code for answer in answers} <= {200, 202}
    process_all()
    statuses = {row.status for row in Delivery.select()}
    assert statuses <= {"processed", "ignored"}


def test_deliveries_are_listed_newest_first_in_pages_and_by_filters(hook, api):
    ids = [deliver(hook, "issues", labeled()).json["id"] for _ in range(3)]
    deliver(hook, "pull_request", closed(1, "x"))
    page = api.get("/v1/github/deliveries?event=issues&limit=2")
    assert [row["id"] for row in page.json] == ids[:0:-1]
    rest = api.get(page.headers["Link"].split(">")[0].strip("<"))
    assert [row["id"] for row in rest.json] == ids[:1]
    assert len(api.get("/v1/github/deliveries?repository=OCTO/hello&status=queued").json) == 4
    assert "body" not in page.json[0]


def test_a_replay_does_what_is_not_done_yet(hook, api):
    id = deliver(hook, "issues", labeled()).json["id"]
    assert api.post(f"/v1/github/deliveries/{id}/replay").json["code"] == "delivery_in_progress"
    process_all()
    first = api.get(f"/v1/github/deliveries/{id}").json["effects"]
    assert api.post(f"/v1/github/deliveries/{id}/replay").status_code == 202
    process_all()
    assert api.get(f"/v1/github/deliveries/{id}").json["effects"] == first
    api.post(f"/v1/github/deliveries/{id}/replay", json={"force": True})
    process_all()
    assert [effect["kind"] for effect in api.get(f"/v1/github/deliveries/{id}").json["effects"]] == ["skipped"]


def test_a_delivery_that_is_not_there_is_not_found(api):
    assert api.get("/v1/github/deliveries/dlv_x").json["code"] == "delivery_not_found"
    assert api.post("/v1/github/deliveries/dlv_x/replay").status_code == 404


def test_the_older_paths_lead_to_the_same(hook, api):
    body = encode(labeled())
    taken = hook.post("/v1/webhooks/github", data=body, headers=heads("issues", body))
    assert (taken.status_code, deliver(hook, "issues", {}).status_code) == (202, 202)
    assert hook.post("/v1/webhooks/github", data=body, headers=heads("issues", body, "x")).status_code == 401
    assert api.get("/v1/webhooks/events").json == api.get("/v1/github/deliveries").json != []
