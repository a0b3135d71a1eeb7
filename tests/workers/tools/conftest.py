"""A workspace for the tests of the tools."""

from __future__ import annotations

import pytest

from workers.tools import base, registry
from workers.tools.base import Context, Outcome


@pytest.fixture
def workspace(tmp_path):
    """A folder with a neighbour that must stay out of reach."""
    (tmp_path / "secret").write_text("planted")
    inside = tmp_path / "workspace"
    inside.mkdir()
    return inside


@pytest.fixture
def use(workspace):
    """Calls a tool as the loop does."""

    def call(tool: str, **arguments) -> Outcome:
        return base.run(registry.tools()[tool], Context(workspace, timeout=5), arguments)

    return call
