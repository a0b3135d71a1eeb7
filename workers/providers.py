"""Providers: the commands that have a worker ask them about themselves."""

from __future__ import annotations

from models import database, endpoints, outbox, provider_checks
from models.base import now_ms
from models.provider_checks import ProviderState
from workers.broker import doorbell

REFRESH_MS = 6 * 3_600_000  # how old a list of models may get


def refresh(provider_id: str) -> None:
    """Rings for a new list of the provider's models, in the enclosing transaction."""
    doorbell("provider_models", provider_id)


def test(provider_id: str, model: str | None) -> str:
    """Rings for a test, in the enclosing transaction; returns the id under which its answer will be found."""
    test_id = provider_checks.ask(provider_id, model)
    doorbell("provider_test", test_id)
    return test_id


def give_up(test_id: str) -> None:
    """Nobody waits for the test any more."""
    with database.transaction():
        provider_checks.withdraw(test_id)
        outbox.withdraw("provider_test", test_id)


def refresh_old() -> int:
    """Rings for every usable provider whose list is too old and not rung for yet; returns how many."""
    with database.connection():
        states = provider_checks.states()
        due = [found.info.id for found in endpoints.usable() if _is_old(states.get(found.info.id))]
        due = [provider_id for provider_id in due if not outbox.stands(provider_id, "")]
    with database.transaction():
        for provider_id in due:
            refresh(provider_id)
    return len(due)


def _is_old(state: ProviderState | None) -> bool:
    return state is None or now_ms() - (state.checked_at or 0) > REFRESH_MS
