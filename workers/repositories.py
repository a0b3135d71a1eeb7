"""Repositories of projects: a mirror of each is fetched here, and a run's workspace begins as a clone of it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import structlog

from models import config, database, github_apps, github_cache, leases, outbox, projects, redaction
from models.base import new_id
from models.errors import DjinnBotError, NotFound, OutsideError
from models.github_apps import APP
from models.projects import Project
from workers.broker import actor
from workers.clients import git, http

log = structlog.get_logger(__name__)

HEADS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
AUTHOR = {"user.name": "DjinnBot", "user.email": "djinnbot@localhost"}
HELPER = '!f() { test "$1" = get && echo username={user} && echo "password=${variable}"; }; f'
VARIABLE = "DJINNBOT_GIT_TOKEN"
SHOWN_CHARS = 500  # of an error
LOOK_SECONDS = 60.0  # what a look at the other side's branches may take
LEASE_MS = int((git.TIMEOUT_SECONDS + LOOK_SECONDS + 60) * 1000)  # longer than all of it


@actor
def prepare_workspace(project_id: str) -> None:
    """Fetches the project's repository, and says on the project how that went. One worker at a time does."""
    owner = new_id("rep_")
    if not leases.hold(f"repository {project_id}", owner, LEASE_MS):
        return  # the doorbell rings again
    try:
        with database.connection():
            project = _found(project_id)
        problem = _fetched(project) if project else None
        with database.transaction():
            if project is None or _tell(project_id, project.repository, problem):
                outbox.answered(project_id, projects.WORKSPACE)
    finally:
        leases.release(f"repository {project_id}", owner)


def _found(project_id: str) -> Project | None:
    """The project, if there is something to fetch."""
    try:
        project = projects.get(project_id)
    except NotFound:
        return None
    return project if project.repository else None


def _tell(project_id: str, fetched: str, problem: str | None) -> bool:
    """False if it is about another repository than the project has by now."""
    try:
        project = projects.lock(project_id)
    except NotFound:
        return True
    if project.repository != fetched:
        return False
    state = ("error" if problem else "ready", problem)
    if state != (project.workspace_status, project.workspace_error):
        told = projects.event(project, "project_updated", fields=["workspace_setup"])
        projects.write(project, [told], workspace_status=state[0], workspace_error=state[1])
    return True


def _fetched(project: Project) -> str | None:
    """Why not, None if all is here."""
    try:
        fetch(project)
    except (DjinnBotError, OSError) as error:
        text = redaction.server().clean(getattr(error, "message", None) or str(error))
        log.warning("repository_not_fetched", project=project.id, error=text)
        shutil.rmtree(draft(project.id), ignore_errors=True)
        return text[:SHOWN_CHARS]
    return None


def mirror(project_id: str) -> Path:
    return config.get().repositories_dir / project_id / "mirror.git"


def draft(project_id: str) -> Path:
    """Where a mirror is made."""
    return mirror(project_id).with_suffix(".new")


def fetch(project: Project) -> None:
    """Brings the mirror up to date; a new one appears whole. Raises OutsideError, Forbidden, TooLarge."""
    folder, url = mirror(project.id), address(project.repository)
    token = _token(project)
    begun = folder if _is_of(folder, url) else draft(project.id)
    if begun is not folder:
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        git.local(["init", "--bare", "--quiet", "."], begun)
        git.local(["config", "remote.origin.url", url], begun)
    git.remote(["fetch", "--prune", "--no-tags", "--quiet", url, *HEADS], begun, url, token)
    git.check_size(begun)
    if head := _default_branch(git.remote(["ls-remote", "--symref", url, "HEAD"], begun, url, token, LOOK_SECONDS)):
        git.local(["symbolic-ref", "HEAD", head], begun)
    if begun is not folder:
        shutil.rmtree(folder, ignore_errors=True)
        begun.rename(folder)


def _is_of(folder: Path, url: str) -> bool:
    if not folder.exists():
        return False
    try:
        return git.local(["config", "--get", "remote.origin.url"], folder).strip() == url
    except OutsideError:
        return False


def _default_branch(listed: str) -> str | None:
    """`ref: refs/heads/main	HEAD` is how git says it."""
    first = listed.partition("\t")[0]
    branch = first.removeprefix("ref: ")
    return branch if first != branch and branch.startswith("refs/heads/") else None


def address(repository: str) -> str:
    """Where it is fetched from: what is written for SSH has the same path over https."""
    return repository.replace("ssh://git@", "https://", 1)


def is_ours(repository: str) -> bool:
    """Whether GitHub's credentials are for the host of this repository, and for no other one."""
    ours = http.origin(config.get().github_url)
    return github_apps.is_configured() and http.origin(address(repository)) == ours


def _token(project: Project) -> str | None:
    """A token that is good for this repository; None for a public one elsewhere. Raises OutsideError."""
    if not project.repo_full_name or not is_ours(project.repository):
        return None
    us = github_apps.identity()
    if us.mode != APP:
        return us.token
    return _app_token(project.repo_full_name)


def _app_token(full_name: str) -> str | None:
    from workers.clients import github  # loading PyGithub takes half a second, which the API need not wait for

    with database.connection():
        known = github_cache.installation_of(full_name)
    try:
        where = known or github.find_installation(full_name)
    except OutsideError as error:
        if error.details.get("status") == 404:  # the App is not installed there; it may be public
            return None
        raise
    return github.installation_token(where, full_name.partition("/")[2])


# --- runs ---


def clone(project: Project, folder: Path) -> bool:
    """Fills an empty workspace from the mirror; False if there is none. The clone shares nothing with the mirror."""
    source = mirror(project.id)
    if project.workspace_status != "ready" or not source.exists() or any(folder.iterdir()):
        return False
    begun = folder.with_name(f".{folder.name}.clone")
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    allowed = {"protocol.file.allow": "always"}
    git.local(["clone", "--quiet", "--no-hardlinks", str(source.resolve()), "."], begun, allowed)
    for key, value in {**AUTHOR, "remote.origin.url": address(project.repository)}.items():
        git.local(["config", key, value], begun)
    begun.rename(folder)  # over an empty folder: the clone is there whole, or not at all
    return True


def default_branch(project: Project) -> str:
    """Of the repository, as it was fetched last. Raises OutsideError."""
    return git.local(["symbolic-ref", "--short", "HEAD"], mirror(project.id)).strip()


def push(project: Project, branch: str, bundle: bytes) -> None:
    """Sends a branch that was packed up elsewhere; nothing is forced. Raises OutsideError, Forbidden."""
    folder, url = mirror(project.id), address(project.repository)
    kept = f"refs/djinnbot/{branch}"
    with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".bundle") as file:
        file.write(bundle)
        file.flush()
        allowed = {"protocol.file.allow": "always"}
        git.local(["fetch", "--quiet", "--no-tags", file.name, f"+refs/heads/{branch}:{kept}"], folder, allowed)
    git.remote(["push", "--quiet", url, f"{kept}:refs/heads/{branch}"], folder, url, _token(project))


def credentials(project: Project) -> dict[str, str]:
    """Environment with which git, and git alone, can work with the project's repository, and with no other."""
    token = _token(project)
    if token is None:
        return {}
    url = address(project.repository)
    helper = HELPER.replace("{user}", git.USER).replace("{variable}", VARIABLE)
    settings = {"credential.useHttpPath": "true"}
    settings |= {f"credential.{place}.helper": helper for place in (url, url.removesuffix(".git"))}
    return {VARIABLE: token} | git.configured(settings)
