"""Reports to GitHub: a check at the commit, and one comment that is edited in place."""

from __future__ import annotations

from typing import Any

import structlog

from models import config, crypto, database, firings, github_apps, leases, runs, settings, visits
from models.base import new_id
from models.errors import NotFound, OutsideError
from models.firings import Firing
from models.github_apps import APP, NONE
from models.runs import Run
from models.status import TERMINAL, RunStatus
from workers import triggers
from workers.broker import actor, later
from workers.clients import github
from workers.clients.github import Client

log = structlog.get_logger(__name__)

CHECK_NAME = "DjinnBot"
CONCLUSIONS = {RunStatus.COMPLETED: "success", RunStatus.FAILED: "failure", RunStatus.CANCELLED: "cancelled"}
SIGNS = {"completed": "✅", "failed": "❌", "cancelled": "⏹️", "running": "⏳", "skipped": "⏭️", "paused": "⏸️"}
LEASE_MS = 120_000  # longer than a report takes
MOST_ATTEMPTS = 8
FIRST_PAUSE_MS = 10_000  # before the next attempt; doubles each time
LONGEST_PAUSE_MS = 3_600_000
SHOWN_CHARS = 1000  # of an error


@actor
def github_report(run_id: str) -> None:
    """Tells GitHub how the run is now, and starts what has waited for its end."""
    with database.connection():
        run, firing = _found(run_id)
    if run is None or firing is None:
        with database.transaction():
            triggers.report_answered(run_id, ended=True)
        return
    with database.transaction():
        triggers.run_ended(run_id)
    owner, lease = new_id("rep_"), f"report {place(firing) or run_id}"
    if not leases.hold(lease, owner, LEASE_MS):  # somebody reports there: the doorbell rings again
        return
    try:
        _report(run, firing)
    except OutsideError as error:
        _postpone(run, firing, error)
    else:
        with database.transaction():
            firings.note(firing, report_attempts=0, report_error=None)
            triggers.report_answered(run_id, ended=run.status in TERMINAL)
    finally:
        leases.release(lease, owner)


def _found(run_id: str) -> tuple[Run | None, Firing | None]:
    try:
        return runs.get(run_id), firings.of_run(run_id)
    except NotFound:
        return None, None


def place(firing: Firing) -> str | None:
    """`owner/name#number` in lower case."""
    return f"{firing.repository}#{firing.number}".lower() if firing.number else None


def _postpone(run: Run, firing: Firing, error: OutsideError) -> None:
    """Later again, when GitHub lets us; not for ever."""
    attempts = firing.report_attempts + 1
    log.warning("report_failed", run_id=run.id, attempts=attempts, error=error.message)
    pause = min(FIRST_PAUSE_MS * 2 ** (attempts - 1), LONGEST_PAUSE_MS)
    with database.transaction():
        firings.note(firing, report_attempts=attempts, report_error=error.message[:SHOWN_CHARS])
        triggers.report_answered(run.id, ended=run.status in TERMINAL)
        if attempts < MOST_ATTEMPTS:
            later("github_report", run.id, firings.STARTED, max(pause, (error.retry_after or 0) * 1000))


def _report(run: Run, firing: Firing) -> None:
    wanted, mode = settings.get("githubReports"), github_apps.identity().mode
    if mode == NONE or wanted == "off":
        return
    client = github.for_repository(firing.repository, firing.installation_id)
    table = _steps(run)
    if wanted in ("check", "both") and mode == APP and (sha := _head(client, firing)):
        _check(client, run, firing, sha, table)
    if wanted in ("comment", "both") and firing.number:
        _comment(client, firing, _text(run, firing, table))


def _head(client: Client, firing: Firing) -> str | None:
    """The commit that the run is about; of a comment at a pull request, its newest."""
    if firing.head_sha is None and firing.is_pull:
        pull = client.get(f"/repos/{github.path(firing.repository)}/pulls/{firing.number}")
        with database.transaction():
            firings.note(firing, head_sha=pull["head"]["sha"])
    return firing.head_sha


# --- the check ---


