"""The commands in any order that Hypothesis thinks of: statuses follow their tables and the invariants hold."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from models import approvals as stored
from models import config, database, workers
from models.errors import Conflict
from models.status import TERMINAL
from models.workers import Worker
from pipelines.catalog import Catalog
from pipelines.checks import Known
from tests.storm import invariants, pipelines
from tests.storm.store import Store
from workers import approvals, steps
from workers import runs as commands
from workers.claims import claim, release
from workers.process import Process
from workers.sweeper import Sweeper
from workers.walks import Walk

LOOP = """
id: loop
agents: [{id: a}]
defaults: {tools: [], retry: {delaySeconds: 0.001}}
steps:
  - {id: LIST, agent: a, input: "list", outputs: [things], onComplete: EACH}
  - {id: EACH, agent: a, input: "{{current_item}}", outputs: [part], loop: {over: things, onEachComplete: CHECK}}
  - {id: CHECK, agent: a, input: "check", onResult: {FAIL: {goto: EACH}, PASS: {continueLoop: true}}, outputs: [result]}
"""
FAILING = """
id: failing
agents: [{id: a}]
defaults: {tools: [], maxRetries: 1, retry: {delaySeconds: 0.001}}
steps: [{id: ONE, agent: a, input: "one", outputs: [o]}]
"""
REPLIES = {
    "LIST": ['["one", "two"]'],
    "CHECK[0]": ["FAIL", "PASS"],
    "CHECK": ["status: failed", "PASS"],
    "ONE": ["status: failed", "one", "status: failed"],
}


@dataclass(frozen=True)
class Taken:
    """A step that a worker has claimed and not finished."""

    walk: Walk
    n: int
    token: int


class Commands(RuleBasedStateMachine):
    """Workers are rows of this very process; one dies when its row says that it is another process."""

    ids, taken = Bundle("ids"), Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []
        self.catalog = Catalog([config.get().pipelines_dir], lambda: Known(agents=frozenset({"a"})))
        self.store = Store(str(config.get().sqlite_path))
        self._begin_worker()

    def _begin_worker(self) -> None:
        Process.worker_id = workers.register("test", 1)

    @rule(target=ids, pipeline=st.sampled_from(["failing", "fork", "gate", "loop"]))
    def start(self, pipeline: str) -> str:
        self.all.append(commands.start(self.catalog.get(pipeline), task_description="test"))
        return self.all[-1]

    @rule(run_id=ids)
    def advance(self, run_id: str) -> None:
        steps.advance_run(run_id)

    @rule(target=taken, run_id=ids)
    def take(self, run_id: str):
        return self._taken(claim(run_id))

    def _taken(self, found):
        return Taken(found[0], found[1].n, found[1].token) if found else multiple()

    @rule(target=taken, it=consumes(taken))
    def finish(self, it: Taken):
        """However late, and whoever has it by now."""
        return self._taken(steps.work(it.walk, it.walk.state.visits[it.n - 1]))

    @rule(it=consumes(taken))
    def give_back(self, it: Taken) -> None:
        release(it.walk.run.id, it.walk.run.epoch, it.n, it.token, "deploy")

    @rule()
    def die(self) -> None:
        """The worker is gone with all it holds; the sweeper finds out, and another begins."""
        with database.transaction():
            Worker.update(process_started=1).where(Worker.id == Process.worker_id).execute()
        self._begin_worker()
        Sweeper().sweep()
        with database.connection():
            assert not workers.held_by_strangers()

    @rule()
    def leave(self) -> None:
        """The worker forgets what it holds and says goodbye."""
        workers.unregister(Process.worker_id)
        self._begin_worker()
        Sweeper().sweep()
        with database.connection():
            assert not workers.held_by_strangers()

    @rule(run_id=ids)
    def cancel(self, run_id: str) -> None:
        with suppress(Conflict):
            commands.cancel(run_id)

    @rule(run_id=ids, where=st.sampled_from(["start", "failed"]))
    def restart(self, run_id: str, where: str) -> None:
        with suppress(Conflict):
            commands.restart(run_id, from_=where)

    @rule(run_id=ids)
    def pause(self, run_id: str) -> None:
        with suppress(Conflict):
            commands.pause(run_id)

    @rule(run_id=ids)
    def resume(self, run_id: str) -> None:
        with suppress(Conflict):
            commands.resume(run_id)

    @rule(run_id=ids, decision=st.sampled_from(["approve", "reject"]))
    def decide(self, run_id: str, decision: str) -> None:
        with database.connection():
            waiting = stored.pending_of(run_id)
        for approval in waiting:
            with suppress(Conflict):
                approvals.decide(approval.id, decision)

    @invariant()
    def the_rows_say_no_wrong(self) -> None:
        found = invariants.over(self.store, self.all)
        assert not found.duplicates and not found.broken, found

    def teardown(self) -> None:
        """In the end a worker that lives brings every run to its end."""
        self.die()
        for run_id in self.all:
            self._finish(run_id)
        assert not invariants.over(self.store, self.all).all

    def _finish(self, run_id: str) -> None:
        deadline = time.monotonic() + 10
        while self.store.value("SELECT status FROM runs WHERE id = ?", run_id) not in TERMINAL:
            assert time.monotonic() < deadline, invariants.over(self.store, [run_id])
            self.resume(run_id)
            self.decide(run_id, "approve")
            steps.advance_run(run_id)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_commands_in_any_order(store, size, tmp_path) -> None:
    (tmp_path / "replies.yml").write_text(yaml.safe_dump(REPLIES))
    (tmp_path / "pipelines").mkdir()
    for text in (FAILING, pipelines.FORK, pipelines.GATE, LOOP):
        (tmp_path / "pipelines" / f"{yaml.safe_load(text)['id']}.yml").write_text(text)
    limits = settings(
        max_examples=size(25, 300),
        stateful_step_count=size(20, 40),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Commands, settings=limits)
