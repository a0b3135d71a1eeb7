"""GitHub as it calls us: payloads, signed."""

from __future__ import annotations

import copy
import hashlib
import hmac
import itertools
import json
import uuid
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent / "npm/node_modules/@octokit/webhooks-examples/api.github.com/index.json"
SECRET = "a secret that GitHub and we know"
_numbers = itertools.count(1)


def examples() -> list[tuple[str, dict[str, Any]]]:
    """(event, payload) of every recorded example."""
    kinds = json.loads(EXAMPLES.read_text())
    return [(kind["name"], payload) for kind in kinds for payload in kind["examples"]]


def encode(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def sign(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def heads(event: str, body: bytes, secret: str = SECRET, **more: str) -> dict[str, str]:
    """The headers of a delivery."""
    sent = {"X-GitHub-Event": event, "X-GitHub-Delivery": str(uuid.uuid4()), "X-Hub-Signature-256": sign(body, secret)}
    return {"Content-Type": "application/json", **sent, **more}


def deliver(client: Any, event: str, payload: dict[str, Any], **more: str) -> Any:
    """Posts a signed delivery through Flask's client; the answer."""
    body = encode(payload)
    return client.post("/v1/github/webhooks", data=body, headers=heads(event, body, **more))


REPOSITORY = {"full_name": "Octo/Hello", "owner": {"login": "octo-org"}, "name": "Hello", "private": False}
AUTHOR = {"login": "mona", "type": "User"}


def issue(number: int = 7, **fields: Any) -> dict[str, Any]:
    """An issue of a member."""
    thing = {
        "number": number,
        "title": "It is broken",
        "body": "It says {{secret}} and stops.",
        "user": AUTHOR,
        "author_association": "MEMBER",
        "labels": [{"name": "resolve"}],
        "html_url": f"https://github.com/Octo/Hello/issues/{number}",
    }
    return thing | fields


def labeled(number: int = 7, label: str = "resolve", sender: dict = AUTHOR, **fields: Any) -> dict[str, Any]:
    """issues.labeled; no two are the same."""
    thing = issue(number, updated_at=next(_numbers), **fields)
    return {"action": "labeled", "issue": thing, "label": {"name": label}, **about(sender)}


def commented(text: str, number: int = 7, association: str = "MEMBER", sender: dict = AUTHOR) -> dict[str, Any]:
    comment = {"id": next(_numbers), "body": text, "user": sender, "author_association": association}
    return {"action": "created", "issue": issue(number), "comment": comment, **about(sender)}


def about(sender: dict = AUTHOR) -> dict[str, Any]:
    return {"repository": copy.deepcopy(REPOSITORY), "sender": sender, "installation": {"id": 99}}


def closed(number: int, branch: str, merged: bool = True, **fields: Any) -> dict[str, Any]:
    """pull_request.closed; no two are the same."""
    pull = {
        "number": number,
        "title": "Mend it",
        "body": "",
        "user": AUTHOR,
        "author_association": "MEMBER",
        "updated_at": next(_numbers),
        "merged": merged,
        "merged_at": "2026-01-02T03:04:05Z" if merged else None,
        "head": {"ref": branch, "sha": "a" * 40},
        "base": {"ref": "main"},
        "html_url": f"https://github.com/Octo/Hello/pull/{number}",
    }
    return {"action": "closed", "number": number, "pull_request": pull | fields, **about()}
