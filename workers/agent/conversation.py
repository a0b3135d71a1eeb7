"""A conversation with a model that may use tools: ask, run what it calls, ask again, until it has concluded.

What counts as a conclusion is the subclass's: outputs of a step (`loop`), a text in a chat (`replies`).
It never decides what an error means: it raises a StepError, and whoever opened the work settles it.
"""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.calls import ToolUse
from models.errors import NeedsPerson, ToolLoop, TurnLimit
from workers.agent.budget import Budget
from workers.agent.calls import Caller
from workers.agent.feed import Feed
from workers.agent.journal import Journal, Turn
from workers.agent.toolbox import Toolbox
from workers.agent.work import Work
from workers.clients.llm.base import Message, Request, ToolCall
from workers.tools import base as tools

SAME_CALL_LIMIT = 5  # the same call with the same result: a warning, and at the next one the end


class Conversation(ABC):
    """`name` is what errors call it."""

    def __init__(
        self, work: Work, feed: Feed, budget: Budget, models: tuple[str, ...], toolbox: Toolbox, name: str
    ) -> None:
        self.work, self.hold, self.feed, self.toolbox, self.name = work, work.hold, feed, toolbox, name
        self.journal = Journal(work, feed, budget)
        self.caller = Caller(self.journal, feed, budget, models)
        self.messages: list[Message] = []
        self.seen_calls: Counter = Counter()

    def in_workspace(self, workspace: Path, env: dict[str, str]) -> None:
        """Where tools act, for whom, and the variables that commands see."""
        line = self.work.line(0)
        facts = {"project_id": line["project_id"], "agent_id": line["agent_id"] or "", "holder": self.hold.stream}
        if line.get("step_key"):
            facts["step_id"] = f"{self.hold.stream}_{line['step_key']}"
        self.context = tools.Context(workspace, env=env, clean=self.feed.redactor.clean, **facts)

    def converse(self, max_turns: int) -> Any:
        """What `conclude` returns in the end. Raises a StepError, or LeaseLost."""
        for number in range(max_turns):
            self.hold.check()
            turn = self.journal.recorded(number) or self.caller.ask(number, self.request, self.messages)
            self.messages.append(turn.message)
            answer = self._use_tools(turn) if self.works_on(turn) else self.conclude(turn)
            if answer is not None:
                return answer
        raise TurnLimit(f"{self.name} used all of its {max_turns} turns")

    # --- the subclass's ---

    @abstractmethod
    def request(self, number: int, model: str) -> Request:
        """What the model is asked in turn `number`."""

    def works_on(self, turn: Turn) -> bool:
        """Whether the turn's tool calls are to be run."""
        return bool(turn.message.tool_calls)

    def control(self, turn: Turn) -> tuple[bool, Any]:
        """(whether a tool call of the turn ends the work, what it comes to: None to go on)."""
        return False, None

    @abstractmethod
    def conclude(self, turn: Turn) -> Any:
        """What a turn without tool calls comes to; None to go on."""

    @abstractmethod
    def ask_person(self, kind: str, use: dict[str, Any]) -> str:
        """A call that needs a person: `tool` may it run at all, `effect` whether it has run. The result, or raises."""

    # --- tools ---

    def _use_tools(self, turn: Turn) -> Any:
        ends, answer = self.control(turn)
        if ends:
            return answer
        calls, asks = turn.message.tool_calls, self.toolbox.asks
        uses = [self.journal.use(turn.number, index, call, call.name in asks) for index, call in enumerate(calls)]
        self.keep(turn, uses)
        for index, (call, use) in enumerate(zip(calls, uses, strict=True)):
            result = self._use(call, use, uses[index + 1 : index + 2])
            self.messages.append(Message("tool", result, tool_call_id=call.id))
        return None

    def _use(self, call: ToolCall, use: dict, then: list[dict]) -> str:
        earlier = self.journal.earlier(use)
        status = earlier.status if earlier is not None else use["status"]
        if status == "done":
            return self._replay(use, earlier, then)
        self.hold.check()
        kind = self._question(call, status, earlier)
        if kind is not None:
            text = self.ask_person(kind, use)
            self.journal.done(use, text, True, 0, then)
            return text
        if status == "allowed":
            self.journal.begin(use)
        return self._run(call, use, then)

    def _question(self, call: ToolCall, status: str, earlier: ToolUse | None) -> str | None:
        """What a person must say before the call may run."""
        if status == "asked":
            return "tool"
        unknown = status == "intended" and earlier is not None and not self.toolbox.repeats(call.name)
        return "effect" if unknown else None

    def _run(self, call: ToolCall, use: dict, then: list[dict]) -> str:
        started = time.monotonic()
        self.hold.in_tool = True
        try:
            outcome = self.toolbox.call(dataclasses.replace(self.context, key=use["id"]), call)
        finally:
            self.hold.in_tool = False
        text = self._watch(call, outcome.text)
        self.journal.done(use, text, outcome.is_error, _ms_since(started), then)
        return text

    def _replay(self, use: dict, earlier: ToolUse, then: list[dict]) -> str:
        """The result as stored; one that a person gave has no event yet."""
        if earlier.duration_ms is None:
            self.journal.done(use, earlier.result, bool(earlier.is_error), 0, then)
        return earlier.result

    def _watch(self, call: ToolCall, result: str) -> str:
        """Notices an agent that does the same again and again: warns once, then ends the work."""
        key = (call.name, repr(sorted(call.arguments.items())), result)
        self.seen_calls[key] += 1
        if self.seen_calls[key] > SAME_CALL_LIMIT:
            raise ToolLoop(f"{call.name} was called {self.seen_calls[key]} times with the same arguments and result")
        if self.seen_calls[key] == SAME_CALL_LIMIT:
            return f"{result}\n\n(You have made this same call {SAME_CALL_LIMIT} times. Do something else, or finish.)"
        return result

    def keep(self, turn: Turn, uses: Sequence[dict] = ()) -> None:
        """Stores the turn unless it is stored."""
        if not turn.stored:
            self.journal.keep(turn, uses)


def question(kind: str, use: dict, prompt: str, options: tuple[str, ...]) -> NeedsPerson:
    """A question about exactly this call."""
    facts = {name: use[name] for name in ("tool_name", "arguments", "tool_call_id")}
    return NeedsPerson(kind, prompt, options, use_id=use["id"], **facts)


def _ms_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
