"""Storms: `--full` for the sizes of the published figures, `--seed` to repeat one."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from tests import github, servers
from tests.storm.provider import Provider
from tests.storm.report import HEAD, Row
from tests.storm.target import KINDS, Storm

FULL_TIMEOUT_SECONDS = 1800
TIMEOUT_SECONDS = 400  # far more than a storm takes, also on a busy machine


def pytest_addoption(parser) -> None:
    parser.addoption("--full", action="store_true", help="storms at full size")
    parser.addoption("--seed", type=int, help="the random choices of the storms")
    parser.addoption("--soak-minutes", type=int, default=120, help="how long the soak takes with --full")


def pytest_collection_modifyitems(config, items) -> None:
    seconds = FULL_TIMEOUT_SECONDS if config.getoption("--full", default=False) else TIMEOUT_SECONDS
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(seconds))


def pytest_terminal_summary(terminalreporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    rows = [text for report in reports for name, text in report.user_properties if name == "storm"]
    if rows:
        terminalreporter.section("storms")
        terminalreporter.write_line(HEAD)
        for text in rows:
            terminalreporter.write_line(text)


@pytest.fixture(scope="session")
def full(pytestconfig) -> bool:
    return pytestconfig.getoption("--full", default=False)


@pytest.fixture
def size(full):
    """The first of two sizes in CI, the second for the figures."""
    return lambda small, large: large if full else small


@pytest.fixture(scope="session")
def seed(pytestconfig) -> int:
    given = pytestconfig.getoption("--seed", default=None)
    return random.randrange(10**6) if given is None else given


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def provider():
    """The model server behind `custom-slow/slow`."""
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture(scope="session")
def platform(request, kind, full, provider):
    """One platform for all storms over this kind of database."""
    url = servers.fresh_database(request.getfixturevalue("postgres_url")) if kind == "postgres" else ""
    lease = "30" if full else "5"
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        kinds = (*KINDS, "relay", "worker") if full else KINDS
        settings = {"LEASE_SECONDS": lease, "MAX_PENDING_RUNS": "20000", "GITHUB_WEBHOOK_SECRET": github.SECRET}
        storm = Storm(Path(folder), url, kinds=kinds, **settings, **provider.settings)
        yield storm
        storm.stop()


@pytest.fixture
def storm(platform, provider, seed):
    """The platform, whole, with a history of the test's own."""
    provider.forget()
    platform.complete()
    platform.begin(random.Random(seed))
    yield platform
    platform.end()


@pytest.fixture
def row(request, record_property, seed):
    """`row(experiment, storm, findings, n, figure=...)` prints the line of an experiment and keeps it for the table."""

    def write(experiment, storm, findings, n, **figures) -> Row:
        row = Row(experiment, storm.store.kind, seed, n, len(findings.lost), len(findings.duplicates), figures)
        record_property("storm", str(row))
        print(row)
        return row

    return write
