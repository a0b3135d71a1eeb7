"""Opening an attempt for work: its workspace, its feed, its deadline."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import gevent

from models import database, projects, redaction
from models.base import now_ms
from models.errors import AttemptTimeout, NotFound, OutsideError, RunTimeout
from pipelines.state import Visit
from workers import repositories, workspaces
from workers.agent import prompt, settings
from workers.agent.feed import Feed
from workers.agent.loop import Answer, Attempt
from workers.agent.work import StepWork
from workers.holds import Hold
from workers.walks import Walk


class Opened:
    """One attempt, made when it runs, so that whatever goes wrong in making it is the attempt's error."""

    def __init__(self, walk: Walk, visit: Visit, feed: Feed, until_settled: contextlib.ExitStack) -> None:
        self.walk, self.visit, self.feed = walk, visit, feed
        self._until_settled = until_settled

    def run(self) -> Answer:
        """The step's answer. Raises a StepError (a timeout among them) or LeaseLost."""
        chosen = settings.resolve(self.walk, self.visit)
        if chosen.toolbox.specs:
            _prepare_workspace(self.walk, self.visit)
            _write_progress(self.walk, self.visit)
        self._keep_silent(chosen.granted.redactor)
        with self.feed.cleaned_errors(), _deadline(self.walk, self.visit, chosen.timeout_seconds):
            return Attempt(self.walk, self.visit, chosen, self.feed).run()

    def _keep_silent(self, redactor: redaction.Redactor) -> None:
        """Whatever is written of this attempt, its log lines included, shows no secret."""
        if redactor:
            self.feed.redactor = redactor
            self._until_settled.enter_context(redaction.active(redactor))


@contextlib.contextmanager
def opened(walk: Walk, visit: Visit, hold: Hold) -> Iterator[Opened]:
    with Feed(StepWork(walk.run, visit, hold)) as feed, contextlib.ExitStack() as until_settled:
        yield Opened(walk, visit, feed, until_settled)


@contextlib.contextmanager
def _deadline(walk: Walk, visit: Visit, seconds: float) -> Iterator[None]:
    """Throws into the attempt when its own time or the run's is used up."""
    left = seconds - (now_ms() - visit.started_at) / 1000
    run_left = walk.run.max_duration_seconds - (now_ms() - walk.run.started_at - walk.run.paused_ms) / 1000
    error = AttemptTimeout(f"{visit.step_key} took longer than its {seconds:g} seconds")
    if run_left < left:
        error = RunTimeout(f"The run took longer than its {walk.run.max_duration_seconds} seconds")
    with gevent.Timeout(max(min(left, run_left), 0.001), error):
        yield


def _prepare_workspace(walk: Walk, visit: Visit) -> None:
    """The folder as the attempt must find it: restored if the epoch or the repeat says so, and kept as a snapshot."""
    run, name = walk.run, workspaces.snapshot_name(walk.run.id, walk.run.epoch, visit.n)
    walk.workspace.mkdir(parents=True, exist_ok=True)
    if visit.interrupted is None:
        _restore(walk, visit, name)
    if not run.workspace_from and _is_first(walk, visit):
        _clone(walk)
    if visit.interrupted is None and not workspaces.take(run.id, name):
        walk.state.warnings.append("The workspace is over 2 GiB: no snapshots of it are kept")


def _restore(walk: Walk, visit: Visit, name: str) -> None:
    run = walk.run
    if visit.retry_count and walk.state.step(visit).workspace_on_retry == "reset":
        workspaces.restore(run.id, name)
    elif run.workspace_from is not None and _is_first(walk, visit):
        workspaces.restore(run.id, run.workspace_from or None)


def _clone(walk: Walk) -> None:
    """The repository of the run's project, as it was fetched last."""
    if walk.run.project_id is None:
        return
    try:
        with database.connection():
            project = projects.get(walk.run.project_id)
        repositories.clone(project, walk.workspace)
    except (NotFound, OutsideError) as error:
        walk.state.warnings.append(f"The repository is not in the workspace: {error.message}")


def _is_first(walk: Walk, visit: Visit) -> bool:
    """Whether nothing else has begun in this epoch."""
    others = [other for other in walk.state.visits if other.n != visit.n and other.first_seq is not None]
    return not others and visit.retry_count == 0


def _write_progress(walk: Walk, visit: Visit) -> None:
    """In a loop, a file with one line per finished item that the agent can read."""
    if not visit.scope:
        return
    key, _, index = visit.scope[-1]
    path = walk.workspace / prompt.PROGRESS_FILE.format(step=key)
    path.parent.mkdir(exist_ok=True)
    items = walk.state.entry(visit.scope).items[:index]
    lines = (f"{number}. {' '.join(prompt.as_text(item).split())}\n" for number, item in enumerate(items, 1))
    path.write_text("".join(lines), "utf-8")
