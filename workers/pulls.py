"""Pull requests that we open, or bring up to date."""

from __future__ import annotations

from typing import Any

from models.errors import OutsideError

EXISTS = 422  # how GitHub says that there is one already, among other things


def offer(repository: str, branch: str, base: str, title: str, body: str) -> dict[str, Any]:
    """{pr_url, pr_number} of the open pull request for that branch. Raises OutsideError."""
    from workers.clients import github  # loading PyGithub takes half a second, which the API need not wait for

    client, place = github.for_repository(repository), f"/repos/{github.path(repository)}/pulls"
    text = {"title": title, "body": body}
    try:
        pull = client.post(place, text | {"head": branch, "base": base})
    except OutsideError as error:
        if error.details.get("status") != EXISTS:
            raise
        head = f"{repository.partition('/')[0]}:{branch}"
        found = client.get(place, head=head, state="open")
        if not found:
            raise
        pull = client.patch(f"{place}/{found[0]['number']}", text)
    return {"pr_url": pull["html_url"], "pr_number": pull["number"]}
