"""The agent loop: prompt, provider stream, tools, again, until the step has its answer.

It never decides what an error means: it raises a StepError, and `workers/runs.py` settles it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.calls import ToolUse
from models.errors import (
    AgentFailed,
    BadOutput,
    NeedsPerson,
    StepError,
    ToolLoop,
    TurnLimit,
)
from pipelines import outputs as output_rules
from pipelines import plan, structured
from pipelines.definition import Step, fold
from pipelines.state import Visit
from workers.agent import work_files
from workers.agent.budget import Budget
from workers.agent.calls import Caller
from workers.agent.feed import Feed
from workers.agent.journal import Journal, Turn
from workers.agent.settings import Settings
from workers.clients.llm.base import (
    Message,
    OutputSchema,
    Request,
    Script,
    ToolCall,
)
from workers.holds import Hold
from workers.tools import base as tools
from workers.walks import Walk

SAME_CALL_LIMIT = 5  # the same call with the same result: a warning, and at the next one the end
CONTROL_TOOLS = ("complete", "fail")


@dataclass(slots=True)
class Answer:
    """What a finished attempt hands to `settle`: stored with the step's completion in one transaction."""

    outputs: dict[str, str]
    verdict: plan.Verdict
    structured: Any = None
    last: Turn | None = None  # the turn that has not been stored yet
    journal: Journal | None = None


