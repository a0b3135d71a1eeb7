"""Housekeeping: the rotation of encryption keys."""

from __future__ import annotations

import structlog

from models import crypto, database, github_apps, mcp, mcp_logins, outbox, providers, secrets
from workers.broker import actor, doorbell

log = structlog.get_logger(__name__)

JOB = "rekey_"  # + the key that everything comes under


def rekey() -> dict:
    """Rings for the rotation, in the enclosing transaction: {job, from, to, total}."""
    parts = [kind.under_older_keys() for kind in (secrets, providers, github_apps, mcp, mcp_logins)]
    older, total = sorted({key for keys, _ in parts for key in keys}), sum(count for _, count in parts)
    to = crypto.ring().newest
    doorbell("secrets_rekey", JOB + to)
    return {"job": JOB + to, "from": older, "to": to, "total": total}


@actor
def secrets_rekey(job: str) -> None:
    """Works in batches, and from the start if it was interrupted: what is done is not found again."""
    if crypto.ring().newest != job.removeprefix(JOB):
        log.warning("rekey_waits", job=job, newest=crypto.ring().newest)  # for a worker that knows the new key
        return
    place: tuple[str, int] | None = ("", 0)
    while place is not None:
        with database.transaction():
            place = secrets.rekey(place)
    with database.transaction():
        providers.rekey()
        github_apps.rekey()
        mcp.rekey()
        mcp_logins.rekey()
        crypto.rekey_canary()
        outbox.answered(job, "")
