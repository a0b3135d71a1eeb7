"""The `djinnbot` command against a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from models import database
from models.runs import Run
from tests.api import factories
from tests.api.conftest import ROOT
from tests.chat import install
from workers.deliveries import Heads, receive

pytestmark = pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="module")


@pytest.fixture
def djinnbot(server):
    """Runs a command and returns what it printed."""

    def command(*words: str, typed: str = "", code: int = 0) -> str:
        environment = os.environ | {"PORT": str(server.port), "COLUMNS": "300"}
        line = [sys.executable, "-m", "api.cli", *words]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, input=typed)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    return command


@pytest.fixture
def run_id(server):
    return factories.run()


def test_a_run_is_paused_and_resumed(djinnbot, run_id):
    assert djinnbot("runs", "pause", run_id, "--reason", "Wait").strip() == f"{run_id} paused"
    assert "paused the run (Wait); resume it" in djinnbot("runs", "why", run_id)
    assert djinnbot("runs", "resume", run_id).strip() == f"{run_id} pending"


def test_dead_runs_are_listed_and_restarted(djinnbot):
    dead = factories.run(status="failed", error_code="worker_lost", failed_step="FIX")
    factories.visit(dead, "FIX", status="failed", error_code="worker_lost")
    assert dead in djinnbot("runs", "list", "--error", "worker_lost")
    assert "1 found" in djinnbot("runs", "requeue", "--dry-run")
    printed = djinnbot("runs", "requeue")
    assert dead in printed and "1 found, 1 restarted" in printed
    assert "0 found, 0 restarted" in djinnbot("runs", "requeue")


def test_a_run_says_why_it_waits(djinnbot, run_id):
    assert djinnbot("runs", "why", run_id).startswith(f"{run_id} pending: ")
    assert '"reasons"' in djinnbot("runs", "why", run_id, "--json")


def test_what_waits_for_a_person_is_listed_and_decided(djinnbot, run_id):
    approval_id = factories.approval(run_id)
    factories.visit(run_id, "FIX", type="approval", status="paused", approval_id=approval_id, agent_id=None)
    factories.set_status(run_id, "paused", status_reason="approval", started_at=1)
    listed = djinnbot("approvals", "list", "--run", run_id)
    assert approval_id in listed and "Ship it?" in listed
    assert (
        djinnbot("approvals", "decide", approval_id, "approve", "--comment", "Go").strip() == f"{approval_id}: approve"
    )
    assert approval_id in djinnbot("approvals", "list", "--run", run_id, "--status", "decided")


def test_a_fork_is_started_with_what_was_asked_for(djinnbot, run_id):
    factories.visit(run_id, "FIX", done_version=1, passed=True)
    factories.finish(run_id)
    fork = djinnbot("runs", "fork", run_id, "--from", "FIX", "--task", "Other", "--no-follow").strip()
    with database.connection():
        assert Run.get_by_id(fork).task_head == "Other"


def test_costs_are_shown_with_their_total(djinnbot, run_id):
    factories.call(run_id, model="dear", cost_usd=1.5)
    lines = [line.split() for line in djinnbot("costs", "--run", run_id).splitlines()]
    assert (lines[1][0], lines[1][5], lines[-1][0], lines[-1][1]) == ("dear", "1.5000", "total", "1")
    assert '"avg_duration_ms"' in djinnbot("costs", "--by", "day", "--json")


def test_settings_are_shown_and_changed(djinnbot):
    assert "defaultStepMaxRetries" in djinnbot("settings", "get")
    changed = djinnbot(
        "settings", "set", "defaultStepMaxRetries=7", "defaultExecutorModel=openai/x", "runBudgetUsd=null"
    )
    assert changed.splitlines()[:2] == ["defaultStepMaxRetries: 7", 'defaultExecutorModel: "openai/x"']
    assert djinnbot("settings", "get", "defaultStepMaxRetries").strip() == "7"
    assert '"defaultExecutorModel": "openai/x"' in djinnbot("settings", "get", "--json")


def test_a_setting_that_is_wrong_is_refused_with_the_reason(djinnbot):
    assert "0..20" in djinnbot("settings", "set", "defaultStepMaxRetries=99", code=2)
    assert "no setting nothing" in djinnbot("settings", "get", "nothing", code=2)


def test_a_key_is_read_from_standard_input_and_shown_masked(djinnbot):
    stored = djinnbot("providers", "set-key", "openai", typed="sk-0123456789abcdefghij\n")
    assert stored.strip() == "openai: sk-...ghij, enabled"
    assert "sk-...ghij" in djinnbot("providers", "list") and '"openai"' in djinnbot("providers", "list", "--json")
    assert "No worker is running" in djinnbot("providers", "test", "openai", code=1)
    assert "no key was given" in djinnbot("providers", "set-key", "openai", code=2)


def test_a_skill_is_imported_shown_granted_and_disabled(djinnbot, server, tmp_path):
    install("writer")
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet" / "names.txt").write_text("Ann")
    for number, text in enumerate(("Say hello.", "Say goodbye."), 1):
        (tmp_path / "greet" / "SKILL.md").write_text(f"---\nname: greet\ndescription: How.\n---\n\n{text}")
        assert djinnbot("skills", "import", str(tmp_path / "greet")).strip() == f"greet: version {number}"
    assert "Say goodbye." in djinnbot("skills", "show", "greet") and "names.txt" in djinnbot("skills", "show", "greet")
    assert "Say hello." in djinnbot("skills", "show", "greet", "--version", "1")
    assert djinnbot("skills", "grant", "greet", "writer").strip() == "writer has greet"
    assert djinnbot("skills", "disable", "greet").strip() == "greet: disabled"
    assert "greet" in djinnbot("skills", "list", "--agent", "writer")
    djinnbot("skills", "enable", "greet")
    djinnbot("skills", "revoke", "greet", "writer")
    assert djinnbot("skills", "list", "--agent", "writer", "--json").strip() == "[]"


def test_a_board_is_made_filled_and_shown(djinnbot):
    project = djinnbot("projects", "create", "Site", "--template", "kanban-simple").split()[0]
    first = djinnbot("tasks", "add", project, "Write", "--priority", "P1").split()[0]
    second = djinnbot("tasks", "add", project, "Print", "--after", first).split()[0]
    assert f"{first} todo -> in_progress" in djinnbot("tasks", "move", project, first, "in_progress", "--note", "go")
    assert djinnbot("tasks", "comment", project, first, "Nearly there").strip() == f"{first} commented"
    assert "Nearly there" in djinnbot("tasks", "show", project, first)
    assert first in djinnbot("tasks", "list", project, "--status", "in_progress")
    board, plan = djinnbot("projects", "show", project), djinnbot("projects", "plan", project)
    assert "In Progress (1 of at most 5)" in board and f"{first}  P1  Write" in board
    assert "Wave 2" in plan and second in plan and "takes longest: 2 h" in plan
    assert "0/2" in djinnbot("projects", "list")
    assert djinnbot("projects", "archive", project).strip() == f"{project} archived"


def test_a_task_is_worked_on_by_a_pipeline(djinnbot):
    project = djinnbot("projects", "create", "Site", "--pipeline", "execute").split()[0]
    task = djinnbot("tasks", "add", project, "Write").split()[0]
    started = djinnbot("tasks", "run", project, task, "--context", "Short")
    assert started.startswith("run_") and "pending" in started
    assert djinnbot("tasks", "run", project, task, code=2)


def test_github_is_shown_with_what_it_has_sent(djinnbot, server):
    with database.transaction():
        id = receive(Heads("guid", "watch"), b"{}", {"action": "started"})["id"]
    assert "GitHub is not configured" in djinnbot("github", "status")
    assert "repository" in djinnbot("github", "repos")
    listed = djinnbot("github", "deliveries", "--event", "watch")
    assert id in listed and "watch.started" in listed and "ignored" in listed
    assert djinnbot("github", "replay", id).strip() == f"{id}: queued"
    assert "pipeline resolve" in djinnbot("github", "triggers")
    assert '"built_in"' in djinnbot("github", "triggers", "--json")


def test_mcp_servers_are_added_shown_approved_granted_and_removed(djinnbot, tmp_path):
    install("writer")
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"second": {"command": "uvx"}}}')
    added = djinnbot("mcp", "add", "First", "--env", "TOKEN=${MINE}", "--read", "/data", "--", "npx", "-y", "server")
    assert added.strip() == "first: djinnbot mcp approve first"
    assert djinnbot("mcp", "import", str(file)).strip() == "second: created"
    assert "'-y', 'server'" in djinnbot("mcp", "approve", "first", "--yes")
    assert "first" in djinnbot("mcp", "list") and '"state": "approved"' in djinnbot("mcp", "show", "first", "--json")
    assert "every tool of first" in djinnbot("mcp", "grant", "first", "writer")
    djinnbot("mcp", "revoke", "first", "writer")
    assert djinnbot("mcp", "remove", "first").strip() == "first is removed"
    assert [server["id"] for server in json.loads(djinnbot("mcp", "list", "--json"))] == ["second"]
