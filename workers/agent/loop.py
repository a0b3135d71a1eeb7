"""The agent loop of a step: its conversation goes on until the answer has all that the step must give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.errors import AgentFailed, BadOutput, StepError
from pipelines import outputs as output_rules
from pipelines import plan, structured
from pipelines.definition import Step, fold
from pipelines.state import Visit
from workers import workspaces
from workers.agent import prompt, recall, work_files
from workers.agent.budget import Budget
from workers.agent.conversation import Conversation, question
from workers.agent.feed import Feed
from workers.agent.journal import Journal, Turn
from workers.agent.settings import Settings
from workers.clients.llm.base import Message, OutputSchema, Request, Script, ToolCall
from workers.walks import Walk

CONTROL_TOOLS = ("complete", "fail")
QUESTIONS = {
    "tool": ("wants to run", ("allow", "deny")),
    "effect": ("may or may not have run", ("repeat", "skip", "fail")),
}


@dataclass(slots=True)
class Answer:
    """What a finished attempt hands to `settle`: stored with the step's completion in one transaction."""

    outputs: dict[str, str]
    verdict: plan.Verdict
    structured: Any = None
    artifacts: list[dict] | None = None  # files that the attempt changed
    last: Turn | None = None  # the turn that has not been stored yet
    journal: Journal | None = None


class Attempt(Conversation):
    """One attempt at one visit."""

    def __init__(self, walk: Walk, visit: Visit, settings: Settings, feed: Feed) -> None:
        budget = Budget.of(walk.run, feed.work)
        super().__init__(feed.work, feed, budget, settings.models, settings.toolbox, visit.step_key)
        self.walk, self.visit, self.settings = walk, visit, settings
        self.step: Step = walk.state.step(visit)
        self.needed = walk.pipeline.needed_outputs.get(self.step.key, ())
        self.max_output_tokens = self.step.max_output_tokens
        self.messages.append(Message("user", visit.prompt + self._memory()))
        self.repairs = 0
        self.in_workspace(walk.workspace, settings.granted.env)

    def run(self) -> Answer:
        """The step's answer. Raises a StepError, or LeaseLost."""
        return self.converse(self.settings.max_turns)

    def works_on(self, turn: Turn) -> bool:
        return super().works_on(turn) and self.step.output_schema is None

    def request(self, number: int, model: str) -> Request:
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

    def _memory(self) -> str:
        """What the agent is reminded of; a step without tools is a plain call."""
        if not self.toolbox.specs:
            return ""
        visit = self.visit
        ref = f"{visit.epoch}.{visit.n}.{visit.attempt}"
        return recall.section(self.feed, visit.agent_id, ref, prompt.task_of(visit.prompt))

    # --- tools ---

    def ask_person(self, kind: str, use: dict[str, Any]) -> str:
        prompt, options = QUESTIONS[kind]
        raise question(kind, use, f"{self.step.key}: {use['tool_name']} {prompt}", options)

    def control(self, turn: Turn) -> tuple[bool, Answer | None]:
        call = next((call for call in turn.message.tool_calls if call.name in CONTROL_TOOLS), None)
        return call is not None, call and self._control(turn, call)

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

    def conclude(self, turn: Turn) -> Answer | None:
        text = turn.message.content
        if self.step.output_schema is not None:
            return self._conclude_structured(turn, text)
        return self._accept(turn, output_rules.parse(text, self.step, self._extra, self._files()), text)

    def _files(self) -> dict[str, str]:
        if not self.toolbox.specs:
            return {}
        return work_files.written(self.walk.workspace, self.step, self._extra, self.visit.started_at)

    def _artifacts(self) -> list[dict] | None:
        if not self.toolbox.specs:
            return None
        name = workspaces.snapshot_name(self.walk.run.id, self.walk.run.epoch, self.visit.n)
        changed = workspaces.changes(self.walk.run.id, name)
        return [{**change, "path": self.feed.redactor.clean(change["path"])} for change in changed]

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
        return Answer(
            self._filled(outputs), verdict, value, self._artifacts(), None if turn.stored else turn, self.journal
        )

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
        self.keep(turn)
        if call is None:
            self.messages.append(Message("user", problem))
            return
        for made in turn.message.tool_calls:  # a provider wants each of them answered
            text = problem if made is call else "Not run: the step was being finished."
            self.messages.append(Message("tool", text, tool_call_id=made.id))

    def _failed(self, turn: Turn, error: StepError) -> StepError:
        """Stores the turn that failed the attempt, and hands its text to the next attempt's prompt."""
        self.keep(turn)
        error.details["output"] = turn.message.content
        return error

    @property
    def _extra(self) -> frozenset[str]:
        return self.walk.pipeline.extra_names
