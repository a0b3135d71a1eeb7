"""Triggers: what an event on GitHub starts, one at a time for each thing that it is about."""

from __future__ import annotations

from typing import Any

import structlog

from models import deliveries, firings, github_approvals, github_apps, outbox, projects, runs, settings, triggers
from models.base import dumps
from models.deliveries import Delivery
from models.errors import ConfigError, Conflict, NotFound
from models.firings import Firing
from models.status import TERMINAL
from models.triggers import Trigger
from pipelines import github_events, trigger_rules
from pipelines.github_events import Facts
from workers import definitions, tasks
from workers import runs as commands
from workers.boards import changing
from workers.broker import doorbell

log = structlog.get_logger(__name__)

BY = "github"  # who starts such runs
LONGEST_TITLE = 512
Effect = tuple[str, str]  # (kind, id of what came of it)


def react(trigger: Trigger, delivery: Delivery, facts: Facts, payload: dict[str, Any]) -> Effect | None:
    """What the trigger makes of a delivery, in the enclosing transaction; of a stranger's, a question to an admin."""
    if trigger_rules.reasons(trigger, facts):
        return None
    if is_trusted(facts):
        return fire(trigger, delivery.id, facts, payload)
    about = {"number": facts.number, "title": facts.title, "html_url": facts.html_url}
    who = {"repository": facts.repository, "sender": facts.sender, "association": facts.association}
    return "approval", github_approvals.ask(delivery_id=delivery.id, trigger_id=trigger.id, **about, **who)


def is_trusted(facts: Facts) -> bool:
    associations, users = settings.get("githubTrustedAssociations"), settings.get("githubTrustedUsers")
    return github_events.trusted(facts, associations, users, github_apps.identity().slug)


def fire(trigger: Trigger, delivery_id: str, facts: Facts, payload: dict[str, Any]) -> Effect:
    """Starts what the trigger is for, unless that goes on already. Raises ConfigError, NotFound, TooMany."""
    firings.lock()
    scope = f"{_target(trigger)}:{trigger_rules.key(trigger, facts, payload)}"
    row = {"scope": scope, "trigger_id": trigger.id, "delivery_id": delivery_id} | place(facts)
    if trigger.target["kind"] == "task":
        return _make_task(trigger, row, facts, payload)
    live = firings.live_runs(scope)
    if live and trigger.on_conflict == "skip":
        return "skipped", live[0]
    if live and trigger.on_conflict == "queue":
        return "waiting", firings.add(**row, waiting=True).id
    for run_id in live:
        commands.cancel(run_id, "a newer event on GitHub took its place", BY)
    run_id = _start(trigger, facts, payload)
    firings.add(**row, run_id=run_id)
    triggers.count(trigger.id)
    return "run", run_id


def _target(trigger: Trigger) -> str:
    return f"{trigger.target['kind']}:{trigger.target.get('project_id') or trigger.target.get('pipeline_id')}"


def place(facts: Facts) -> dict[str, Any]:
    """Where on GitHub it is, for reports."""
    names = ("installation_id", "number", "is_pull", "head_sha")
    return {name: getattr(facts, name) for name in names} | {"repository": facts.repository or ""}


def _start(trigger: Trigger, facts: Facts, payload: dict[str, Any]) -> str:
    text = trigger_rules.render(trigger.task_template, facts, payload)
    project_id = trigger.target.get("project_id")
    return start(trigger.target["pipeline_id"], text, facts, project_id, created_by=BY, tags=trigger.target.get("tags"))


def start(pipeline_id: str, text: str, facts: Facts, project_id: str | None = None, tags=None, **columns: Any) -> str:
    """A run about something on GitHub, whose text is not trusted; reports follow. Raises ConfigError, TooMany."""
    project = project_of(facts, project_id)
    linked = {"project_id": project.id, "project_name": project.name} if project else {}
    run_id = commands.start(
        definitions.startable(pipeline_id),
        task_description=text,
        human_context=dumps(context(facts)),
        tags=tuple(tags or ()),
        tainted_by=f"github {facts.repository}#{facts.number}",
        **linked,
        **columns,
    )
    doorbell("github_report", run_id, firings.STARTED)
    return run_id


