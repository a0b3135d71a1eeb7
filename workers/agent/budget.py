"""The money of an attempt: room is reserved before each call, and what is left decides how the agent goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from models import budgets, database, runs, settings
from models.base import new_id, now_ms
from models.budgets import Limits
from models.calls import LLMCall
from models.daily import day
from models.errors import BudgetExceeded, ConfigError, NeedsPerson
from models.events import Event
from models.runs import Run
from workers import walks
from workers.agent.work import Work
from workers.clients.llm import prices
from workers.clients.llm.base import Message, Request, Usage

CHARS_PER_TOKEN = 3  # a low guess, so that the estimate is high
DEFAULT_OUTPUT_TOKENS = 4_096  # what a call without a cap of its own may answer with
SETTLE_SECONDS = 120.0  # how long calls in flight are waited for when there is no room
POLL_SECONDS = 0.2
DECISION_MS = 24 * 3_600_000
WRAP_UP = Message(
    "user",
    "The budget is nearly used up. This is your last turn: finish now with what you have, in the answer format.",
)


@dataclass(frozen=True, slots=True)
class Reservation:
    """`call_id` is the ledger row that holds it."""

    call_id: str
    cost: float
    tokens: int


@dataclass(slots=True)
class Budget:
    """`limits` None: nothing but the day is limited, and nothing is written. `on_budget`: fail or pause."""

    work: Work
    limits: Limits | None
    on_budget: str = "fail"
    wrapped_up: bool = False
    held: dict[str, Reservation] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, work: Work) -> Budget:
        """The budget that a step of the run draws on."""
        if run.root_run_id is None and run.max_cost_usd is None and run.max_tokens is None:
            return cls(work, None, run.on_budget)
        with database.connection():
            root = runs.get(run.root_run_id or run.id)
            return cls(work, budgets.limits(run.id, run.root_run_id), root.on_budget)

    @property
    def default_cap(self) -> int | None:
        """The output cap of calls that have none of their own, so that a worst case exists."""
        return DEFAULT_OUTPUT_TOKENS if self.limits else None

    def reserve(self, request: Request, provider: str, place: dict[str, Any]) -> tuple[Reservation | None, bool]:
        """(what was reserved, whether this must be the wrap-up turn).

        Raises BudgetExceeded, NeedsPerson (to raise the budget), or ConfigError for a model without a known price.
        """
        if self.limits is None and settings.get("dailyBudgetUsd") is None:
            return None, False
        cost, tokens = self._worst_case(request, provider)
        if refusal := day.refuses(cost):
            raise self._exceeded(refusal, limit="day")
        if self.limits is None:
            return None, False
        if not self.wrapped_up and (held := self._try(request, provider, place, cost, tokens)):
            return held, False
        if not self.wrapped_up and (held := self._take(request, provider, place, cost, tokens, share=1.0)):
            self.wrapped_up = True
            return held, True
        raise self._out_of_budget()

    def _worst_case(self, request: Request, provider: str) -> tuple[float, int]:
        chars = len(request.system) + sum(len(message.content) for message in request.messages)
        usage = Usage(chars // CHARS_PER_TOKEN + 1, request.max_output_tokens or DEFAULT_OUTPUT_TOKENS)
        cost = prices.cost_usd(provider, request.model, usage)
        if cost is None and self.limits is not None and self.limits.max_cost_usd is not None:
            name = f"{provider}/{request.model}"
            raise ConfigError(f"The price of {name} is not known, so a run with max_cost_usd cannot use it")
        return cost or 0.0, usage.input_tokens + usage.output_tokens

    def _try(self, request: Request, provider: str, place: dict, cost: float, tokens: int) -> Reservation | None:
        """Room within what is not kept for the wrap-up; calls in flight are waited for, since they may need less."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            if held := self._take(request, provider, place, cost, tokens, 1 - budgets.WRAP_UP_SHARE):
                return held
            with database.connection():
                in_flight = any(reserved > 0 for _, _, _, reserved in budgets.standing(self.limits))
            if not in_flight or time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)

    def _take(
        self, request: Request, provider: str, place: dict, cost: float, tokens: int, share: float
    ) -> Reservation | None:
        held = Reservation(new_id("llm_"), cost, tokens)
        facts = {"provider": provider, "model": request.model, "status": "reserved", "created_at": now_ms()}
        line = place | facts | {"id": held.call_id, "output_tokens": tokens, "cost_usd": cost}
        if not walks.patiently(self.work.hold, lambda: self._reserved(line, cost, tokens, share)):
            return None
        self.held[held.call_id] = held
        return held

    def _reserved(self, line: dict[str, Any], cost: float, tokens: int, share: float) -> bool:
        with database.transaction():
            there_is_room = budgets.reserve(self.limits, cost, tokens, share)
            if there_is_room:
                self.work.write(())  # what is reserved for work that was taken away, nobody would give back
                LLMCall.add(line)
        return there_is_room

    def settle(self, call_id: str, cost: float, tokens: int) -> list[Event]:
        """Replaces the reservation inside the caller's transaction; returns the warnings that became due."""
        held = self.held.get(call_id)
        if held is None:
            return []
        budgets.settle(self.limits.root_id, (held.cost, held.tokens), (cost, tokens))
        LLMCall.delete().where(LLMCall.id == call_id, LLMCall.status == "reserved").execute()
        return [self._warning(*row) for row in budgets.standing(self.limits) if self._is_due(row)]

    def _is_due(self, row: tuple[str, float, float, float]) -> bool:
        percent = _percent(*row[1:3])
        reached = [level for level in budgets.WARNINGS if percent >= level]
        return bool(reached) and budgets.warn_once(self.limits, reached[-1])

    def _warning(self, kind: str, limit: float, used: float, reserved: float) -> Event:
        payload = {"kind": kind, "limit": limit, "used": used, "reserved": reserved}
        payload["percent"] = round(_percent(limit, used), 1)
        return self.work.event("budget_warning", **payload)

    def _out_of_budget(self) -> Exception:
        with database.connection():
            used = ", ".join(f"{used:g} of {limit:g} {kind}" for kind, limit, used, _ in budgets.standing(self.limits))
        return self._exceeded(f"The budget of the run is used up ({used})")

    def _exceeded(self, text: str, **data: Any) -> Exception:
        if self.on_budget != "pause":
            return BudgetExceeded(text)
        asks = NeedsPerson("budget", f"{text}. Raise it?", ("raise", "stop"), **data)
        asks.details = {"expires_in_ms": DECISION_MS, "on_expiry": "stop"}
        return asks


def _percent(limit: float, used: float) -> float:
    """Of a limit, which may be 0."""
    return 100 * used / limit if limit else 100.0