def _check(client: Client, run: Run, firing: Firing, sha: str, table: str) -> None:
    base = f"/repos/{github.path(firing.repository)}"
    if firing.check_id is None:
        _keep_check(firing, _made_before(client, base, sha, run.id))
    state = {"status": "in_progress", "output": {"title": _title(run), "summary": table}}
    if run.status in TERMINAL:
        state |= {"status": "completed", "conclusion": CONCLUSIONS[RunStatus(run.status)]}
    if firing.check_id is None:
        about = {"name": CHECK_NAME, "head_sha": sha, "external_id": run.id, "details_url": address(run)}
        _keep_check(firing, client.post(f"{base}/check-runs", about | state)["id"])
    else:
        client.patch(f"{base}/check-runs/{firing.check_id}", state)


def _made_before(client: Client, base: str, sha: str, run_id: str) -> int | None:
    """The check of an attempt that was cut off before it could write down what it had made."""
    found = client.pages(f"{base}/commits/{sha}/check-runs", "check_runs", check_name=CHECK_NAME)
    return next((check["id"] for check in found if check.get("external_id") == run_id), None)


def _keep_check(firing: Firing, check_id: int | None) -> None:
    with database.transaction():
        firings.note(firing, check_id=check_id)


# --- the comment ---


def _comment(client: Client, firing: Firing, text: str) -> None:
    here, base = place(firing), f"/repos/{github.path(firing.repository)}/issues"
    with database.connection():
        comment_id = firings.comment_of(here)
    if comment_id is not None and _edited(client, f"{base}/comments/{comment_id}", text):
        return
    comment_id = _commented_before(client, f"{base}/{firing.number}/comments", here)
    if comment_id is None:
        comment_id = client.post(f"{base}/{firing.number}/comments", {"body": text})["id"]
    else:
        client.patch(f"{base}/comments/{comment_id}", {"body": text})
    with database.transaction():
        firings.keep_comment(here, comment_id)


def _edited(client: Client, path: str, text: str) -> bool:
    """False if somebody has deleted the comment."""
    try:
        client.patch(path, {"body": text})
    except OutsideError as error:
        if error.details.get("status") != 404:
            raise
        return False
    return True


def _commented_before(client: Client, path: str, here: str) -> int | None:
    """The oldest comment with our mark, which nobody could know before we had written it."""
    found = client.pages(path)
    return next((comment["id"] for comment in found if _mark(here) in (comment.get("body") or "")), None)


def _mark(here: str) -> str:
    return f"<!-- djinnbot {crypto.fingerprint(f'comment {here}')} -->"


# --- the words ---


def _text(run: Run, firing: Firing, table: str) -> str:
    lines = [_mark(place(firing)), f"**{CHECK_NAME}**: {_title(run)} ([{run.id}]({address(run)}))", "", table]
    if url := (run.outputs or {}).get("pr_url"):
        lines += ["", f"Result: {_plain(url)}"]
    if run.error:
        fence = "~~~~"
        lines += ["", fence, _plain(run.error[:SHOWN_CHARS]).replace(fence, ""), fence]
    return "\n".join(lines)


def _title(run: Run) -> str:
    verb = "has" if run.status in TERMINAL else "is"
    return f"pipeline `{run.pipeline_id}` {verb} {_WORDS.get(run.status, run.status)}"


_WORDS = {"cancelled": "been cancelled", "pending": "waiting for a worker"}


def _plain(text: str) -> str:
    """Without calling anybody: an `@` is no mention any more."""
    return text.replace("@", "@\u200b")


def address(run: Run) -> str:
    return f"{config.get().base_url}/v1/runs/{run.id}"


def _steps(run: Run) -> str:
    """A table of what was entered, in that order."""
    with database.connection():
        rows = visits.of_run(run.id, run.epoch)
    cells = [f"| {row.step_key} | {SIGNS.get(row.status, '')} {row.status} | {_seconds(row)} |" for row in rows]
    return "\n".join(["| Step | Status | Time |", "|---|---|---|", *cells]) if cells else "No step has begun yet."


def _seconds(row: Any) -> str:
    return f"{(row.completed_at - row.queued_at) / 1000:.1f} s" if row.completed_at and row.queued_at else ""
