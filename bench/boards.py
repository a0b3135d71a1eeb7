"""A board of 5,000 tasks: a page of the list, and a transition that sets 500 tasks free; server time.

`python -m bench.boards [sqlite|postgres URL]`
"""

from __future__ import annotations

import time

from bench.report import on_database

TASKS, CASCADE, PAGES = 5_000, 500, 100


def measure() -> None:
    from api.app import create_app
    from models import database, schema
    from tests.storm.report import share

    database.init()
    schema.migrate()
    client = create_app(start=False).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer bench"
    project_id, blocker = filled()
    url = f"/v1/projects/{project_id}/tasks"
    pages = sorted(
        timed(lambda n=n: client.get(f"{url}?limit=50&status={'ready' if n % 2 else 'blocked'}")) for n in range(PAGES)
    )
    whole = sorted(timed(lambda: client.get(url)) for _ in range(20))
    moved = timed(lambda: client.post(f"{url}/{blocker}/transition", json={"status": "done"}))
    shown = client.get(f"{url}?status=ready&limit=200").json
    assert len(shown) == 200, len(shown)
    print(f"{database.dialect()}, {TASKS} tasks")
    print(f"  list page of 50:  p50 {share(pages, 0.5):.1f} ms, p95 {share(pages, 0.95):.1f} ms")
    print(f"  list page of 200: p50 {share(whole, 0.5):.1f} ms, p95 {share(whole, 0.95):.1f} ms")
    print(f"  transition with a cascade over {CASCADE} tasks: {moved:.0f} ms")


def filled() -> tuple[str, str]:
    """(the project, the task that all of the cascade wait for)."""
    from workers import projects, tasks
    from workers.boards import changing

    project_id = projects.create("Bench")
    blocker = tasks.create(project_id, title="Blocker").id
    with changing(project_id, None) as change:
        for number in range(TASKS):
            edges = [{"task_id": blocker}] if number < CASCADE else []
            status = None if edges else ("backlog", "planning", "planned", "ux")[number % 4]
            fields = {"description": "word " * 100, "tags": ["one", "two"], "dependencies": edges}
            tasks.create_in(change, title=f"Task {number}", status=status, **fields)
    return project_id, blocker


def timed(call) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    answer = call()
    assert answer.status_code == 200, answer.text
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    on_database(measure, API_TOKEN="bench")
