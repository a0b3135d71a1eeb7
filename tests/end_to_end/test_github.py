"""GitHub and a platform of real processes: from a delivery and from the published CLI to a comment on the issue."""

from __future__ import annotations

import httpx
import pytest

from tests import github
from tests.end_to_end.test_djinnbot_cli import djinn
from tests.github_double import GitHubDouble
from tests.platform import Platform, running, wait_for
from tests.workers.clients.test_github import PAT

REPLIES = {
    "ANALYZE": ["ANALYSIS: it is broken\nPLAN: mend it"],
    "IMPLEMENT": ["CHANGES: mended\nBRANCH: issue-7"],
    "VALIDATE": ["VALIDATE_RESULT: PASS\nTEST_REPORT: all is well"],
    "PR": ["PR_URL: https://github.com/octo/a/pull/8"],
}


@pytest.fixture(scope="module")
def double():
    made = GitHubDouble()
    made.issues |= {f"octo/a#{number}": github.issue(number) for number in (7, 8)}
    yield made
    made.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory, double):
    known = {"GITHUB_TOKEN": PAT, "GITHUB_WEBHOOK_SECRET": github.SECRET, "GITHUB_API_URL": double.url}
    yield from running(tmp_path_factory.mktemp("platform"), EGRESS_ALLOW=double.place, **known)


def comment(double: GitHubDouble, number: int) -> str:
    """The one comment at the issue, once its run is over."""
    found = [each["body"] for each in double.comments.values() if each["place"] == f"octo/a#{number}"]
    assert len(found) == 1 and "has completed" in found[0]
    return found[0]


def test_a_label_starts_a_run_that_reports_at_the_issue(platform: Platform, double) -> None:
    platform.script(REPLIES)
    payload = github.labeled(7)
    payload["repository"]["full_name"] = "octo/a"
    body = github.encode(payload)
    url = f"{platform.client.base_url}/v1/github/webhooks"
    assert httpx.post(url, content=body, headers=github.heads("issues", body)).status_code == 202
    text = wait_for(lambda: comment(double, 7), 60)
    assert "| VALIDATE | ✅ completed |" in text and "https://github.com/octo/a/pull/8" in text
    assert len(double.calls("POST", "/issues/7/comments")) == 1
    (delivery,) = platform.client.get("/v1/github/deliveries")
    assert (delivery["status"], [effect["kind"] for effect in delivery["effects"]]) == ("processed", ["run"])


def test_the_published_cli_resolves_an_issue(platform: Platform, double) -> None:
    platform.script(REPLIES)
    said = djinn(platform, "resolve", "octo/a#8")
    assert "octo/a#8" in said and "It is broken" in said and "Status: pending" in said
    wait_for(lambda: comment(double, 8), 60)
    status = platform.client.get("/v1/github/app/status")
    assert (status["healthy"], status["message"]) == (True, "Connected as operator")
