"""The journal of an agent's work: every turn and tool call, stored as it happens.

A worker that takes the work over finds the replies of earlier turns here and goes on at the next one.
Each write is one transaction under the work's fence; its events and counters go with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models import database
from models.base import dumps, now_ms
from models.calls import LLMCall, ToolUse
from models.errors import StepError
from models.events import Event
from workers import walks
from workers.agent.budget import Budget
from workers.agent.feed import Feed
from workers.agent.work import Work
from workers.clients.llm import prices
from workers.clients.llm.base import Message, Request, Thinking, ToolCall, Usage

KEPT = ("ok", "planned", "asked", "allowed", "intended", "done")  # statuses of what counts for who takes over
MAX_RESULT_CHARS = 10_000  # of a tool's result in its event


@dataclass(slots=True)
class Turn:
    """One LLM call as it came out. `row` is its line of the ledger, `add` what it adds to the run's counters."""

    number: int
    message: Message
    usage: Usage
    finish_reason: str
    row: dict[str, Any]
    stored: bool = False

    @property
    def model(self) -> str:
        return f"{self.row['provider']}/{self.row['model']}"

    @property
    def add(self) -> dict[str, float]:
        return {
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cache_read_tokens": self.usage.cache_read_tokens,
            "cost_usd": self.row["cost_usd"] or 0,
            "llm_calls": 1,
        }


