"""MCP servers over HTTP that mean ill: what they answer is bounded, and where they lead is checked."""

from __future__ import annotations

import asyncio
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from models import config
from models.errors import Unavailable
from models.redaction import NOTHING
from tests.api.conftest import on_sqlite
from workers.clients.mcp.session import Session

pytestmark = [on_sqlite, pytest.mark.usefixtures("store")]
BOX = {"network": False, "read_paths": [], "write_paths": []}


class Hostile(BaseHTTPRequestHandler):
    """The path says what it answers."""

    seen: list[str] = []

    def answer(self) -> None:
        self.seen.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        getattr(self, self.path.strip("/"))()

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_) -> None:
        """Nothing."""

    def head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def huge(self) -> None:
        self.head(200, Content_Type="application/json")
        for _ in range(100):
            self.wfile.write(b" " * 1_000_000)

    def event(self) -> None:
        self.head(200, Content_Type="text/event-stream")
        for _ in range(100):
            self.wfile.write(b"data: " + b"x" * 1_000_000)

    def packed(self) -> None:
        self.head(200, Content_Type="application/json", Content_Encoding="gzip")
        self.wfile.write(gzip.compress(b" " * 100_000_000))

    def away(self) -> None:
        self.head(307, Location="http://localhost:1/stolen")

    def rubbish(self) -> None:
        self.head(200, Content_Type="application/json")
        self.wfile.write(b"{not json")

    def login(self) -> None:
        self.head(401)


@pytest.fixture(scope="module")
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def allowed(monkeypatch, port):
    monkeypatch.setenv("EGRESS_ALLOW", f"127.0.0.1:{port}")
    config.get.cache_clear()


def why(kind: str, url: str) -> str:
    """Why the server cannot be talked to."""

    async def look() -> None:
        session = Session("far", (1, 0), {"type": kind, "url": url, "timeout": 20}, BOX, NOTHING, lambda *_: None)
        try:
            await session.open()
            await session.tools()
        finally:
            await session.close()

    with pytest.raises(Unavailable) as failure:
        asyncio.run(look())
    return failure.value.message


REASONS = [
    ("streamable-http", "huge", "answered more than 8388608 bytes"),
    ("streamable-http", "event", "exceeded the 8388608 byte limit"),
    ("streamable-http", "packed", "a packed form that was not asked for"),
    ("streamable-http", "away", "not followed"),
    ("streamable-http", "rubbish", "Failed to parse JSON"),
    ("sse", "event", "exceeded the 1048576 byte limit"),
    ("sse", "packed", "a packed form that was not asked for"),
    ("sse", "away", "307"),
    ("sse", "rubbish", "Expected response with content type"),
]


@pytest.mark.parametrize(("kind", "mode", "reason"), REASONS)
@pytest.mark.usefixtures("allowed")
def test_a_hostile_answer_ends_the_session_with_its_reason(port, kind, mode, reason):
    assert reason in why(kind, f"http://127.0.0.1:{port}/{mode}")


@pytest.mark.parametrize("kind", ["streamable-http", "sse"])
@pytest.mark.usefixtures("allowed")
def test_who_wants_a_login_is_told_apart(port, kind):
    assert "answered 401: it wants a header, or a login" in why(kind, f"http://127.0.0.1:{port}/login")


@pytest.mark.parametrize("kind", ["streamable-http", "sse"])
def test_the_address_is_checked_at_every_connect(port, kind):
    Hostile.seen.clear()
    assert "is not a public address" in why(kind, f"http://127.0.0.1:{port}/login")
    assert Hostile.seen == []
