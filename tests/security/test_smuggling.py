"""Requests that two servers would cut differently, sent to a real one: one request, one answer, or none."""

from __future__ import annotations

import socket

import pytest

from tests.api.conftest import TOKEN, Server, forget

HEAD = (
    f"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
)
HIDDEN = "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
REFUSED = {
    "both lengths": "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "a sign": f"Content-Length: +{len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "a negative length": f"Content-Length: -1\r\n\r\n{HIDDEN}",
    "an odd coding": f"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a blank before the colon": f"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a folded header": f"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "two codings": f"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a bad chunk size": f"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{HIDDEN}",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATA_DIR", str(tmp_path_factory.mktemp("data")))
        environment.setenv("API_TOKEN", TOKEN)
        forget()
        running = Server()
        yield running
        running.stop()
    forget()


def sent(server: Server, text: str) -> bytes:
    """All that the server answers until it closes or is silent."""
    found = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=2) as connection:
        connection.sendall(text.encode("latin-1"))
        try:
            while part := connection.recv(65_536):
                found += part
        except TimeoutError:
            pass
    return found


@pytest.mark.parametrize("rest", REFUSED.values(), ids=REFUSED)
def test_a_request_whose_end_is_in_doubt_hides_no_second_one(server, rest) -> None:
    answer = sent(server, HEAD + rest)
    assert b'"redis_connected"' not in answer, answer
    assert b" 201 " not in answer and b" 200 " not in answer


def test_two_whole_requests_on_one_connection_are_two(server) -> None:
    answer = sent(server, HIDDEN + HIDDEN)
    assert answer.count(b'"redis_connected"') == 2


def test_no_route_before_the_gate_by_an_absolute_target(server) -> None:
    for target in (
        "http://localhost/v1/runs",
        "//v1/runs",
        "/v1/../v1/runs",
        "/docs/../v1/runs",
        "/healthz/../v1/runs",
    ):
        answer = sent(server, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 401 " in answer or b" 400 " in answer or b" 404 " in answer, (target, answer[:200])


def test_a_foreign_host_in_the_target_is_refused(server) -> None:
    text = f"GET http://evil.test/v1/runs HTTP/1.1\r\nHost: evil.test\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    assert b" 421 " in sent(server, text)


def test_headers_of_streams_and_of_errors_are_protective(server) -> None:
    head = f"GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    for text in (head, head.replace(TOKEN, "x"), HIDDEN):
        answer = sent(server, text).lower()
        assert b"x-content-type-options: nosniff" in answer and b"cache-control: no-store" in answer
        assert b"frame-ancestors 'none'" in answer and b"referrer-policy: no-referrer" in answer