class Journal:
    def __init__(self, work: Work, feed: Feed, budget: Budget) -> None:
        self.work, self._hold, self._feed, self._budget = work, work.hold, feed, budget
        self._turns = {row.turn: row for row in self._rows(LLMCall)} if work.resumed else {}
        self._uses = {row.id: row for row in self._rows(ToolUse)} if work.resumed else {}

    def _rows(self, table) -> list:
        place = list(self.work.place(0).items())[:-1]
        same = [getattr(table, name) == value for name, value in place]
        with database.connection():
            return list(table.select().where(*same, table.status.in_(KEPT)))

    def recorded(self, number: int) -> Turn | None:
        """The turn as an earlier worker stored it; what it used counts for this attempt."""
        row = self._turns.get(number)
        if row is None:
            return None
        usage = Usage(row.input_tokens, row.output_tokens, row.cache_read_tokens, raw=row.raw_usage)
        turn = Turn(number, _message(row.reply), usage, row.finish_reason, {"cost_usd": row.cost_usd}, stored=True)
        self._hold.used.update(turn.add)
        return turn

    def turn(self, number: int, provider: str, request: Request, message: Message, usage: Usage, **facts: Any) -> Turn:
        """A turn that has just been answered; not stored yet. `facts`: id, times, finish_reason, fallback_from."""
        row = {
            **self.work.line(number),
            "provider": provider,
            "model": request.model,
            "status": "ok",
            "reply": _stored(message),
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
            "cost_usd": prices.cost_usd(provider, request.model, usage),
            "raw_usage": usage.raw,
            "created_at": now_ms(),
            **facts,
        }
        return Turn(number, message, usage, facts["finish_reason"], row)

    def call_event(self, turn: Turn) -> Event:
        row = turn.row
        return self.work.event(
            "llm_call",
            call_id=row["id"],
            provider=row["provider"],
            model=row["model"],
            turn=turn.number,
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cache_read_tokens=row["cache_read_tokens"],
            cost_usd=row["cost_usd"],
            duration_ms=row["duration_ms"],
            finish_reason=turn.finish_reason,
            error=None,
            fallback_from=row.get("fallback_from"),
            message_id=self.work.message_id,
        )

    def keep_last(self, turn: Turn) -> list[Event]:
        """Stores the turn that brought the answer, inside the transaction that completes the step."""
        warnings = self._settle(turn)
        LLMCall.add(turn.row)
        return [self.call_event(turn), *warnings]

    def _settle(self, turn: Turn) -> list[Event]:
        tokens = turn.usage.input_tokens + turn.usage.output_tokens
        return self._budget.settle(turn.row["id"], turn.row["cost_usd"] or 0, tokens)

    def failed(self, number: int, call_id: str, provider: str, model: str, error: StepError, duration_ms: int) -> None:
        """Records a call that brought no answer."""
        text = self._feed.clean_error(str(error))[:4000]
        row = {
            "id": call_id,
            **self.work.line(number),
            "provider": provider,
            "model": model,
            "status": "error",
            "error": text,
            "http_status": error.details.get("http_status"),
            "duration_ms": duration_ms,
            "raw_usage": {},
            "created_at": now_ms(),
        }
        turn = Turn(number, Message("assistant", ""), Usage(), "error", row | _nothing_used())
        event = self.call_event(turn)
        event.payload["error"] = text
        self._write([*self._feed.take(), event], {"llm_calls": 1}, lambda: LLMCall.add(row), turn)

    def keep(self, turn: Turn, uses: Sequence[dict[str, Any]]) -> None:
        """Stores a turn that goes on, with the tool calls it intends."""
        recorded = [*self._feed.take(), self.call_event(turn), *self._start_events(uses[:1])]

        def insert() -> None:
            LLMCall.add(turn.row)
            for use in uses:
                ToolUse.insert(use).on_conflict_ignore().execute()

        self._write(recorded, turn.add, insert, turn)
        turn.stored = True

    def use(self, turn: int, index: int, call: ToolCall, asks: bool) -> dict[str, Any]:
        """The ledger row of a tool call; its id is the same for every worker that comes to this call."""
        place = self.work.place(turn)
        key = dumps([*place.values(), index, call.name, call.arguments])
        return place | {
            "id": hashlib.sha256(key.encode()).hexdigest(),
            "tool_call_id": call.id,
            "tool_name": call.name,
            "arguments": call.arguments,
            "status": "asked" if asks else "planned" if index else "intended",
            "created_at": now_ms(),
        }

    def earlier(self, use: dict[str, Any]) -> ToolUse | None:
        """What an earlier worker stored of this tool call."""
        return self._uses.get(use["id"])

    def begin(self, use: dict[str, Any]) -> None:
        """The call that a person allowed acts now: if its worker dies, its outcome is unknown again."""
        stored = ToolUse.update(status="intended").where(ToolUse.id == use["id"])
        self._write(self._feed.take(), {}, stored.execute)

    def done(self, use: dict[str, Any], result: str, is_error: bool, duration_ms: int, then: list[dict]) -> None:
        """Stores a tool call's result, and announces the next one, which is about to act."""
        recorded = [*self._feed.take(), self._end_event(use, result, is_error, duration_ms), *self._start_events(then)]
        changes = {"status": "done", "result": result, "is_error": is_error, "duration_ms": duration_ms}

        def update() -> None:
            ToolUse.update(**changes).where(ToolUse.id == use["id"]).execute()
            following = [one["id"] for one in then]
            ToolUse.update(status="intended").where(ToolUse.id.in_(following), ToolUse.status == "planned").execute()

        self._write(recorded, {"tool_calls": 1}, update)

    def _start_events(self, uses: Sequence[dict]) -> list[Event]:
        return [
            self.work.event(
                "tool_call_start",
                tool_call_id=use["tool_call_id"],
                tool_name=use["tool_name"],
                arguments=use["arguments"],
                turn=use["turn"],
                message_id=self.work.message_id,
            )
            for use in uses
        ]

    def _end_event(self, use: dict, result: str, is_error: bool, duration_ms: int) -> Event:
        return self.work.event(
            "tool_call_end",
            tool_call_id=use["tool_call_id"],
            tool_name=use["tool_name"],
            result=result[:MAX_RESULT_CHARS],
            result_truncated=len(result) > MAX_RESULT_CHARS,
            is_error=is_error,
            duration_ms=duration_ms,
            replayed=False,
            message_id=self.work.message_id,
        )

    def _write(self, recorded: list[Event], add: dict[str, float], store: Callable, turn: Turn | None = None) -> None:
        def write() -> None:
            with database.transaction():
                warnings = self._settle(turn) if turn else []
                self.work.write([*recorded, *warnings], add)
                store()

        walks.patiently(self._hold, write)
        self._hold.used.update(add)


def _nothing_used() -> dict[str, Any]:
    return {"input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cost_usd": None}


def _stored(message: Message) -> dict[str, Any]:
    return {
        "text": message.content,
        "thinking": [[block.text, block.signature, block.redacted] for block in message.thinking],
        "tool_calls": [[call.id, call.name, call.arguments, call.problem] for call in message.tool_calls],
    }


def _message(reply: dict[str, Any]) -> Message:
    return Message(
        "assistant",
        reply["text"],
        tool_calls=tuple(ToolCall(*call) for call in reply["tool_calls"]),
        thinking=tuple(Thinking(*block) for block in reply["thinking"]),
    )