class Attempt:
    """One attempt at one visit."""

    def __init__(self, walk: Walk, visit: Visit, hold: Hold, settings: Settings, feed: Feed) -> None:
        self.walk, self.visit, self.hold, self.settings, self.feed = walk, visit, hold, settings, feed
        self.step: Step = walk.state.step(visit)
        self.needed = walk.pipeline.needed_outputs.get(self.step.key, ())
        budget = Budget.of(walk.run, visit)
        self.journal = Journal(walk.run, visit, hold, feed, budget)
        self.caller = Caller(self.journal, feed, budget, settings.models)
        self.toolbox = settings.toolbox
        self.max_output_tokens = self.step.max_output_tokens
        self.messages: list[Message] = [Message("user", visit.prompt)]
        self.repairs = 0
        self.seen_calls: Counter = Counter()
        self.context = tools.Context(walk.workspace, env=settings.granted.env, clean=feed.redactor.clean)

    def run(self) -> Answer:
        """The step's answer. Raises a StepError, or LeaseLost."""
        for number in range(self.settings.max_turns):
            self.hold.check()
            turn = self.journal.recorded(number) or self.caller.ask(number, self._request, self.messages)
            self.messages.append(turn.message)
            answer = self._use_tools(turn) if self._works_on(turn) else self._conclude(turn)
            if answer is not None:
                return answer
        raise TurnLimit(f"{self.step.key} used all of its {self.settings.max_turns} turns")

    def _works_on(self, turn: Turn) -> bool:
        return bool(turn.message.tool_calls) and self.step.output_schema is None

    # --- asking the model ---

    def _request(self, number: int, model: str) -> Request:
        step, schema = self.step, self.step.output_schema
        return Request(
            model=model,
            system=self.settings.system,
            messages=tuple(self.messages),
            tools=() if schema else self.toolbox.specs,
            max_output_tokens=self.max_output_tokens or self.caller.budget.default_cap,
            temperature=step.temperature,
            thinking_level=self.settings.thinking_level,
            output_schema=OutputSchema(schema.name, schema.strict, schema.schema) if schema else None,
            output_method=step.output_method,
            script=Script(step.key, self.visit.item_index, self.settings.opening, self.settings.item_opening, number),
            idle_seconds=step.idle_timeout_seconds,
        )

    # --- tools ---

    def _use_tools(self, turn: Turn) -> Answer | None:
        calls = turn.message.tool_calls
        control = next((call for call in calls if call.name in CONTROL_TOOLS), None)
        if control is not None:
            return self._control(turn, control)
        asks = self.toolbox.asks
        uses = [self.journal.use(turn.number, index, call, call.name in asks) for index, call in enumerate(calls)]
        self._keep(turn, uses)
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
        if status == "asked":
            raise _ask("tool", use, f"{call.name} wants to run", ("allow", "deny"))
        if status == "intended" and earlier is not None and not self.toolbox.repeats(call.name):
            raise _ask("effect", use, f"{call.name} may or may not have run", ("repeat", "skip", "fail"))
        if status == "allowed":
            self.journal.begin(use)
        started = time.monotonic()
        self.hold.in_tool = True
        try:
            outcome = self.toolbox.call(self.context, call)
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
        """Notices an agent that does the same again and again: warns once, then ends the attempt."""
        key = (call.name, repr(sorted(call.arguments.items())), result)
        self.seen_calls[key] += 1
        if self.seen_calls[key] > SAME_CALL_LIMIT:
            raise ToolLoop(f"{call.name} was called {self.seen_calls[key]} times with the same arguments and result")
        if self.seen_calls[key] == SAME_CALL_LIMIT:
            return f"{result}\n\n(You have made this same call {SAME_CALL_LIMIT} times. Do something else, or finish.)"
        return result

    def _control(self, turn: Turn, call: ToolCall) -> Answer | None:
        if call.name == "fail":
            details = call.arguments.get("details")
            text = str(call.arguments.get("error") or "The agent gave up")
            raise self._failed(turn, AgentFailed(f"{text}\n{details}" if details else text))
        given = call.arguments.get("outputs")
        outputs = output_rules.from_tool(
            given if isinstance(given, dict) else {}, call.arguments.get("summary"), self.step, self._extra
        )
        return self._accept(turn, outputs, turn.message.content, call)

    # --- the answer ---

    def _conclude(self, turn: Turn) -> Answer | None:
        text = turn.message.content
        if self.step.output_schema is not None:
            return self._conclude_structured(turn, text)
        return self._accept(turn, output_rules.parse(text, self.step, self._extra, self._files()), text)

    def _files(self) -> dict[str, str]:
        if not self.toolbox.specs:
            return {}
        return work_files.written(self.walk.workspace, self.step, self._extra, self.visit.started_at)

    def _conclude_structured(self, turn: Turn, text: str) -> Answer | None:
        if turn.finish_reason == "length":
            self.max_output_tokens = 2 * (self.max_output_tokens or 2048)
            return self._repair(turn, "Your answer was cut off. Give the whole JSON again, more briefly.")
        value, problems = structured.validate(self.step.output_schema.schema, text)
        if problems:
            return self._repair(turn, structured.repair_message(problems))
        if structured.is_hollow(value) and self.repairs == 0:
            return self._repair(turn, "Every list in your answer is empty. Answer again with real content.")
        return self._accept(turn, structured.to_outputs(self.step, value, self._extra), text, value=value)

    def _accept(
        self, turn: Turn, outputs: dict[str, str], text: str, call: ToolCall | None = None, value: Any = None
    ) -> Answer | None:
        outputs = self.feed.redactor.clean_all(outputs)  # some come from files
        problem = output_rules.failure(outputs, text)
        if problem is not None:
            raise self._failed(turn, AgentFailed(problem))
        missing = output_rules.missing(self.needed, outputs)
        if missing:
            return self._repair(turn, output_rules.repair_message(self.step, missing), call)
        if bad := self._bad_list(outputs):
            return self._repair(turn, output_rules.repair_message(self.step, [], bad), call)
        verdict = plan.judge(self.walk.state, self.visit, outputs)
        if verdict.allowed:
            return self._repair(turn, output_rules.unmatched_message(self.step, verdict.result), call)
        self._refuse(turn, verdict)
        return Answer(self._filled(outputs), verdict, value, None if turn.stored else turn, self.journal)

    def _bad_list(self, outputs: dict[str, str]) -> str | None:
        """A loop's or map's source must parse as a list where it is produced."""
        over = {
            fold((step.loop or step.map).over) for step in self.walk.pipeline.steps.values() if step.loop or step.map
        }
        for name in over.intersection(self.step.outputs):
            try:
                output_rules.parse_list(outputs.get(name, ""))
            except ValueError as error:
                return f"{name} must be a JSON array: {error}"
        return None

    def _refuse(self, turn: Turn, verdict: plan.Verdict) -> None:
        """An action that says `fail` or `retry` makes this attempt fail."""
        action = verdict.action
        if action is None or not (action.fail is not None or (action.retry and not action.goto)):
            return
        text = action.fail or f"The result {verdict.result!r} asks for another try"
        raise self._failed(turn, AgentFailed(text, final=action.fail is not None, max_retries=action.max_retries))

    def _filled(self, outputs: dict[str, str]) -> dict[str, str]:
        for name in self.step.outputs:
            if name not in outputs:
                outputs[name] = ""
                self.walk.state.warnings.append(f"{self.step.key} did not give its output {name}")
        return outputs

    def _repair(self, turn: Turn, problem: str, call: ToolCall | None = None) -> None:
        """Another turn that says what is wrong with the answer, as often as the step allows."""
        if self.repairs >= self.step.max_repairs:
            raise self._failed(turn, BadOutput(problem))
        self.repairs += 1
        self._keep(turn)
        if call is None:
            self.messages.append(Message("user", problem))
            return
        for made in turn.message.tool_calls:  # a provider wants each of them answered
            text = problem if made is call else "Not run: the step was being finished."
            self.messages.append(Message("tool", text, tool_call_id=made.id))

    def _failed(self, turn: Turn, error: StepError) -> StepError:
        """Stores the turn that failed the attempt, and hands its text to the next attempt's prompt."""
        self._keep(turn)
        error.details["output"] = turn.message.content
        return error

    def _keep(self, turn: Turn, uses: Sequence[dict] = ()) -> None:
        if not turn.stored:
            self.journal.keep(turn, uses)

    @property
    def _extra(self) -> frozenset[str]:
        return self.walk.pipeline.extra_names


def _ask(kind: str, use: dict, prompt: str, options: tuple[str, ...]) -> NeedsPerson:
    """A question about exactly this call."""
    facts = {name: use[name] for name in ("tool_name", "arguments", "tool_call_id")}
    return NeedsPerson(kind, f"{use['step_key']}: {prompt}", options, use_id=use["id"], **facts)


def _ms_since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
