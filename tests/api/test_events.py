"""GET /v1/runs/{id}/events, tickets, and what a stream refuses before it begins."""

from __future__ import annotations

import pytest

from models import tokens
from models.tokens import Ticket
from tests.api import factories


@pytest.fixture
def url(run_id):
    factories.emit(run_id, "run_started", "step_queued", "step_started", "agent_output", text="a\r\n\u2028b")
    return f"/v1/runs/{run_id}/events"


@pytest.fixture
def reader():
    return tokens.create("reader", "read")[1]


def numbers(answer):
    return [event["seq"] for event in answer.json]


# --- the log ---


def test_the_log_is_the_events_oldest_first(api, url, run_id):
    events = api.get(url).json
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert events[0]["type"] == "run_created"
    assert (events[0]["run_id"], events[0]["step_id"]) == (run_id, None)


def test_the_log_is_read_in_pages_and_from_a_number_on(api, url):
    first = api.get(f"{url}?limit=2")
    second = api.get(first.headers["Link"].partition(">")[0].lstrip("<"))
    assert (numbers(first), numbers(second)) == ([1, 2], [3, 4])
    assert numbers(api.get(f"{url}?after_seq=4")) == [5]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("types=step_*", [3, 4]), ("types=run_created,agent_output", [1, 5]), ("epoch=2", []), ("step_id=FIX", [])],
)
def test_the_log_can_be_filtered(api, url, query, expected):
    assert numbers(api.get(f"{url}?{query}")) == expected


@pytest.mark.parametrize("query", ["after_seq=-1", "cursor=YQ", "limit=0", "types=", "foo=1", "epoch=x"])
def test_a_bad_log_query_is_refused(api, url, query):
    assert api.get(f"{url}?{query}").status_code == 422


def test_the_log_of_an_unknown_run_is_not_found(api):
    assert api.get("/v1/runs/run_x/events").json["code"] == "run_not_found"


# --- tickets ---


def ticket(api, secret, **body):
    sent = {"Authorization": f"Bearer {secret}"}
    return api.post("/v1/events/tickets", json=body, headers=sent)


def test_a_ticket_opens_one_stream_once(api, anyone, run_id, reader):
    issued = ticket(api, reader, run_id=run_id)
    assert issued.status_code == 201
    url = f"/v1/events/stream?run_id={run_id}&ticket={issued.json['ticket']}"
    assert anyone.head(url).status_code == 200
    again = anyone.head(url)
    assert again.status_code == 401
    assert anyone.get(url).json["code"] == "ticket_invalid"


def test_a_ticket_is_bound_to_its_stream(api, anyone, run_id, reader):
    issued = ticket(api, reader, run_id=run_id).json["ticket"]
    other = factories.run()
    assert anyone.get(f"/v1/events/stream?run_id={other}&ticket={issued}").status_code == 403


def test_a_ticket_opens_nothing_but_streams(api, anyone, reader):
    issued = ticket(api, reader).json["ticket"]
    assert anyone.get(f"/v1/runs?ticket={issued}").status_code == 401


def test_a_ticket_expires_and_dies_with_its_token(api, anyone, reader):
    issued = ticket(api, reader).json["ticket"]
    Ticket.update(expires_at=1).execute()
    assert anyone.get(f"/v1/events/stream?ticket={issued}").json["code"] == "ticket_invalid"
    issued = ticket(api, reader).json["ticket"]
    tokens.Token.update(revoked_at=1).execute()
    assert anyone.get(f"/v1/events/stream?ticket={issued}").json["code"] == "ticket_invalid"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"run_id": "run_x"}, "run_not_found"),
        ({"session_id": "chat_x"}, "session_not_found"),
        ({"run_id": "run_x", "session_id": "y"}, "validation_error"),
        ({"project": "x"}, "validation_error"),
    ],
)
def test_a_ticket_for_nothing_is_refused(api, reader, body, code):
    assert ticket(api, reader, **body).json["code"] == code


# --- what a stream refuses ---


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("run_id=run_x", "run_not_found"),
        ("session_id=chat_x", "session_not_found"),
        ("session_id=run_x_FIX", "session_not_found"),
        ("run_id=a&session_id=b", "validation_error"),
        ("last_event_id=-1", "bad_last_event_id"),
        ("last_event_id=1.5", "bad_last_event_id"),
        ("history=0", "validation_error"),
        ("history=1001", "validation_error"),
        ("history=some", "validation_error"),
        ("foo=1", "validation_error"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(api, query, code):
    assert api.get(f"/v1/events/stream?{query}").json["code"] == code


def test_a_session_of_a_step_that_is_not_in_the_pipeline_is_not_found(api, run_id):
    assert api.get(f"/v1/events/stream?session_id={run_id}_NOPE").json["code"] == "session_not_found"


def test_the_header_wins_over_the_query(api, run_id):
    answer = api.get(f"/v1/events/stream?run_id={run_id}&last_event_id=1", headers={"Last-Event-ID": "x"})
    assert answer.json["code"] == "bad_last_event_id"


def test_a_run_that_is_over_has_nothing_more_to_say(api, run_id):
    last = factories.finish(run_id)
    url = f"/v1/events/stream?run_id={run_id}"
    assert api.get(url, headers={"Last-Event-ID": str(last)}).status_code == 204
    factories.set_status(run_id, "pending", epoch=2)
    assert api.head(url, headers={"Last-Event-ID": str(last)}).status_code == 200
