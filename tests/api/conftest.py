"""The application over a real database, and a real gunicorn for what only a server shows."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import structlog

from api import definitions, feeds, probes
from api.app import create_app
from models import config, database, schema
from tests import servers
from tests.api import factories
from workers.publisher import publisher

ROOT = Path(__file__).parents[2]
TOKEN = "operator-token-of-the-tests"
on_sqlite = pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # nothing here depends on the database
AUTH = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="session", autouse=True)
def publishing():
    """The test's own process publishes what it commits, as a worker does; errors are logged in one line."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    publisher.start()


@pytest.fixture
def settings(store, monkeypatch):
    """The environment of one test."""
    monkeypatch.setenv("API_TOKEN", TOKEN)
    forget()
    return monkeypatch


def forget() -> None:
    """Makes the product read its settings and files anew."""
    for cached in (config.get, definitions.catalog, definitions.pinned, feeds.belonging):
        cached.cache_clear()
    probes.forget()


@pytest.fixture(scope="session")
def made_app():
    """Making one takes a third of a second; it keeps nothing of a request."""
    return create_app(start=False)


@pytest.fixture
def app(settings, made_app):
    return made_app


@pytest.fixture
def own_app(settings):
    """One that a test may change."""
    return create_app(start=False)


@pytest.fixture
def api(app):
    """Flask's client, as the operator."""
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = AUTH["Authorization"]
    return client


@pytest.fixture
def anyone(app):
    """Flask's client without a token."""
    return app.test_client()


@pytest.fixture
def run_id(settings):
    """A pending run of two steps."""
    return factories.run()


def wait_for(look, seconds: float = 20.0):
    """The first result of `look` that does not raise."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return look()
        except (OSError, httpx.HTTPError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A gunicorn on an ephemeral port, with the settings of the test and those given."""

    def __init__(self, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"PORT": str(self.port)} | environment
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "-c", "python:api.gunicorn"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=subprocess.DEVNULL)
        wait_for(lambda: httpx.get(f"{self.url}/readyz").raise_for_status())

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def kill(self) -> None:
        """As a crash would: the workers die with the master."""
        worker = self.worker()
        for pid in (self.process.pid, worker):
            os.kill(pid, 9)
        self.process.wait()

    def worker(self) -> int:
        """The process that answers."""
        master = self.process.pid
        return int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(request, tmp_path_factory):
    """One server for a module, over a database that its tests share."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DATA_DIR", str(tmp_path_factory.mktemp("data")))
        environment.setenv("API_TOKEN", TOKEN)
        if request.param == "postgres":
            url = servers.fresh_database(request.getfixturevalue("postgres_url"))
            environment.setenv("DATABASE_URL", url)
        forget()
        database.init()
        schema.migrate()
        running = Server()
        yield running
        running.stop()
        database.release()
        database.db.obj.close_all()
    forget()


class Redis:
    """A redis-server of the test's own, to be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path):
    running = Redis(tmp_path)
    yield running
    running.stop()
