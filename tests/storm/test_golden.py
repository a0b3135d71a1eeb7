"""The golden pipelines come to the same end whether or not their workers die on the way."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from tests.platform import wait_for
from tests.storm.target import Storm

FILES = Path(__file__).parent.parent / "fixtures" / "pipelines"
PIPELINES = ("import", "bugfix", "engineering", "t3")
ANSWERS = {
    "FIX": ["ROOT_CAUSE: off by one\nFIX_SUMMARY: counted right"],
    "VALIDATE": ["VALIDATE_RESULT: FAIL\nTEST_REPORT: red", "VALIDATE_RESULT: PASS\nTEST_REPORT: green"],
    "DESIGN": ['ARCHITECTURE: small\nTASK_BREAKDOWN_JSON: ["one", "two"]'],
    "REVIEW": [
        "REVIEW_RESULT: CHANGES_REQUESTED\nREVIEW_FEEDBACK: no",
        "REVIEW_RESULT: APPROVED\nREVIEW_FEEDBACK: yes",
    ],
    "TEST": ["TEST_RESULT: PASS\nTEST_REPORT: green"],
    "DEPLOY": ["DEPLOY_RESULT: SUCCESS\nDEPLOY_REPORT: live"],
    "A": [json.dumps([f"item {number}" for number in range(10)])],
}
KEYS = ("CLONE", "ANALYZE_ARCHITECTURE", "CODE_QUALITY", "MARKET_RESEARCH", "GENERATE_TASKS", "SPEC", "UX", "IMPLEMENT")
KEYS += ("B", "C", "D", "E", "MAP", "FIRST", "SECOND", "PUBLISH")
KILLS = 2  # one less than what a visit may cost


def test_workers_that_die_change_no_end(storm, size, row) -> None:
    install(storm)
    first = [storm.callers.start(pipeline) for pipeline in PIPELINES]
    calm = dict(zip(PIPELINES, end(storm, first), strict=True))
    posted = {pipeline: storm.post(size(3, 20), pipeline, pause=0.3) for pipeline in PIPELINES}
    wait_for(lambda: storm.busy(6), 60)
    for _ in range(KILLS):
        time.sleep(storm.random.uniform(0.5, 2))
        storm.replace("worker")
    ids = {pipeline: [future.result(60) for future in posted[pipeline]] for pipeline in PIPELINES}
    other = [run for pipeline in PIPELINES for run in end(storm, ids[pipeline]) if run != calm[pipeline]]
    found, count = storm.findings(), len(storm.recoveries())
    row("G1-G17 killed on the way", storm, found, sum(map(len, ids.values())), resumed=count, other_ends=len(other))
    assert not found.all and not other and count


def install(storm: Storm) -> None:
    """The fixtures, the agent that they name, and answers that take their time."""
    for name in ("t1", "t3"):
        storm.pipeline((FILES / f"{name}.yml").read_text())
    writer = storm.folder / "agents" / "writer"
    writer.mkdir(parents=True, exist_ok=True)
    (writer / "IDENTITY.md").write_text("Name: Writer\nWrites.")
    answers = {key: [f"{key.lower()} is done"] for key in KEYS} | ANSWERS
    storm.script({key: [{"text": text, "delay_ms": 200} for text in texts] for key, texts in answers.items()})


def end(storm: Storm, ids: list[str]) -> list[tuple]:
    """Of each run once all are over: its status, its visits per step, its outputs."""
    wait_for(storm.approve_the_rest, 120)
    runs = [storm.client.get(f"/v1/runs/{run_id}") for run_id in ids]
    return [(run["status"], visits(storm, run["id"]), run["outputs"]) for run in runs]


def visits(storm: Storm, run_id: str) -> Counter:
    return Counter(key for (key,) in storm.store.rows("SELECT step_key FROM visits WHERE run_id = ?", run_id))
