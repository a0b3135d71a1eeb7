"""Budgets: what a run and its child runs may spend in an epoch, reserved before each call and settled after it.

The figures stand on the root run's row. A reservation also is a ledger row of status `reserved`, so that a dead
worker's can be found and given back.
"""

from __future__ import annotations

from dataclasses import dataclass

from models import database
from models.calls import LLMCall

WRAP_UP_SHARE = 0.05  # of a limit, kept for the last turn of an agent that runs out
WARNINGS = (80, 100)  # percent


@dataclass(frozen=True, slots=True)
class Limits:
    root_id: str
    max_cost_usd: float | None
    max_tokens: int | None
    on_budget: str


def limits(run_id: str, root_id: str | None) -> Limits | None:
    """The limits that hold for a run, None if there are none."""
    root = root_id or run_id
    sql = "SELECT max_cost_usd, max_tokens, on_budget FROM runs WHERE id = ?"
    cost, tokens, on_budget = database.execute(sql, (root,)).fetchone()
    return Limits(root, cost, tokens, on_budget) if cost is not None or tokens is not None else None


def reserve(limits: Limits, cost: float, tokens: int, share: float) -> bool:
    """Takes room for a call's worst case if `share` of the limits has it; one conditional update."""
    sql = (
        "UPDATE runs SET reserved_cost_usd = reserved_cost_usd + ?, reserved_tokens = reserved_tokens + ? WHERE id = ?"
        " AND (max_cost_usd IS NULL OR spent_cost_usd + reserved_cost_usd + ? <= max_cost_usd * ?)"
        " AND (max_tokens IS NULL OR spent_tokens + reserved_tokens + ? <= max_tokens * ?)"
    )
    return database.execute(sql, (cost, tokens, limits.root_id, cost, share, tokens, share)).rowcount == 1


def settle(root_id: str, reserved: tuple[float, int], spent: tuple[float, int]) -> None:
    """Replaces a reservation (cost, tokens) by what the call really used."""
    sql = (
        "UPDATE runs SET reserved_cost_usd = reserved_cost_usd - ?, reserved_tokens = reserved_tokens - ?,"
        " spent_cost_usd = spent_cost_usd + ?, spent_tokens = spent_tokens + ? WHERE id = ?"
    )
    database.execute(sql, (*reserved, *spent, root_id))


def release(run_id: str, root_id: str | None, n: int | None = None) -> None:
    """Gives back what calls of a run (or of one visit) had reserved that will never be settled."""
    found = LLMCall.fetch("run_id = ? AND status = 'reserved' ORDER BY id", (run_id,))
    for call in found:
        if n is None or call.n == n:
            settle(root_id or run_id, (call.cost_usd or 0, call.input_tokens + call.output_tokens), (0, 0))
            LLMCall.update(status="cancelled", input_tokens=0, output_tokens=0, cost_usd=0).where(
                LLMCall.id == call.id
            ).execute()


def standing(limits: Limits) -> list[tuple[str, float, float, float]]:
    """(kind, limit, used, reserved) of each limit that is set."""
    sql = "SELECT spent_cost_usd, reserved_cost_usd, spent_tokens, reserved_tokens FROM runs WHERE id = ?"
    cost, cost_reserved, tokens, tokens_reserved = database.execute(sql, (limits.root_id,)).fetchone()
    found = [
        ("cost", limits.max_cost_usd, cost, cost_reserved),
        ("tokens", limits.max_tokens, tokens, tokens_reserved),
    ]
    return [row for row in found if row[1] is not None]


def warn_once(limits: Limits, percent: int) -> bool:
    """Whether this is the first time that the root run is found at `percent`."""
    sql = "UPDATE runs SET budget_warned = ? WHERE id = ? AND budget_warned < ?"
    return database.execute(sql, (percent, limits.root_id, percent)).rowcount == 1
