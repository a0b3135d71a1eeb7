"""The way out (security, rule 7)."""

from __future__ import annotations

import gzip
import ipaddress
import socket
import ssl
import threading
import time

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import ip_addresses
from models.errors import Forbidden, TooLarge, Unavailable
from tests.workers.clients.double import Double, Reply
from workers.clients import http, transport

PRIVATE = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0/",
    "http://0.0.0.0/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://localhost/",
    "http://LOCALHOST:8000/",
    "http://10.0.0.1/",
    "http://172.16.5.4/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data",
    "http://100.64.0.1/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[ff02::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_no_spelling_of_a_private_address_is_called(url):
    with pytest.raises(Forbidden, match="not a public address"):
        http.check(url)
    with pytest.raises(Forbidden, match="not a public address"):
        http.request("GET", url, timeout=2)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/", "gopher://x/", "//x/", "x", "", "http://", "http://a:b@x.test/"]
)
def test_only_plain_http_urls_are_called(url):
    with pytest.raises(Forbidden):
        http.check(url)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"])
def test_public_addresses_are_public(address):
    assert ip_addresses.is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4, network="10.0.0.0/8"))
def test_a_private_address_stays_private_inside_of_another(address):
    number = int(address)
    for prefix in (0xFFFF << 32, 0x64FF9B << 96, 0):
        assert not ip_addresses.is_public(ipaddress.IPv6Address(prefix | number))
    assert not ip_addresses.is_public(ipaddress.IPv6Address(0x2002 << 112 | number << 80))


def test_the_operator_lets_a_place_through(allowed):
    allowed.says(Reply(chunks=[b"hi"]))
    assert http.check(allowed.url).port == allowed.server.server_port
    assert http.request("GET", allowed.url).content == b"hi"


def test_another_port_of_that_host_stays_closed(allowed):
    with pytest.raises(Forbidden):
        http.request("GET", "http://127.0.0.1:9/")


def test_another_name_of_that_host_stays_closed(allowed):
    with pytest.raises(Forbidden):
        http.request("GET", allowed.url.replace("127.0.0.1", "localhost"))


def test_the_address_that_was_checked_is_the_one_called(allowed, monkeypatch):
    """A name that answers something else the second time gains nothing: there is no second time."""
    asked = []
    answers = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: (asked.append(a[0]), answers(*a, **k))[1])
    allowed.says(Reply(chunks=[b"x"]))
    http.request("GET", allowed.url)
    assert asked == ["127.0.0.1"]


def test_a_name_with_one_private_address_is_refused(monkeypatch):
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: both)
    with pytest.raises(Forbidden):
        http.check("http://rebind.test/")


def test_an_unknown_name_is_unavailable(monkeypatch):
    def nobody(*_, **__):
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for call in (http.check, lambda url: http.request("GET", url)):
        with pytest.raises(Unavailable):
            call("http://nobody.test/")


def test_a_redirect_within_the_origin_is_followed(allowed):
    allowed.says(Reply(302, {"Location": "/there"}), Reply(chunks=[b"found"]))
    assert http.request("GET", allowed.url).content == b"found"
    assert [path for _, path, *_ in allowed.requests] == ["/", "/there"]


@pytest.mark.parametrize("where", ["http://example.com/", "https://127.0.0.1/", "//localhost/", "http://127.0.0.1:1/"])
def test_a_redirect_to_another_origin_is_refused(allowed, where):
    allowed.says(Reply(302, {"Location": where}))
    with pytest.raises(Forbidden, match="another origin"):
        http.request("GET", allowed.url, headers={"Authorization": "secret"})
    assert len(allowed.requests) == 1


def test_redirects_do_not_go_on_for_ever(allowed):
    allowed.says(Reply(302, {"Location": "/again"}))
    with pytest.raises(Unavailable):
        http.request("GET", allowed.url)


def test_an_answer_that_is_too_large_is_cut_off(allowed):
    allowed.says(Reply(chunks=[b"x" * 1000] * 100, gap=0.001))
    with pytest.raises(TooLarge):
        http.request("GET", allowed.url, max_bytes=5000)
    assert allowed.hung_up.wait(2)


def test_a_bomb_is_measured_unpacked(allowed):
    allowed.says(Reply(headers={"Content-Encoding": "gzip"}, chunks=[gzip.compress(b"0" * 10_000_000)]))
    with pytest.raises(TooLarge):
        http.request("GET", allowed.url, max_bytes=1_000_000)


