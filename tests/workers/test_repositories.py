"""Repositories of projects: fetched within the rules, cloned into workspaces, with a key to that one alone."""

from __future__ import annotations

import pytest

from models import database, projects
from models.outbox import Outbox
from models.projects import Project
from tests.boards import Board
from tests.engine import Engine
from tests.git_double import GitDouble, git
from tests.github import about
from tests.github_double import GitHubDouble
from tests.workers.clients.test_github import PAT, key  # noqa: F401
from tests.workers.test_github_merges import deliver
from workers import projects as commands
from workers import repositories
from workers.clients import github

LOOK = "id: look\nsteps:\n  - {id: A, agent: writer, tools: [bash, read], input: a, outputs: [x]}\n"


def says(command: str) -> dict:
    return {"A": [[{"tool_calls": [{"name": "bash", "arguments": {"command": command}}]}, "X: done"]]}


@pytest.fixture
def server(store, tmp_path, setting):
    folder = tmp_path / "git"
    folder.mkdir()
    made = GitDouble(folder)
    setting(EGRESS_ALLOW=made.place)
    made.commit("octo/a", {"README.md": "one"})
    yield made
    made.close()


@pytest.fixture
def project(server) -> str:
    return of(server.url("octo/a"))


def of(url: str) -> str:
    """A project of that repository; its id."""
    board = Board(repository="https://github.com/octo/a")
    with database.transaction():
        Project.update(repository=url).where(Project.id == board.id).execute()
    return board.id


def state(project_id: str) -> tuple[str, str | None]:
    with database.connection():
        row = projects.get(project_id)
    return row.workspace_status, row.workspace_error


def result(engine: Engine) -> str:
    return next(event["result"] for event in engine.events if event["type"] == "tool_call_end").strip()


def run(project_id: str, command: str) -> Engine:
    return Engine(LOOK, says(command), project_id=project_id).finish()


def test_a_new_project_waits_for_its_repository_and_another_one_anew(store) -> None:
    board = Board(repository="https://github.com/octo/a")
    assert state(board.id) == ("queued", None)
    assert [(box.actor, box.object_id) for box in Outbox.select()] == [("prepare_workspace", board.id)]
    commands.update(board.id, {"repository": None})
    assert state(board.id) == ("none", None)
    assert state(Board().id) == ("none", None)


def test_a_repository_is_fetched_and_a_run_begins_with_a_clone(project, server) -> None:
    repositories.prepare_workspace(project)
    assert state(project) == ("ready", None) and Outbox.select().count() == 0
    shown = result(run(project, "cat README.md; git remote -v | head -1; git log --format=%s; git status --short"))
    assert shown.splitlines() == ["one", f"origin\t{server.url('octo/a')} (fetch)", "x"]


def test_it_is_fetched_again_when_somebody_pushes(project, server) -> None:
    repositories.prepare_workspace(project)
    server.commit("octo/a", {"README.md": "two"})
    payload = about() | {"ref": "refs/heads/main", "after": "b" * 40, "commits": []}
    payload["repository"]["full_name"] = "octo/a"
    assert [effect["kind"] for effect in deliver("push", payload).effects] == ["fetch"]
    repositories.prepare_workspace(project)
    assert result(run(project, "cat README.md")) == "two"


def test_a_branch_that_is_gone_is_gone_here_and_the_default_one_is_followed(project, server) -> None:
    repositories.prepare_workspace(project)
    server.commit("octo/a", {"README.md": "new"}, branch="trunk")
    bare = server.folder / "octo/a.git"
    git(bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
    git(bare, "branch", "-D", "main")
    repositories.prepare_workspace(project)
    assert result(run(project, "git branch; cat README.md")).split() == ["*", "trunk", "new"]


def test_what_an_agent_does_stays_in_its_clone(project) -> None:
    repositories.prepare_workspace(project)
    run(project, "echo x > README.md; git commit -qam y; rm -rf .git")
    assert result(run(project, "cat README.md")) == "one"


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:1/octo/a.git", "http://169.254.1.1/o/a.git", "https://[::1]/o/a.git"]
)
def test_a_place_that_may_not_be_called_is_not(store, place) -> None:
    project = of(place)
    repositories.prepare_workspace(project)
    status, error = state(project)
    assert status == "error" and ("public address" in error or "https" in error)


