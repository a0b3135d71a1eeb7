"""Runs pipelines to their end inside the test's process, with scripted agents."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import yaml

from models import config, database, events, outbox, runs, visits
from models.calls import LLMCall
from pipelines import personas
from pipelines.catalog import LIBRARY, Catalog
from pipelines.checks import Known
from workers import runs as commands
from workers import steps

HARD_LIMIT_SECONDS = 20.0


class Engine:
    """`pipeline` is the id of a built-in one, the path of a file, or the text of one."""

    def __init__(self, pipeline: str | Path, replies: dict | None = None, **request) -> None:
        self.script(replies or {})
        self.entry = _entry(pipeline)
        assert self.entry.valid, self.entry.errors
        self.run_id = commands.start(self.entry, **{"task_description": "Build a todo app", **request})

    def script(self, replies: dict) -> None:
        path = Path(config.get().scripted_replies)
        path.write_text(yaml.safe_dump(replies), "utf-8")

    def finish(self) -> Engine:
        """Rings until the run is over, as relay and queue would."""
        deadline = time.monotonic() + HARD_LIMIT_SECONDS
        while not self.over:
            assert time.monotonic() < deadline, f"stuck: {self.statuses}"
            steps.advance_run(self.run_id)
            time.sleep(0.005)
        return self

    def restart(self, **options) -> Engine:
        commands.restart(self.run_id, **options)
        return self.finish()

    def fork(self, **options) -> Engine:
        """The fork, run to its end."""
        made = object.__new__(Engine)
        made.entry, made.run_id = self.entry, commands.fork(self.run_id, **options)
        return made.finish()

    @property
    def over(self) -> bool:
        return self.run.status in ("completed", "failed", "cancelled")

    @property
    def run(self) -> runs.Run:
        with database.connection():
            return runs.get(self.run_id)

    @property
    def visits(self) -> list[visits.VisitRow]:
        with database.connection():
            return visits.of_run(self.run_id, runs.get(self.run_id).epoch)

    @property
    def counts(self) -> dict[str, int]:
        """Visits per step."""
        return dict(Counter(visit.step_key for visit in self.visits))

    @property
    def statuses(self) -> list[tuple[str, str]]:
        return [(visit.step_key, visit.status) for visit in self.visits]

    def of(self, key: str) -> list[visits.VisitRow]:
        return [visit for visit in self.visits if visit.step_key == key]

    @property
    def events(self) -> list[dict]:
        with database.connection():
            return [events.decode(row["data"]) for row in events.after(self.run_id, 0, 100_000)]

    @property
    def types(self) -> list[str]:
        """Event names without text and calls."""
        quiet = ("agent_output", "agent_thinking", "llm_call")
        return [event["type"] for event in self.events if event["type"] not in quiet]

    def check_invariants(self) -> None:
        """What must hold after every run that has called a model."""
        self.check_log()
        with database.connection():
            assert LLMCall.select().where(LLMCall.run_id == self.run_id, LLMCall.status == "ok").count() > 0

    def check_log(self) -> None:
        """What must hold after every run (engine, "Execution protocol")."""
        log = self.events
        assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
        assert log[0]["type"] == "run_created"
        epochs = Counter(event["epoch"] for event in log if event["type"] in events.TERMINAL_TYPES)
        assert set(epochs.values()) == {1} and log[-1]["type"] in events.TERMINAL_TYPES
        done = Counter(
            (e["epoch"], e["step_id"], e["visit"], e["item_index"]) for e in log if e["type"] == "step_complete"
        )
        assert all(count == 1 for count in done.values())
        assert not {visit.status for visit in self.visits} & {"queued", "running", "retrying", "paused", "pending"}
        with database.connection():
            assert outbox.Outbox.select().where(outbox.Outbox.object_id == self.run_id).count() == 0


def _entry(pipeline: str | Path):
    folder = config.get().pipelines_dir
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(pipeline, Path) or "\n" in pipeline:
        text = pipeline.read_text() if isinstance(pipeline, Path) else pipeline
        (folder / "test.yml").write_text(text, "utf-8")
        pipeline = yaml.safe_load(text)["id"]
    writer = config.get().agents_dir / "writer"
    writer.mkdir(parents=True, exist_ok=True)
    (writer / "IDENTITY.md").write_text("Name: Writer\nWrites.", "utf-8")
    known = Known(agents=personas.installed(config.get().agents_dir))
    return Catalog([folder, LIBRARY], lambda: known).get(pipeline)
