"""What a pipeline is, read and resolved: frozen values that planner, prompt builder and workers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# The format's numbers, applied by whoever finds that neither step, file nor agent gives one.
MAX_RETRIES = 2
TIMEOUT_SECONDS = 1800
MAX_TURNS = 200


def fold(name: str) -> str:
    """An output's name as it is stored and compared."""
    return name.lower().replace("-", "_")


@dataclass(frozen=True, slots=True)
class Notify:
    agent: str
    message: str


@dataclass(frozen=True, slots=True)
class Action:
    """What follows a result or a failure. With none of `fail`, `goto`, `retry`, `continue_loop` the run goes on."""

    goto: str | None = None
    retry: bool = False
    max_retries: int | None = None
    notify: tuple[Notify, ...] = ()
    continue_loop: bool = False
    fail: str | None = None

    @property
    def diverts(self) -> bool:
        return bool(self.fail is not None or self.goto or self.retry or self.continue_loop)


@dataclass(frozen=True, slots=True)
class Retry:
    delay_seconds: float = 2
    factor: float = 2
    max_delay_seconds: float = 120


@dataclass(frozen=True, slots=True)
class Loop:
    over: str
    on_each_complete: tuple[str, ...] = ()
    on_all_complete: tuple[str, ...] = ()
    max_items: int = 200
    on_item_failure: str = "fail"  # or "continue"


@dataclass(frozen=True, slots=True)
class Map:
    over: str
    concurrency: int = 4
    max_items: int = 200
    on_item_failure: str = "fail"  # or "continue"


@dataclass(frozen=True, slots=True)
class OutputSchema:
    name: str
    schema: dict[str, Any]
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Approval:
    prompt: str = ""
    options: tuple[str, ...] = ("approve", "reject")
    timeout_seconds: float | None = None  # None: waits for ever
    on_timeout: str = "reject"  # an option, or "fail"
    approvers: tuple[str, ...] = ()  # token names; empty: anyone with scope `run`


@dataclass(frozen=True, slots=True)
class Budget:
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    on_budget: str | None = None  # "fail" or "pause"; None: the server's setting


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """An agent as the file lists it; None: the file does not say."""

    id: str
    name: str
    persona: str | None = None
    model: str | None = None
    fallback_models: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    thinking_level: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its settings resolved: step over agent entry over `defaults`.

    None in `model` ... `max_turns` means that the file does not say: the agent's own configuration decides.
    """

    key: str
    type: str = "agent"  # agent, loop, map, approval, pipeline
    agent: str | None = None
    description: str = ""
    input: str = ""
    outputs: tuple[str, ...] = ()  # folded, like `optional_outputs` and `result_from`
    optional_outputs: tuple[str, ...] = ()
    result_from: str | None = None
    on_result: dict[str, Action] = field(default_factory=dict)  # keys as written, in file order
    on_complete: tuple[str, ...] = ()
    on_failure: Action | None = None
    needs: tuple[str, ...] | None = None  # None: no such key; (): the step is an entry
    when: dict[str, tuple[str, ...]] = field(default_factory=dict)
    loop: Loop | None = None
    map: Map | None = None
    approval: Approval | None = None
    pipeline: str | None = None
    with_: dict[str, str] = field(default_factory=dict)  # task, context, project: templates for the child
    output_schema: OutputSchema | None = None
    output_method: str = "response_format"  # or "tool_use"
    max_repairs: int = 2
    max_visits: int = 10
    model: str | None = None
    fallback_models: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    thinking_level: str | None = None
    max_retries: int | None = None
    timeout_seconds: float | None = None
    max_turns: int | None = None
    retry: Retry = Retry()
    idle_timeout_seconds: float = 300
    queue_timeout_seconds: float | None = None  # None: waits for ever
    max_output_tokens: int | None = None
    temperature: float | None = None
    workspace_on_retry: str = "keep"  # or "reset"
    template_names: frozenset[str] = frozenset()  # every name its input, prompt or `with` uses, as written

    @property
    def declared(self) -> tuple[str, ...]:
        return self.outputs + self.optional_outputs


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A whole definition. `steps` is in file order; a sequence without routing keys has its `on_complete` set."""

    id: str
    name: str
    steps: dict[str, Step]
    entry_steps: tuple[str, ...]
    version: str | None = None
    description: str = ""
    agents: dict[str, AgentEntry] = field(default_factory=dict)
    max_visits: int = 10
    max_duration_seconds: int = 86_400
    max_parallel: int = 4
    budget: Budget = Budget()
    needed_outputs: dict[str, tuple[str, ...]] = field(default_factory=dict)  # step key -> lower case
    extra_names: frozenset[str] = frozenset()  # lower case: used like outputs, declared by no step
    required_variables: tuple[str, ...] = ()  # names that only a JSON `human_context` can give, as written
    strict_variables: tuple[str, ...] = ()  # those of them that stand outside every `if`

    @property
    def uses_task_description(self) -> bool:
        return any("task_description" in step.template_names for step in self.steps.values())

    @property
    def last_step(self) -> str:
        return next(reversed(self.steps))
