"""How long a webhook of GitHub waits for its answer while Redis is away; server time.

`python -m bench.webhooks [sqlite|postgres URL]`
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid

from bench.report import on_database

DELIVERIES, WARM_UP = 1_000, 20
SECRET = "webhook-secret-of-the-bench"
NOBODY = "redis://127.0.0.1:1"


def measure() -> None:
    from api.app import create_app
    from models import database, schema
    from tests.storm.report import share

    database.init()
    schema.migrate()
    client = create_app(start=False).test_client()
    times = sorted([timed(client, number) for number in range(WARM_UP + DELIVERIES)][WARM_UP:])
    print(f"{database.dialect()}, {DELIVERIES} deliveries of 12 KB, no Redis")
    shares = ", ".join(f"p{percent} {share(times, percent / 100):.1f} ms" for percent in (50, 95, 99))
    print(f"  answered 202: {shares}, longest {times[-1]:.1f} ms")


def timed(client, number: int) -> float:
    """Milliseconds until a new delivery is stored and answered."""
    body = json.dumps(payload(number)).encode()
    heads = {
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
    }
    began = time.perf_counter()
    answer = client.post("/v1/github/webhooks", data=body, content_type="application/json", headers=heads)
    taken = 1000 * (time.perf_counter() - began)
    assert answer.status_code == 202, answer.json
    return taken


def payload(number: int) -> dict:
    return {
        "action": "opened",
        "issue": {"number": number, "title": f"Issue {number}", "body": "word " * 2_000, "labels": []},
        "repository": {"id": 1, "full_name": "octo/bench", "name": "bench", "owner": {"login": "octo"}},
        "sender": {"login": "octocat", "type": "User"},
    }


if __name__ == "__main__":
    on_database(measure, GITHUB_WEBHOOK_SECRET=SECRET, REDIS_URL=NOBODY)
