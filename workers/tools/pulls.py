"""The tool `open_pull_request`: what was committed in the sandbox is offered on GitHub.

The sandbox has no network, and no program outside of it opens a repository that agents write to: git packs the branch
up inside, and only the pack is read here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from models import database, projects
from models.errors import NotFound
from models.projects import Project
from workers import pulls, repositories
from workers.clients import sandbox
from workers.tools import beneath
from workers.tools.base import Context, Tool, ToolError, parameters

BUNDLE = ".git/djinnbot.bundle"
MOST_BYTES = 200 * 1024**2
BRANCH = re.compile(r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|\Z)|\.(?:/|\Z)))[A-Za-z0-9][A-Za-z0-9._/-]{0,198}[A-Za-z0-9_-]")


def open_pull_request(context: Context, arguments: dict[str, Any]) -> str:
    project, branch = _project(context), arguments["branch"]
    if not BRANCH.fullmatch(branch):
        raise ToolError(f"{branch!r} is no name of a branch")
    base = repositories.default_branch(project)
    if branch == base:
        raise ToolError(f"{branch} is what pull requests are for: commit to another branch")
    repositories.push(project, branch, _packed(context, branch))
    title, body = (context.clean(arguments.get(name, "")) for name in ("title", "body"))
    return json.dumps(pulls.offer(project.repo_full_name, branch, base, title, body))


def _project(context: Context) -> Project:
    try:
        with database.connection():
            project = projects.get(context.project_id or "")
    except NotFound:
        raise ToolError("This work belongs to no project, so there is no repository") from None
    if not project.repo_full_name or not repositories.mirror(project.id).exists():
        raise ToolError("The project has no repository that could be fetched")
    return project


def _packed(context: Context, branch: str) -> bytes:
    """The commits of the branch that the repository does not have yet."""
    command = ["git", "bundle", "create", "--quiet", BUNDLE, f"refs/heads/{branch}", "--not", "--remotes=origin"]
    packed = sandbox.run(command, context.workspace, timeout=context.timeout)
    if packed.exit_code:
        raise ToolError(f"The branch cannot be packed up: {packed.output.strip()[-500:]}")
    return beneath.read(context.workspace, BUNDLE, MOST_BYTES)


def tools() -> list[Tool]:
    text = {"type": "string", "minLength": 1}
    return [
        Tool(
            "open_pull_request",
            "Push a branch of the workspace's repository and open a pull request for it, or update the one that is "
            "open. Commit first. Nothing is ever forced. The answer has `pr_url` and `pr_number`.",
            parameters(
                ("branch", "title", "body"),
                branch=text | {"maxLength": 200},
                title=text | {"maxLength": 250},
                body=text | {"maxLength": 60_000},
            ),
            open_pull_request,
            effect="idempotent",
        )
    ]
