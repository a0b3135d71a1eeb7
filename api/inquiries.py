"""Questions to providers, which a worker asks: rung through the outbox, answered in SQL, waited for here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from models import database, provider_checks, provider_views, workers
from models.base import now_ms
from workers import providers as commands

T = TypeVar("T")
PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.05
NOBODY = "No worker is running"
TOO_LATE = f"No worker answered within {PATIENCE_SECONDS:g} s"


def models(provider_id: str) -> dict[str, Any]:
    """The provider's models as it lists them now; if it does not, as they are known, with the reason."""
    before = provider_checks.state(provider_id).checks
    with database.transaction():
        commands.refresh(provider_id)
    asked = awaited(lambda: provider_checks.state(provider_id).checks > before or None)
    listing = provider_views.listing(provider_id, before)
    return listing if asked else listing | {"error": reason()}


def tested(test_id: str, model: str | None) -> dict[str, Any]:
    """The result of a test that was rung for."""
    started = time.monotonic()
    answer = awaited(lambda: _answer(test_id))
    commands.give_up(test_id)
    waited = round((time.monotonic() - started) * 1000)
    unknown = {"ok": False, "latencyMs": waited, "status": None, "model": model, "checkedAt": now_ms()}
    return answer or unknown | {"error": reason()}


def _answer(test_id: str) -> dict[str, Any] | None:
    asked = provider_checks.asked(test_id)
    return asked and asked.answer


def awaited(look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T | None:
    """What `look` finds within the time; the connection is given back while waiting. None without a worker."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None and workers.alive()["alive"] and time.monotonic() < deadline:
        database.release()
        time.sleep(POLL_SECONDS)
    return found


def reason() -> str:
    """Why nobody has answered."""
    return TOO_LATE if workers.alive()["alive"] else NOBODY