@pytest.mark.parametrize("url", ["file:///etc", "ext::sh -c id", "/etc", "ssh://git@-oProxyCommand=id/a/b.git"])
def test_nothing_but_http_is_spoken(store, url) -> None:
    project = of(url)
    repositories.prepare_workspace(project)
    assert state(project)[0] == "error" and not repositories.mirror(project).exists()


def test_a_redirect_is_not_followed(project, server, tmp_path) -> None:
    other = GitDouble(server.folder)
    server.redirect = f"http://{other.place}"
    repositories.prepare_workspace(project)
    assert state(project)[0] == "error" and other.asked == []
    other.close()


def test_an_error_is_told_and_a_later_fetch_puts_it_right(project, server) -> None:
    server.password = "x:y"
    repositories.prepare_workspace(project)
    assert state(project)[0] == "error"
    engine = run(project, "ls -a")
    assert result(engine).split() == [".", ".."]
    server.password = None
    repositories.prepare_workspace(project)
    assert state(project) == ("ready", None)


def test_a_repository_that_is_too_large_leaves_nothing(project, monkeypatch) -> None:
    monkeypatch.setattr(repositories.git, "MOST_BYTES", 100)
    repositories.prepare_workspace(project)
    assert state(project)[0] == "error" and list(repositories.mirror(project).parent.iterdir()) == []


def test_a_repository_changed_meanwhile_is_fetched_itself(project, server) -> None:
    row = projects.get(project)
    assert repositories._tell(project, "https://github.com/octo/other.git", None) is False
    assert repositories._tell(project, row.repository, None) is True


def test_the_mirror_goes_with_the_project(project) -> None:
    repositories.prepare_workspace(project)
    assert repositories.mirror(project).exists()
    commands.purge(project)
    assert not repositories.mirror(project).exists()


# --- keys ---


@pytest.fixture
def ours(server, setting):
    """GitHub itself at the git server's place, and us with a personal token."""
    setting(GITHUB_API_URL=f"http://{server.place}", GITHUB_TOKEN=PAT, EGRESS_ALLOW=server.place)
    server.password = f"x-access-token:{PAT}"
    return server


def test_a_private_repository_is_fetched_with_our_token(ours) -> None:
    project = of(ours.url("octo/a"))
    repositories.prepare_workspace(project)
    assert state(project) == ("ready", None) and ours.asked[-1].startswith("Basic ")
    assert PAT not in (repositories.mirror(project) / "config").read_text()


def test_another_host_never_sees_our_token(ours, server, setting) -> None:
    elsewhere = GitDouble(server.folder)
    setting(EGRESS_ALLOW=f"{server.place},{elsewhere.place}")
    repositories.prepare_workspace(of(elsewhere.url("octo/a")))
    assert elsewhere.asked and set(elsewhere.asked) == {None}
    elsewhere.close()


ASK = "printf 'protocol=http\\nhost={}\\npath={}\\n\\n' | GIT_TERMINAL_PROMPT=0 git credential fill 2>&1 | tail -1"


def test_git_in_the_sandbox_has_the_key_of_this_repository_and_nothing_shows_it(ours) -> None:
    project = of(ours.url("octo/a"))
    repositories.prepare_workspace(project)
    mine = run(project, ASK.format(ours.place, "octo/a.git"))
    other = run(project, ASK.format(ours.place, "octo/b.git"))
    assert result(mine) == "password=[secret:git-token]" and "password" not in result(other)
    assert PAT not in str(mine.events)


def test_a_run_of_no_project_has_no_key(ours) -> None:
    engine = Engine(LOOK, says("env | grep -c GIT")).finish()
    assert result(engine).splitlines()[0] == "0"


def test_the_key_of_an_app_is_good_for_one_repository(store, key, setting) -> None:  # noqa: F811
    github._tokens.clear()
    double = GitHubDouble(key[1])
    setting(GITHUB_API_URL=double.url, EGRESS_ALLOW=double.place, GITHUB_APP_ID="42", GITHUB_APP_PRIVATE_KEY=key[0])
    with database.connection():
        project = projects.get(of(f"{double.url}/octo/a.git"))
    token = repositories.credentials(project)[repositories.VARIABLE]
    assert double.tokens[token]["repositories"] == ["a"]
    project.repo_full_name = "nobody/x"
    assert repositories.credentials(project) == {}
    double.close()
