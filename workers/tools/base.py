"""What a tool is, and running one: whatever goes wrong in it becomes text for the model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator
from referencing import Registry

from models.errors import DjinnBotError, LeaseLost, StaleState, StepError
from workers.clients.llm.base import ToolSpec

# What a worker that takes over does with a call whose end is not recorded (engine, P10).
Effect = Literal[
    "pure",  # changes nothing: repeat
    "idempotent",  # a repeat does no harm: repeat
    "checkable",  # look whether it happened, then decide
    "unsafe",  # ask a person
]

MAX_OUTPUT = 100_000  # characters of one result
MAX_PROBLEMS = 5
DEFAULT_TOOLS = ("read", "write", "edit", "bash")


class ToolError(Exception):
    """The tool cannot do what it was asked to; the message tells the model why."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where a call happens. `key` identifies the call for services that take an idempotency key."""

    workspace: Path
    timeout: float = 120.0  # seconds of one call
    env: dict[str, str] = field(default_factory=dict)  # what commands see beside the sandbox's own
    clean: Callable[[str], str] = str  # takes the secrets out of a result
    key: str = ""
    project_id: str | None = None  # whose board the task tools see
    agent_id: str = ""
    holder: str = ""  # the run or chat that acts
    step_id: str | None = None


def problems(schema: dict[str, Any], arguments: Any) -> list[str]:
    """Why `arguments` do not match; references to other documents are not followed."""
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        errors = list(validator.iter_errors(arguments))[:MAX_PROBLEMS]
    except Exception as error:  # a schema from outside can be broken in any way
        return [f"the tool's own schema is broken: {error}"]
    return [f"{error.json_path}: {error.message}"[:500] for error in errors]


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    parameters: dict[str, Any]  # JSON Schema of an object
    call: Callable[[Context, dict[str, Any]], str]
    effect: Effect = "pure"
    problems: Callable[[dict[str, Any], Any], list[str]] = problems  # of arguments against `parameters`

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, self.description, self.parameters)


@dataclass(frozen=True, slots=True)
class Outcome:
    text: str
    is_error: bool = False


def run(tool: Tool, context: Context, arguments: dict[str, Any]) -> Outcome:
    """What the model gets to see. Only what ends the attempt itself is raised."""
    if found := tool.problems(tool.parameters, arguments):
        return Outcome(f"Error: invalid arguments for {tool.name}: " + "; ".join(found), is_error=True)
    try:
        return Outcome(clip(context.clean(tool.call(context, arguments))))
    except (LeaseLost, StaleState, StepError):
        raise
    except (ToolError, DjinnBotError) as error:
        return _failed(context, error)
    except Exception as error:
        logging.getLogger(__name__).exception("tool %s failed", tool.name)
        return _failed(context, error)


def _failed(context: Context, error: Exception) -> Outcome:
    return Outcome(clip(context.clean(f"Error: {error or type(error).__name__}")), is_error=True)


def clip(text: str, limit: int = MAX_OUTPUT) -> str:
    """The first and last half of a long text, with a note between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def parameters(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object that takes these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# The loop itself answers these two.
COMPLETE = ToolSpec(
    "complete",
    "Finish the step. Give every declared output by its name, and a short summary of what you did.",
    parameters(
        ("outputs",),
        outputs={"type": "object", "description": "the value of each output, by name"},
        summary={"type": "string", "description": "what was done, in a few sentences"},
    ),
)
FAIL = ToolSpec(
    "fail",
    "Give the step up because it cannot be done. The error is shown to people and to the next attempt.",
    parameters(
        ("error",),
        error={"type": "string", "description": "why, in one sentence"},
        details={"type": "string", "description": "what was tried, and what would help"},
    ),
)
