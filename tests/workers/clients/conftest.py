"""Servers and settings for the tests of the clients."""

from __future__ import annotations

import pytest

from tests.workers.clients.double import Double
from workers.clients.llm import registry


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
    registry._http().close()
    registry._http.cache_clear()
    registry._client.cache_clear()
