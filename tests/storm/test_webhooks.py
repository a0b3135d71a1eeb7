"""GitHub delivers, often more than once, while the API dies."""

from __future__ import annotations

import json
import time
import uuid

import httpx

from tests import github
from tests.platform import wait_for
from tests.storm.invariants import Findings
from tests.storm.target import Storm

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.1  # between two tries of one delivery


def test_f15_deliveries_come_three_times_while_the_api_is_killed(storm, size, row) -> None:
    count, before = size(60, 1000), processed(storm)
    project = listen(storm)
    copies = [copy for number in range(count) for copy in three_of(storm, project, number)]
    storm.random.shuffle(copies)
    posted = [storm.callers.spread(deliver, storm, *copy) for copy in copies]
    kills = 0
    while not all(future.done() for future in posted) and kills < size(6, 60):
        time.sleep(storm.random.uniform(0.5, 2))
        storm.replace("web")
        wait_for(lambda: storm.client.get("/readyz"), PATIENCE_SECONDS)  # one that never lives takes nothing
        kills += 1
    answers = [future.result(PATIENCE_SECONDS) for future in posted]
    wait_for(lambda: all_is_processed(storm, before + count), size(60, 300))
    found = check(storm, project, count)
    told = {"kills": kills, "first": answers.count(False), "duplicates": answers.count(True)}
    row("F15 webhooks three times, API killed", storm, found, count, **told)
    assert not found.all and kills and answers.count(False) <= count


def listen(storm: Storm) -> str:
    """A project in which every issue that is opened makes a task; its id."""
    project = storm.client.post("/v1/projects", {"name": "storm"})["id"]
    trigger = {"name": "storm", "event": "issues", "actions": ["opened"], "task_template": "{{issue.title}}"}
    target = {"kind": "task", "project_id": project}
    mine = {"repositories": [f"octo/{project}"], "target": target}
    storm.client.post("/v1/github/triggers", trigger | mine)
    return project


def three_of(storm: Storm, project: str, number: int) -> list[tuple[bytes, str]]:
    """(body, delivery id): twice under one id, and once under another, as a replay would be."""
    about = github.about() | {"repository": {"full_name": f"octo/{project}", "owner": {"login": "octo"}}}
    body = github.encode({"action": "opened", "issue": github.issue(number, title=f"issue {number}"), **about})
    first, other = (str(uuid.UUID(int=storm.random.getrandbits(128))) for _ in range(2))
    return [(body, first), (body, first), (body, other)]


def deliver(storm: Storm, body: bytes, guid: str) -> bool:
    """Sends until it is taken, as GitHub does when it is asked to; whether it was a duplicate."""
    sent = github.heads("issues", body) | {"X-GitHub-Delivery": guid}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer = httpx.post(f"http://127.0.0.1:{storm.port}/v1/github/webhooks", content=body, headers=sent)
            if answer.status_code in (200, 202):
                return answer.json()["duplicate"]
            assert answer.status_code == 503, answer.text
        except httpx.TransportError:
            assert time.monotonic() < deadline, "nobody took the delivery"
        time.sleep(PAUSE_SECONDS)


def processed(storm: Storm) -> int:
    return storm.store.value("SELECT count(*) FROM github_deliveries WHERE status = 'processed'")


def all_is_processed(storm: Storm, count: int) -> None:
    assert processed(storm) == count


def check(storm: Storm, project: str, count: int) -> Findings:
    """Each issue has one delivery in the inbox, processed in one go of effects, and one task."""
    found = Findings(broken=storm.store.damage())
    rows = storm.store.rows("SELECT id, effects FROM github_deliveries WHERE repository = ?", f"octo/{project}")
    titles = [title for (title,) in storm.store.rows("SELECT title FROM tasks WHERE project_id = ?", project)]
    found.lost = sorted({f"issue {number}" for number in range(count)} - set(titles))
    found.duplicates = sorted(title for title in set(titles) if titles.count(title) > 1)
    kinds = [[effect["kind"] for effect in json.loads(effects)] for _, effects in rows]
    found.broken += [f"{len(rows)} rows"] * (len(rows) != count) + [str(each) for each in kinds if each != ["task"]]
    left = storm.store.value("SELECT count(*) FROM outbox WHERE actor = 'github_delivery'")
    return Findings(found.lost, found.duplicates, found.broken + [f"{left} doorbells"] * bool(left))
