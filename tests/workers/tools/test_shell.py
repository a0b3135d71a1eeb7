"""The tool `bash`."""

from __future__ import annotations

import shutil

import pytest

from workers.clients import sandbox


@pytest.fixture(autouse=True)
def _fresh_trial():
    sandbox._trial.cache_clear()
    yield
    sandbox._trial.cache_clear()


def test_it_shows_the_output(use, workspace):
    assert use("bash", command="echo hi | tee file").text == "hi\n"
    assert (workspace / "file").read_text() == "hi\n"


def test_it_says_when_there_is_none(use):
    assert use("bash", command="true").text == "(no output)"


def test_it_tells_the_exit_code(use):
    assert use("bash", command="echo oops >&2; exit 7").text == "oops\n\n(exit code 7)"


def test_it_stops_after_its_time(use):
    assert use("bash", command="echo a; sleep 60", timeout=0.3).text == "a\n\n(stopped after 0.3 seconds)"


def test_it_cannot_take_more_time_than_the_step_has(use, monkeypatch):
    seen = []
    run = sandbox.run
    monkeypatch.setattr(
        sandbox, "run", lambda *a, timeout, **k: (seen.append(timeout), run(*a, timeout=timeout, **k))[1]
    )
    use("bash", command="true", timeout=9999)
    assert seen == [5]


def test_without_a_sandbox_it_is_disabled_and_says_so(use, setting, monkeypatch, workspace):
    setting(SANDBOX="bwrap")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    outcome = use("bash", command="touch here")
    assert outcome.is_error
    assert "disabled on this server: bubblewrap" in outcome.text
    assert not (workspace / "here").exists()


@pytest.mark.parametrize("arguments", [{}, {"command": ""}, {"command": "x", "timeout": 0}, {"command": "x" * 200_000}])
def test_odd_arguments_are_refused(use, arguments):
    assert "invalid arguments" in use("bash", **arguments).text
