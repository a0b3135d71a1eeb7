"""Servers and settings for the tests of the clients."""

from __future__ import annotations

import pytest

from models import config
from tests.workers.clients.double import Double
from workers.clients.llm import registry


@pytest.fixture
def setting(monkeypatch):
    """Sets environment variables for one test."""

    def set_them(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        config.get.cache_clear()

    yield set_them
    monkeypatch.undo()
    config.get.cache_clear()


@pytest.fixture
def double():
    server = Double()
    yield server
    server.close()


@pytest.fixture
def allowed(double, setting):
    """The double, let through by the egress rules."""
    setting(EGRESS_ALLOW=double.place)
    return double


@pytest.fixture(autouse=True)
def _fresh_clients():
    yield
    registry._client.cache_clear()
