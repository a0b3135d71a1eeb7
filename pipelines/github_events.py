"""What a GitHub payload says: which thing it is about, who acts, and whether that person may start work."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Events with `action`s that GitHub lets only people with triage or write access cause.
BY_COLLABORATORS = {
    "issues": {"labeled", "unlabeled", "assigned", "unassigned", "milestoned", "demilestoned", "pinned", "transferred"},
    "pull_request": {"labeled", "unlabeled", "assigned", "unassigned", "milestoned", "review_requested"},
}
BY_WRITERS = {
    *("push", "release", "create", "delete", "deployment", "workflow_dispatch", "repository_dispatch"),
    *("milestone", "label", "branch_protection_rule"),
}  # not checks and workflows: a stranger's pull request causes those too
THINGS = ("comment", "review", "pull_request", "issue", "discussion", "release")  # the first one is what was written
KNOWN = frozenset(
    (
        *("branch_protection_configuration", "branch_protection_rule", "check_run", "check_suite"),
        *("code_scanning_alert", "commit_comment", "create", "custom_property", "custom_property_values", "delete"),
        *("dependabot_alert", "deploy_key", "deployment", "deployment_protection_rule", "deployment_review"),
        *("deployment_status", "discussion", "discussion_comment", "fork", "github_app_authorization", "gollum"),
        *("installation", "installation_repositories", "installation_target", "issue_comment"),
        *("issue_dependencies", "issues", "label", "marketplace_purchase", "member", "membership", "merge_group"),
        *("meta", "milestone", "org_block", "organization", "package", "page_build"),
        *("personal_access_token_request", "ping", "project", "project_card", "project_column", "projects_v2"),
        *("projects_v2_item", "projects_v2_status_update", "public", "pull_request", "pull_request_review"),
        *("pull_request_review_comment", "pull_request_review_thread", "push", "registry_package", "release"),
        *("repository", "repository_advisory", "repository_dispatch", "repository_import", "repository_ruleset"),
        *("repository_vulnerability_alert", "secret_scanning_alert", "secret_scanning_alert_location"),
        *("security_advisory", "security_and_analysis", "sponsorship", "star", "status", "sub_issues", "team"),
        *("team_add", "watch", "workflow_dispatch", "workflow_job", "workflow_run"),
    )
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules and reports ask of a delivery; None where the payload does not say."""

    event: str
    action: str | None
    repository: str | None  # owner/name as GitHub spells it
    installation_id: int | None
    number: int | None  # of the issue or pull request
    is_pull: bool
    head_sha: str | None
    branch: str | None
    labels: tuple[str, ...]
    sender: str | None
    author: str | None
    association: str  # of the sender with the repository
    title: str
    body: str
    html_url: str | None
    draft: bool | None
    paths: tuple[str, ...] | None


def facts(event: str, payload: dict[str, Any]) -> Facts:
    """Reads a payload; whatever has another form than GitHub's is as if it were not there."""
    action = _text(payload.get("action"))
    pull, issue = _object(payload, "pull_request"), _object(payload, "issue")
    thing = pull or issue
    written = next((found for name in THINGS if (found := _object(payload, name))), {})
    return Facts(
        event=event,
        action=action,
        repository=_text(_object(payload, "repository").get("full_name")),
        installation_id=_number(_object(payload, "installation").get("id")),
        number=_number(thing.get("number")),
        is_pull=bool(pull) or isinstance(issue.get("pull_request"), dict),
        head_sha=_text(_object(pull, "head").get("sha")) or _head(payload),
        branch=_branch(payload, pull),
        labels=_labels(action, payload, thing),
        sender=_login(payload, "sender"),
        author=_login(written, "user") or _login(written, "author") or _login(payload, "sender"),
        association=association(event, action, payload, written),
        title=_text(thing.get("title")) or _text(written.get("name")) or "",
        body=_text(written.get("body")) or "",
        html_url=_text(thing.get("html_url")) or _text(written.get("html_url")),
        draft=thing.get("draft") if isinstance(thing.get("draft"), bool) else None,
        paths=_paths(payload) if event == "push" else None,
    )


def association(event: str, action: str | None, payload: dict[str, Any], written: dict[str, Any]) -> str:
    """How the sender belongs to the repository.

    The payload says it of who wrote the text; of who labels it, GitHub has seen to it that it is a collaborator.
    """
    sender = _login(payload, "sender")
    if sender is not None and sender == _login(_object(payload, "repository"), "owner"):
        return "OWNER"
    if sender == (_login(written, "user") or _login(written, "author")) and "author_association" in written:
        return _text(written["author_association"]) or "NONE"
    if event in BY_WRITERS or action in BY_COLLABORATORS.get(event, ()):
        return "COLLABORATOR"
    return "NONE"


def trusted(found: Facts, associations: Collection[str], logins: Collection[str], own: str | None) -> bool:
    """Whether the sender may start work; `own` is the slug of our App."""
    login = (found.sender or "").lower()
    if not login:
        return False
    named = {name.lower() for name in logins} | ({f"{own.lower()}[bot]"} if own else set())
    return found.association in associations or login in named


def first_line(found: Facts) -> str:
    return found.body.strip().partition("\n")[0].strip()


def value(payload: dict[str, Any], path: str) -> str | None:
    """What stands in the payload at `path.to.value`, as text; None if nothing does."""
    here: Any = payload
    for name in path.split("."):
        if not isinstance(here, dict) or name not in here:
            return None
        here = here[name]
    if isinstance(here, bool):
        return "true" if here else "false"
    return str(here) if isinstance(here, str | int | float) else None


def moment(written: Any) -> int | None:
    """Epoch milliseconds of ISO 8601 as GitHub writes it, or of seconds."""
    if isinstance(written, int):
        return written * 1000
    try:
        return int(datetime.fromisoformat(str(written)).timestamp() * 1000)
    except ValueError:
        return None


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) else None


def _number(found: Any) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _login(parent: dict[str, Any], name: str) -> str | None:
    return _text(_object(parent, name).get("login"))


def _head(payload: dict[str, Any]) -> str | None:
    for name in ("check_run", "check_suite", "workflow_run"):
        if sha := _text(_object(payload, name).get("head_sha")):
            return sha
    return _text(payload.get("after")) or _text(payload.get("sha"))


def _branch(payload: dict[str, Any], pull: dict[str, Any]) -> str | None:
    """The branch that it is about: what a pull request is for, what was pushed to."""
    ref = _text(_object(pull, "base").get("ref")) or _text(payload.get("ref"))
    for name in ("workflow_run", "check_suite"):
        ref = ref or _text(_object(payload, name).get("head_branch"))
    ref = ref or _text(_object(payload, "release").get("target_commitish"))
    return ref and ref.removeprefix("refs/heads/")


def _labels(action: str | None, payload: dict[str, Any], thing: dict[str, Any]) -> tuple[str, ...]:
    """The label that was put on or taken off; else those that it has."""
    if action in ("labeled", "unlabeled"):
        return tuple(filter(None, [_text(_object(payload, "label").get("name"))]))
    found = thing.get("labels")
    names = (label.get("name") for label in found if isinstance(label, dict)) if isinstance(found, list) else ()
    return tuple(name for name in names if isinstance(name, str))


def _paths(payload: dict[str, Any]) -> tuple[str, ...]:
    """The files that a push has changed."""
    commits = payload.get("commits")
    commits = [commit for commit in commits if isinstance(commit, dict)] if isinstance(commits, list) else []
    lists = (commit.get(kind) for commit in commits for kind in ("added", "modified", "removed"))
    return tuple(path for found in lists if isinstance(found, list) for path in found if isinstance(path, str))
