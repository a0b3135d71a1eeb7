"""The budget of the day: what all calls cost since midnight (UTC) against the setting `dailyBudgetUsd`."""

from __future__ import annotations

import time

from models import database, settings
from models.base import now_ms

DAY_MS = 86_400_000
LOOK_SECONDS = 1.0  # between sums over the ledger; what this process lets through meanwhile is added up


class Day:
    """One process's view; several may together let through what begins within a second of the limit."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._database = None
        self._looked = float("-inf")

    def refuses(self, cost: float) -> str | None:
        """Why a call that may cost so much (USD) must not begin; None if it may, and then it is counted."""
        limit = settings.get("dailyBudgetUsd")
        if limit is None:
            return None
        self._look()
        if self._spent + cost > limit:
            return f"The budget of the day is used up ({self._spent:g} of {limit:g} USD): raise dailyBudgetUsd"
        self._spent += cost
        return None

    def _look(self) -> None:
        if self._database is database.db.obj and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        with database.connection():
            self._spent = spent_since(now_ms() // DAY_MS * DAY_MS)
        self._database, self._looked = database.db.obj, time.monotonic()


def spent_since(ms: int) -> float:
    """USD, with what is reserved for calls in flight."""
    sql = "SELECT coalesce(sum(cost_usd), 0) FROM llm_calls WHERE created_at >= ?"
    return float(database.execute(sql, (ms,)).fetchone()[0])


day = Day()
