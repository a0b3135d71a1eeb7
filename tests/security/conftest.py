"""What the tests of the API use, and a whole platform."""

from __future__ import annotations

import pytest

from tests.api.conftest import anyone, api, app, made_app, own_app, publishing, run_id, settings  # noqa: F401
from tests.platform import running


@pytest.fixture
def platform(tmp_path):
    yield from running(tmp_path)
