"""Settings for the tests of the workers."""

from __future__ import annotations

import pytest

from models import config


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