def test_a_packed_answer_is_unpacked(allowed):
    allowed.says(Reply(headers={"Content-Encoding": "gzip"}, chunks=[gzip.compress(b"hello")]))
    assert http.request("GET", allowed.url).text == "hello"


@pytest.mark.parametrize("reply", [Reply(hang=True), Reply(chunks=[b"x"] * 1000, gap=0.05)], ids=["silent", "dripping"])
def test_an_answer_that_takes_too_long_is_given_up(allowed, reply):
    allowed.says(reply)
    started = time.monotonic()
    with pytest.raises(Unavailable):
        http.request("GET", allowed.url, timeout=0.4)
    assert time.monotonic() - started < 2


def test_json_and_headers_are_sent(allowed):
    allowed.says(Reply(201, {"X-Test": "y"}, [b"{}"]))
    answer = http.request("POST", allowed.url, json={"a": 1}, headers={"X-Mine": "z"})
    assert (answer.status_code, answer.headers["x-test"], answer.json()) == (201, "y", {})
    assert allowed.bodies() == [{"a": 1}]
    assert allowed.requests[0][2]["X-Mine"] == "z"


def test_the_proxies_of_the_environment_are_ignored(allowed, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    allowed.says(Reply(chunks=[b"direct"]))
    assert http.request("GET", allowed.url).content == b"direct"


def test_a_certificate_that_nobody_signed_is_refused(setting, tmp_path):
    port = _tls_server(tmp_path)
    setting(EGRESS_ALLOW=f"127.0.0.1:{port}")
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        http.request("GET", f"https://127.0.0.1:{port}/")


def _tls_server(folder) -> int:
    """One handshake with a certificate of our own making."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    listener = socket.create_server(("127.0.0.1", 0))

    def shake():
        with listener, listener.accept()[0] as connection, pytest.raises(OSError):
            context.wrap_socket(connection, server_side=True)

    threading.Thread(target=shake, daemon=True).start()
    return listener.getsockname()[1]


def _certificate(folder):
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "server.pem"
    path.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, kind, plain))
    return path


@pytest.mark.parametrize("reply", [Reply(chunks=[b"x" * 100_000] * 3), Reply(204), Reply(304)])
def test_a_connection_is_kept_after_any_whole_answer(allowed, reply):
    places = set()
    send = allowed.send
    allowed.send = lambda handler, answer: (places.add(handler.client_address), send(handler, answer))
    allowed.says(reply)
    with http.client() as client:
        for _ in range(3):
            http.request("GET", allowed.url, via=client)
    assert len(places) == 1


def test_a_connection_that_the_server_closed_is_not_used_again(allowed):
    allowed.says(Reply(chunks=[b"x"], cut=False))
    with http.client() as client:
        http.request("GET", allowed.url, via=client)
        allowed.close()
        next(iter(client._transport._idle.values()))[0][1].sock.shutdown(socket.SHUT_RD)
        with pytest.raises(Unavailable):
            http.request("GET", allowed.url, via=client)


def test_a_streamed_body_is_sent_in_chunks():
    with Double_() as double, http.client((double.place,)) as client:
        double.says(Reply(chunks=[b"ok"]))
        assert client.post(double.url, content=iter([b"a", b"b"])).text == "ok"


class Double_(Double):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_half_an_answer_is_an_error(setting):
    listener = socket.create_server(("127.0.0.1", 0))
    place = f"127.0.0.1:{listener.getsockname()[1]}"
    setting(EGRESS_ALLOW=place)

    def answer():
        with listener, listener.accept()[0] as connection:
            connection.recv(9999)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(Unavailable), http.client() as client:
        http.request("GET", f"http://{place}/", via=client)


def test_a_client_without_an_answer_raises_what_httpx_users_expect(setting):
    setting(EGRESS_ALLOW="127.0.0.1:9")
    with http.client() as client, pytest.raises(httpx2.ConnectError):
        client.get("http://127.0.0.1:9/")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://user:password@127.0.0.1/"])
def test_a_client_does_not_call_odd_urls_either(url):
    with http.client() as client, pytest.raises(Forbidden, match="only http and https"):
        client.get(url)


def test_no_library_reads_an_answer_without_end(allowed, monkeypatch):
    monkeypatch.setattr(transport, "MAX_BYTES", 10_000)
    allowed.says(Reply(500, chunks=[b"x" * 1000] * 50, gap=0.001))
    with http.client() as client, pytest.raises(httpx2.ReadError, match="larger than"):
        client.get(allowed.url)
