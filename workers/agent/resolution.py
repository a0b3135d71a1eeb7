"""Which model works, how hard it thinks and who stands in for it: step over agent over setting over what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from models import settings
from models.errors import ConfigError
from workers.clients.llm import registry


class Role(NamedTuple):
    """The agent's keys and the settings that hold for a role; its model falls back to the working one."""

    model: str
    thinking_level: str
    default_model: str
    default_thinking_level: str


_LEVELS = ("thinking_level", "defaultWorkingModelThinkingLevel")
ROLES = {
    "working": Role("model", _LEVELS[0], "defaultWorkingModel", _LEVELS[1]),
    "executor": Role("executor_model", _LEVELS[0], "defaultExecutorModel", _LEVELS[1]),
    "planning": Role("planning_model", _LEVELS[0], "defaultPlanningModel", _LEVELS[1]),
    "thinking": Role(
        "thinking_model", "thinking_model_thinking_level", "defaultThinkingModel", "defaultThinkingModelThinkingLevel"
    ),
}


def role_of(pipeline_id: str, thinking_level: str | None) -> str:
    """Of a step: one that asks for thinking thinks, those of the planning pipelines plan."""
    if thinking_level not in (None, "off"):
        return "thinking"
    return "planning" if pipeline_id.startswith("planning") else "executor"


def model(role: str, agent: dict[str, Any], wanted: Sequence[str | None] = ()) -> str:
    """The first of `wanted` that is set, else the agent's own, the setting's, the first that can be called.

    Raises ConfigError if there is none.
    """
    names = ROLES[role]
    own = (agent.get(names.model), agent.get("model"))
    chosen = next(filter(None, (*wanted, *own)), None) or _default(names)
    if not chosen:
        hint = "set a provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...) or install the `local` extra"
        raise ConfigError(f"There is no model: {hint}", "no_model_configured", hint=hint)
    return chosen


def _default(names: Role) -> str | None:
    named = settings.get(names.default_model) or settings.get("defaultWorkingModel")
    return named or registry.default_model()


def fallbacks(model: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """`given` by whoever named the model, else the setting's."""
    found = settings.get("modelFallbacks").get(model, ()) if given is None else given
    return tuple(other for other in found if other != model)


def thinking_level(role: str, agent: dict[str, Any], wanted: str | None) -> str | None:
    """None leaves it to the provider; so does a setting that is `off`."""
    names = ROLES[role]
    if wanted is not None or agent.get(names.thinking_level) is not None:
        return wanted or agent[names.thinking_level]
    level = settings.get(names.default_thinking_level)
    return None if level == "off" else level