def project_of(facts: Facts, project_id: str | None) -> projects.Project | None:
    """The project that is named, else the only one of the repository. Raises NotFound."""
    if project_id:
        return projects.get(project_id)
    found = projects.of_repository(facts.repository or "")
    return projects.get(found[0]) if len(found) == 1 else None


def context(facts: Facts) -> dict[str, Any]:
    """What the pipeline's templates can name."""
    thing = {"repo_full_name": facts.repository, "issue_number": facts.number, "issue_title": facts.title}
    place = {"issue_url": facts.html_url, "head_sha": facts.head_sha, "branch": facts.branch}
    given = thing | {"issue_body": facts.body, "event": facts.event, "sender": facts.sender} | place
    return {name: value for name, value in given.items() if value not in (None, "")}


def _make_task(trigger: Trigger, row: dict[str, Any], facts: Facts, payload: dict[str, Any]) -> Effect:
    if firings.has_task(row["scope"]):
        return "skipped", row["scope"]
    target = trigger.target
    text = trigger_rules.render(trigger.task_template, facts, payload)
    origin = {"delivery_id": row["delivery_id"], "issue_number": facts.number, "html_url": facts.html_url}
    fields = {"priority": target.get("priority"), "assigned_agent": target.get("agent_id"), "tags": target.get("tags")}
    given = {name: value for name, value in fields.items() if value is not None}
    with changing(target["project_id"], BY) as change:
        title, _, description = text.strip().partition("\n")
        texts = {"title": title[:LONGEST_TITLE] or facts.title or "From GitHub", "description": description.strip()}
        made = tasks.create_in(change, by_server=True, **texts, metadata={"source": "github"} | origin, **given)
    firings.add(**row, task_id=made.id)
    triggers.count(trigger.id)
    return "task", made.id


# --- approvals ---


def approve(id: str, by: str, comment: str | None) -> github_approvals.GitHubApproval:
    """Starts what a stranger has asked for, in the enclosing transaction. Raises NotFound, Conflict."""
    item = github_approvals.decide(id, github_approvals.APPROVED, by, comment)
    trigger, delivery = triggers.get(item.trigger_id), _delivery(item.delivery_id)
    payload = deliveries.payload(delivery)
    try:
        _, ref = fire(trigger, delivery.id, github_events.facts(delivery.event, payload), payload)
    except ConfigError as error:
        raise Conflict(error.message, "pipeline_invalid", allowed=["reject"]) from error
    github_approvals.note_result(id, ref)
    return github_approvals.get(id)


def _delivery(id: str) -> Delivery:
    try:
        return deliveries.get(id)
    except NotFound as gone:
        raise Conflict("What was delivered is not kept any more", "delivery_gone", allowed=["reject"]) from gone


# --- one after the other ---


def run_ended(run_id: str) -> None:
    """Starts what has waited for the run's end, in the enclosing transaction; again once it is restarted."""
    firing = firings.of_run(run_id)
    if firing is None or runs.get(run_id).status not in TERMINAL:
        return
    firings.lock()
    waiting = firings.first_waiting(firing.scope)
    if waiting is not None and not firings.live_runs(firing.scope):
        _begin(waiting)


def _begin(waiting: Firing) -> None:
    """Its turn has come, unless its trigger, its delivery or its pipeline is gone."""
    try:
        trigger, delivery = triggers.get(waiting.trigger_id), deliveries.get(waiting.delivery_id)
        payload = deliveries.payload(delivery)
        run_id = _start(trigger, github_events.facts(delivery.event, payload), payload)
    except (NotFound, ConfigError) as error:
        log.warning("waiting_run_dropped", scope=waiting.scope, error=error.message)
        waiting.delete_instance()
        return
    firings.begin(waiting, run_id)
    triggers.count(trigger.id)


def report_answered(run_id: str, ended: bool) -> None:
    """Its doorbells need not ring any more."""
    for ref in (firings.STARTED, *([firings.ENDED] if ended else [])):
        outbox.answered(run_id, ref)
