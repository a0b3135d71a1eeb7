"""Event streams over a real server: history, resume, end, gaps, filters, Redis away, slow readers."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import orjson
import pytest
import redis as redis_client

from models import database, events, tokens
from models.tokens import Token
from tests.api import factories
from tests.api.conftest import AUTH, Server
from tests.api.sse_client import ids, stream, take, until

TYPES = ("run_started", "step_queued", "step_started", "agent_output", "step_complete")


def delete_events(run_id: str, *numbers: int) -> None:
    with database.transaction():
        for number in numbers:
            database.execute("DELETE FROM events WHERE stream = ? AND seq = ?", (run_id, number))


def number_events() -> None:
    """As the relay does, without telling anybody."""
    with database.transaction():
        events.assign_positions()


@pytest.fixture
def run_id(server):
    return factories.run()


# --- works ---


def test_a_stream_is_history_then_what_comes_then_the_end(server, run_id):
    with stream(server, run_id=run_id) as opened:
        opening = next(opened)
        assert opening.raw == "retry: 2000\n: keep-alive"
        history = until(opened, "ready")
        assert (ids(history), history[-1].data) == ([1], {"type": "ready", "head": 1})
        factories.emit(run_id, *TYPES)
        assert ids(take(opened, 5)) == [2, 3, 4, 5, 6]
        factories.finish(run_id)
        end = until(opened, "end")
        assert [frame.event for frame in end] == ["run_complete", "end"]
        assert end[-1].data == {"type": "end", "status": "completed"}
        assert next(opened, None) is None


def test_the_joined_frames_are_the_log(server, run_id):
    factories.emit(run_id, *TYPES, text="CR\r LF\n two\n\n sep\u2028\u2029 \x07 🙂")
    factories.finish(run_id)
    with stream(server, run_id=run_id) as opened:
        frames = until(opened, "end")
    data = [frame.data for frame in frames if frame.id is not None]
    assert data == httpx.get(f"{server.url}/v1/runs/{run_id}/events", headers=AUTH).json()
    assert all(frame.raw.splitlines() == frame.raw.split("\n") for frame in frames)
    assert [frame.event for frame in frames if frame.id is not None] == [event["type"] for event in data]


def test_the_headers_say_that_nobody_may_keep_or_buffer_it(server, run_id):
    with httpx.stream("GET", f"{server.url}/v1/events/stream?run_id={run_id}", headers=AUTH) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"


def test_events_arrive_within_a_fraction_of_a_second(server, run_id):
    with stream(server, run_id=run_id) as opened:
        until(opened, "ready")
        time.sleep(0.3)
        began = time.monotonic()
        factories.emit(run_id, "run_started")
        take(opened, 1)
        assert time.monotonic() - began < 0.5


def test_the_events_of_other_runs_are_absent(server, run_id):
    with stream(server, run_id=run_id) as opened:
        until(opened, "ready")
        factories.emit(factories.run(), *TYPES)
        factories.emit(run_id, "run_started")
        (frame,) = take(opened, 1)
        assert frame.data["run_id"] == run_id


# --- resume ---


def test_a_stream_resumes_at_every_number(server, run_id):
    factories.emit(run_id, *TYPES)
    last = factories.finish(run_id)
    for seen in range(last):
        with stream(server, run_id=run_id, last=seen) as opened:
            assert ids(until(opened, "end")) == list(range(seen + 1, last + 1))
    answer = httpx.get(f"{server.url}/v1/events/stream?run_id={run_id}&last_event_id={last}", headers=AUTH)
    assert answer.status_code == 204


def test_nothing_is_lost_or_doubled_while_events_are_written(server, run_id):
    writer = threading.Thread(target=lambda: [factories.emit(run_id, "agent_output") for _ in range(150)])
    writer.start()
    seen: list[int] = []
    while len(seen) < 151:
        with stream(server, run_id=run_id, last=seen[-1] if seen else None) as opened:
            seen += ids(take(opened, min(20, 151 - len(seen))))
    writer.join()
    assert seen == list(range(1, 152))


def test_a_stream_resumes_over_the_crash_of_the_server(server, run_id):
    factories.emit(run_id, *TYPES)
    with stream(server, run_id=run_id) as opened:
        seen = ids(take(opened, 3))
        server.kill()
    factories.emit(run_id, "agent_output")
    server.start()
    with stream(server, run_id=run_id, last=seen[-1]) as opened:
        assert seen + ids(until(opened, "ready")) == list(range(1, 8))


def test_a_restarted_run_goes_on_after_its_last_end(server, run_id):
    last = factories.finish(run_id)
    factories.set_status(run_id, "pending", epoch=2)
    with stream(server, run_id=run_id, last=last) as opened:
        until(opened, "ready")
        factories.emit(run_id, "run_restarted")
        assert ids(take(opened, 1)) == [last + 1]


# --- gaps ---


def test_a_trimmed_beginning_is_a_gap_first(server, run_id):
    factories.emit(run_id, *TYPES)
    delete_events(run_id, 1, 2, 3)
    with stream(server, run_id=run_id) as opened:
        frames = until(opened, "ready")[1:]
    assert frames[0].data == {"type": "gap", "from_seq": 1, "to_seq": 3, "reason": "trimmed"}
    assert (frames[0].id, ids(frames)) == (None, [4, 5, 6])


def test_a_hole_in_the_middle_and_at_the_end_is_a_gap(server, run_id):
    factories.emit(run_id, *TYPES)
    delete_events(run_id, 3, 6)
    with stream(server, run_id=run_id) as opened:
        frames = until(opened, "ready")
    gaps = [(frame.data["from_seq"], frame.data["to_seq"]) for frame in frames if frame.event == "gap"]
    assert (gaps, ids(frames)) == ([(3, 3), (6, 6)], [1, 2, 4, 5])


def test_an_id_from_the_future_is_a_gap_then_live(server, run_id):
    with stream(server, run_id=run_id, last=99) as opened:
        gap = until(opened, "ready")[1]
        assert gap.data == {"type": "gap", "from_seq": 2, "to_seq": 99, "reason": "ahead"}
        factories.emit(run_id, "run_started")
        assert ids(take(opened, 1)) == [2]


@pytest.mark.parametrize(("history", "expected"), [("none", []), ("2", [5, 6]), ("all", [1, 2, 3, 4, 5, 6])])
def test_history_can_be_left_out_or_cut(server, run_id, history, expected):
    factories.emit(run_id, *TYPES)
    with stream(server, run_id=run_id, history=history) as opened:
        frames = until(opened, "ready")
    assert ids(frames) == expected
    assert not [frame for frame in frames if frame.event == "gap"]


# --- filters ---


def test_types_leave_events_out_without_calling_it_a_gap(server, run_id):
    factories.emit(run_id, *TYPES)
    factories.finish(run_id)
    with stream(server, run_id=run_id, types="step_*,run_created") as opened:
        frames = until(opened, "end")
    events = [frame.event for frame in frames[1:]]
    assert events == ["run_created", "step_queued", "step_started", "step_complete", "ready", "end"]


def test_the_session_of_a_step_is_its_part_of_the_run(server, run_id):
    event = events.Event("agent_output", run_id=run_id, session_id=f"{run_id}_FIX", payload={"text": "x", "turn": 1})
    factories.record(run_id, event)
    factories.emit(run_id, "run_started")
    with stream(server, session_id=f"{run_id}_FIX") as opened:
        assert ids(until(opened, "ready")) == [2]


@pytest.mark.parametrize("query", [{"pipeline_id": "two"}, {"tag": "x"}, {"project_id": "proj_1"}, {"agent_id": "dev"}])
def test_the_global_stream_is_numbered_by_position_and_filtered(server, query):
    other = factories.run(pipeline_id="other")
    run_id = factories.run(tags=("x",), project_id="proj_1")
    number_events()
    before = events.head_position()
    with stream(server, **query) as opened:
        assert ids(until(opened, "ready")) == []
        factories.emit(other, "run_started")
        factories.record(run_id, events.Event("run_started", run_id=run_id, agent_id="dev"))
        number_events()
        (frame,) = take(opened, 1)
    assert (frame.data["run_id"], frame.data["seq"]) == (run_id, 2)
    assert before < frame.id <= before + 2


# --- Redis ---


def test_without_redis_a_stream_is_slower_but_whole(run_id):
    alone = Server(REDIS_URL="redis://127.0.0.1:1")
    try:
        with stream(alone, run_id=run_id) as opened:
            until(opened, "ready")
            began = time.monotonic()
            factories.emit(run_id, *TYPES)
            assert ids(take(opened, 5)) == [2, 3, 4, 5, 6]
            assert time.monotonic() - began < 2.5
    finally:
        alone.stop()


def test_a_stream_survives_the_loss_and_the_return_of_redis(run_id, redis):
    own = Server(REDIS_URL=redis.url)
    try:
        with stream(own, run_id=run_id) as opened:
            until(opened, "ready")
            redis.stop()
            factories.emit(run_id, "run_started")
            assert ids(take(opened, 1)) == [2]
            redis.start()
            channel = f"events:{run_id}"
            client = redis_client.Redis(port=redis.port)
            while not dict(client.pubsub_numsub(channel))[channel.encode()]:
                time.sleep(0.05)
            client.flushall()
            client.publish(channel, orjson.dumps([[3, "step_queued", '{"seq":3}']]))
            assert ids(take(opened, 1)) == [3]
            client.close()
    finally:
        own.stop()


def test_a_channel_is_left_after_its_last_reader(run_id, redis):
    own, client, channel = Server(REDIS_URL=redis.url), redis_client.Redis(port=redis.port), f"events:{run_id}"
    readers = lambda: dict(client.pubsub_numsub(channel))[channel.encode()]  # noqa: E731
    try:
        with stream(own, run_id=run_id) as first, stream(own, run_id=run_id) as second:
            until(first, "ready"), until(second, "ready")
            deadline = time.monotonic() + 5
            while readers() != 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert readers() == 1
        while readers() and time.monotonic() < deadline + 30:
            factories.emit(run_id, "agent_output")
            time.sleep(0.1)
        assert readers() == 0
    finally:
        client.close()
        own.stop()


# --- limits ---


def test_stalled_readers_are_cut_off_and_delay_nobody(server, run_id):
    secrets = [tokens.create(f"t{n}", "read")[1] for n in range(3)]
    with ExitStack() as stack, stream(server, run_id=run_id) as opened:
        stalled = [stack.enter_context(stalling(server, run_id, secrets[n // 20])) for n in range(50)]
        until(opened, "ready")
        began = time.monotonic()
        for number in range(2, 32):
            factories.emit(run_id, "agent_output", text="x" * 200_000)
            assert ids(take(opened, 1)) == [number]
        assert time.monotonic() - began < 10
        assert all(drained(connection) < 30 * 200_000 for connection in stalled)


@contextmanager
def stalling(server, run_id: str, secret: str):
    """A client that reads nothing more once it is live."""
    request = (
        f"GET /v1/events/stream?run_id={run_id} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"
    )
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(request.encode())
        connection.settimeout(10)
        seen = b""
        while b"event: ready" not in seen:
            seen += connection.recv(1024)
            assert b"too_many_streams" not in seen
        yield connection


def drained(connection: socket.socket) -> int:
    """How many bytes came before the server closed."""
    total = 0
    try:
        while chunk := connection.recv(1 << 16):
            total += len(chunk)
    except ConnectionResetError:
        return total
    return total


def test_a_token_has_twenty_streams(server, run_id):
    secret = tokens.create("t", "read")[1]
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(stalling(server, run_id, secret))
        sent = {"Authorization": f"Bearer {secret}"}
        refused = httpx.get(f"{server.url}/v1/events/stream?run_id={run_id}", headers=sent)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert refused.headers["Retry-After"]


def test_clients_that_hang_up_make_room_at_once(server, run_id):
    secret = tokens.create("t", "read")[1]
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(stalling(server, run_id, secret))
        time.sleep(2.5)


def test_the_stream_of_a_revoked_token_is_closed_within_a_minute(server, run_id):
    secret = tokens.create("t", "read")[1]
    with stream(server, run_id=run_id, headers={"Authorization": f"Bearer {secret}"}, timeout=60) as opened:
        until(opened, "ready")
        assert next(opened).raw == ": keep-alive"
        Token.update(revoked_at=1).execute()
        began = time.monotonic()
        rest = list(opened)
    assert time.monotonic() - began < 60
    assert not [frame for frame in rest if frame.event == "end"]


def test_an_idle_stream_holds_no_connection_to_the_database(server, run_id):
    secret = tokens.create("t", "read")[1]
    with ExitStack() as stack, stream(server, run_id=run_id) as opened:
        until(opened, "ready")
        before = open_connections(server)
        for _ in range(15):
            stack.enter_context(stalling(server, run_id, secret))
        time.sleep(0.5)
        assert open_connections(server) <= before + 3


def open_connections(server) -> int:
    """Files and sockets of the server's worker that are not connections of clients."""
    worker = server.worker()
    links = [str(path.readlink()) for path in Path(f"/proc/{worker}/fd").iterdir()]
    table = Path(f"/proc/{worker}/net/tcp").read_text()
    clients = {f"socket:[{line.split()[9]}]" for line in table.splitlines() if f":{server.port:04X} " in line}
    return len([link for link in links if link not in clients])


def test_a_server_with_open_streams_stops_within_three_seconds(run_id):
    running = Server()
    with stream(running, run_id=run_id) as opened:
        until(opened, "ready")
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 3
        assert not [frame for frame in opened if frame.event == "end"]
