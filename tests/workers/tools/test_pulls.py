"""The tool `open_pull_request`: from a commit in the sandbox to a pull request."""

from __future__ import annotations

import json

import pytest

from models import database
from models.projects import Project
from tests.boards import Board
from tests.engine import Engine
from tests.git_double import GitDouble, git
from tests.github_double import GitHubDouble
from tests.workers.clients.test_github import PAT
from workers import repositories

OFFER = "id: offer\nsteps:\n  - {id: A, agent: writer, tools: [bash, open_pull_request], input: a, outputs: [x]}\n"
COMMIT = "git checkout -q -b {branch}; echo two > README.md; git commit -qam two"


@pytest.fixture
def hub(store, tmp_path, setting):
    """A git server and GitHub's API, with a project of a repository that was fetched."""
    folder = tmp_path / "git"
    folder.mkdir()
    server, double = GitDouble(folder), GitHubDouble()
    setting(EGRESS_ALLOW=f"{server.place},{double.place}", GITHUB_API_URL=double.url, GITHUB_TOKEN=PAT)
    server.commit("octo/a", {"README.md": "one"})
    git(folder / "octo/a.git", "config", "http.receivepack", "true")
    board = Board(repository="https://github.com/octo/a")
    with database.transaction():
        Project.update(repository=server.url("octo/a")).where(Project.id == board.id).execute()
    repositories.prepare_workspace(board.id)
    double.project, double.bare = board.id, folder / "octo/a.git"
    yield double
    server.close()
    double.close()


def offered(hub, command: str, branch: str = "issue-7", title: str = "Mend it", project: str | None = "") -> dict | str:
    """What the tool says after a command."""
    calls = [{"name": "bash", "arguments": {"command": command}}]
    calls.append({"name": "open_pull_request", "arguments": {"branch": branch, "title": title, "body": "Closes #7"}})
    replies = {"A": [[{"tool_calls": calls[:1]}, {"tool_calls": calls[1:]}, "X: done"]]}
    engine = Engine(OFFER, replies, project_id=hub.project if project == "" else project).finish()
    last = [event for event in engine.events if event["type"] == "tool_call_end"][-1]
    return last["result"] if last["is_error"] else json.loads(last["result"])


def test_a_branch_is_pushed_and_a_pull_request_opened(hub) -> None:
    answer = offered(hub, COMMIT.format(branch="issue-7"))
    (pull,) = hub.pulls.values()
    assert answer == {"pr_url": "https://github.com/octo/a/pull/100", "pr_number": 100}
    assert (pull["base"], pull["head"]["ref"], pull["body"]) == ("main", "issue-7", "Closes #7")
    assert git(hub.bare, "show", "issue-7:README.md") == "two\n"
    assert git(hub.bare, "log", "-1", "--format=%an", "issue-7") == "DjinnBot\n"


def test_the_next_time_it_is_brought_up_to_date(hub) -> None:
    offered(hub, COMMIT.format(branch="issue-7"))
    repositories.prepare_workspace(hub.project)
    again = offered(hub, "git checkout -q issue-7; echo 3 > README.md; git commit -qam 3", title="Better")
    assert (again["pr_number"], len(hub.pulls)) == (100, 1)
    assert hub.pulls["octo/a#100"]["title"] == "Better" and git(hub.bare, "show", "issue-7:README.md") == "3\n"


def test_history_is_never_forced(hub) -> None:
    offered(hub, COMMIT.format(branch="issue-7"))
    answer = offered(hub, COMMIT.format(branch="issue-7").replace("two", "other"))
    assert "Error" in answer and git(hub.bare, "show", "issue-7:README.md") == "two\n"


def test_what_pull_requests_are_for_is_not_pushed_to(hub) -> None:
    answer = offered(hub, "echo two > README.md; git commit -qam two", branch="main")
    assert "another branch" in answer and git(hub.bare, "show", "main:README.md") == "one\n"


@pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "refs/heads/../x", "x.lock", "/x", "x/", "a:b", "+x", "."])
def test_only_a_name_of_a_branch_is_one(hub, branch) -> None:
    assert "no name of a branch" in offered(hub, "true", branch=branch)


def test_nothing_new_is_said(hub) -> None:
    assert "cannot be packed up" in offered(hub, "git checkout -q -b issue-7")


def test_without_a_project_there_is_nothing_to_push_to(hub) -> None:
    assert "no project" in offered(hub, "true", project=None)


def test_nothing_in_the_repository_of_an_agent_runs_outside_of_the_sandbox(hub, tmp_path) -> None:
    mark = tmp_path / "ran"
    trap = f"printf '#!/bin/sh\\ntouch {mark}\\n' > pre-push; chmod +x pre-push; cp pre-push reference-transaction; "
    trap += f"git config core.hooksPath /workspace; git config core.fsmonitor 'touch {mark}'; "
    trap += f"git config uploadpack.packObjectsHook 'touch {mark}'; git config credential.helper '!touch {mark}'"
    offered(hub, f"{COMMIT.format(branch='issue-7')}; {trap}")
    assert not mark.exists()


def test_a_pack_behind_a_link_is_not_read(hub) -> None:
    answer = offered(hub, f"{COMMIT.format(branch='issue-7')}; mv .git real; ln -s real .git")
    assert "symbolic link" in answer and hub.pulls == {}
