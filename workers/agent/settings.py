"""What an attempt works with: model, limits, persona, tools; step over file over agent over server."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models import config, database, settings
from models.chats import ChatMessage, ChatSession
from models.errors import ConfigError, Conflict
from models.events import decode
from pipelines import personas
from pipelines.agent_config import DEFAULTS
from pipelines.definition import MAX_TURNS, Step
from pipelines.state import State, Visit
from workers.agent import grants, resolution, skill_lists
from workers.agent.toolbox import Toolbox
from workers.tools import memory, skills, tasks
from workers.tools.base import DEFAULT_TOOLS
from workers.walks import Walk

CACHE_SECONDS = 1.0  # how old an agent's folder as read may be
CHATTING = "You are talking with a person in a chat. Answer them directly; use your tools where they help."
NEUTRAL = "You are {name}. Work carefully, check what you did, and answer exactly in the form that is asked for."


@dataclass(frozen=True, slots=True)
class Chosen:
    """What must be known before an attempt is announced."""

    model: str
    max_retries: int
    has_tools: bool


@dataclass(frozen=True, slots=True)
class Settings:
    models: tuple[str, ...]  # the chosen one, then its fallbacks
    system: str
    toolbox: Toolbox
    granted: grants.Granted
    thinking_level: str | None
    max_turns: int
    timeout_seconds: float  # of the whole attempt, all takeovers together
    opening: int  # 0-based: the n-th attempt of this step in the run
    item_opening: int  # the same among attempts of this loop item


def choose(walk: Walk, visit: Visit) -> Chosen:
    """Model and repeats of the next attempt. Raises ConfigError if there is no model."""
    step, agent = walk.state.step(visit), _config(visit.agent_id)
    return Chosen(
        resolution.model(_role(walk, step), agent, (walk.run.model_override, step.model)),
        _first(step.max_retries, agent.get("max_retries"), settings.get("defaultStepMaxRetries")),
        bool(_tools(step, agent, walk.run.project_id).specs),
    )


def _role(walk: Walk, step: Step) -> str:
    return resolution.role_of(walk.run.pipeline_id, step.thinking_level)


def most_steps(agent_id: str | None) -> int | None:
    """How many steps the agent may work at over all workers; None: any number (it has no folder of its own)."""
    agent = agent_on_disk(agent_id) if agent_id else None
    return agent and agent.config.get("max_concurrent_steps", DEFAULTS["max_concurrent_steps"])


def resolve(walk: Walk, visit: Visit) -> Settings:
    """Everything else, once the attempt is ours."""
    step, agent = walk.state.step(visit), _config(visit.agent_id)
    opening, item_opening = openings(walk, visit)
    plain = _tools(step, agent, walk.run.project_id)
    listed = skill_lists.of_run(walk, visit.agent_id) if plain.specs and not step.output_schema else []
    return Settings(
        models=(visit.model, *_fallbacks(walk, visit, step, agent)),
        system=_system(walk, visit.agent_id) + skill_lists.section(listed),
        toolbox=_tools(step, agent, walk.run.project_id, bool(listed)) if listed else plain,
        granted=grants.of(walk, visit, with_git=plain.has("bash")),
        thinking_level=resolution.thinking_level(_role(walk, step), agent, step.thinking_level),
        max_turns=_first(step.max_turns, agent.get("max_turns"), MAX_TURNS),
        timeout_seconds=_first(step.timeout_seconds, agent.get("timeout"), settings.get("defaultStepTimeoutSec")),
        opening=opening,
        item_opening=item_opening,
    )


@dataclass(frozen=True, slots=True)
class ChatSettings:
    models: tuple[str, ...]
    system: str
    toolbox: Toolbox
    granted: grants.Granted
    thinking_level: str | None
    max_turns: int
    max_output_tokens: int | None
    temperature: float | None


def chat_model(agent_id: str) -> str:
    """The model of a new chat that names none. Raises Conflict if there is none."""
    try:
        return resolution.model("working", _config(agent_id))
    except ConfigError as error:
        raise Conflict(f"{agent_id}: {error.message}", error.code) from error


def for_chat(session: ChatSession, message: ChatMessage) -> ChatSettings:
    """What an answer in a chat is written with. Raises ConfigError."""
    agent = agent_on_disk(session.agent_id) or personas.load(config.get().agents_dir, session.agent_id)  # just made
    if agent is None:
        raise ConfigError(f"The agent {session.agent_id} does not exist any more", "agent_not_found")
    given = agent.config
    persona = agent.persona.strip() or NEUTRAL.format(name=agent.name)
    names = _first(given.get("tools"), DEFAULT_TOOLS)
    listed = skill_lists.of_agent(session.agent_id) if names else []
    system = (persona, CHATTING, session.system_prompt_supplement, skill_lists.section(listed).strip())
    return ChatSettings(
        models=(message.model, *resolution.fallbacks(message.model, given.get("fallback_models"))),
        system="\n\n".join(text for text in system if text),
        toolbox=toolbox_of(names, session.project_id, bool(listed)),
        granted=grants.for_chat(session.id, session.agent_id),
        thinking_level=resolution.thinking_level("working", given, session.thinking_level),
        max_turns=_first(given.get("max_turns"), MAX_TURNS),
        max_output_tokens=given.get("max_tokens"),
        temperature=given.get("temperature"),
    )


def _fallbacks(walk: Walk, visit: Visit, step: Step, agent: dict[str, Any]) -> tuple[str, ...]:
    """Of the level that gave the model."""
    named_here = step.fallback_models if step.model else agent.get("fallback_models")
    return resolution.fallbacks(visit.model, None if walk.run.model_override else named_here)


def _tools(step: Step, agent: dict[str, Any], project_id: str | None, has_skills: bool = False) -> Toolbox:
    return toolbox_of(_first(step.tools, agent.get("tools"), DEFAULT_TOOLS), project_id, has_skills)


def toolbox_of(names: Sequence[str], project_id: str | None, has_skills: bool = False) -> Toolbox:
    """The tools named; whoever has any has those of memory, of the project's board and of its skills, too."""
    given = memory.NAMES if names else ()
    more = (*given, *(tasks.NAMES if project_id and names else ()), *(skills.NAMES if has_skills else ()))
    return _toolbox((*names, *(name for name in more if name not in names)), tuple(config.get().approve_tools))


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _system(walk: Walk, agent_id: str) -> str:
    agent = agent_on_disk(agent_id)
    entry = walk.pipeline.agents.get(agent_id)
    if agent is not None and agent.persona.strip():
        return agent.persona
    if entry is not None and entry.persona and "\n" in entry.persona.strip():
        return entry.persona
    return NEUTRAL.format(name=entry.name if entry else agent_id)


def _config(agent_id: str | None) -> dict[str, Any]:
    agent = agent_on_disk(agent_id) if agent_id else None
    return agent.config if agent else {}


def agent_on_disk(agent_id: str) -> personas.Agent | None:
    """The agent's folder, at most a second old."""
    return _agent(agent_id, int(time.monotonic() / CACHE_SECONDS))


@functools.lru_cache(maxsize=256)
def _agent(agent_id: str, second: int) -> personas.Agent | None:
    return personas.load(config.get().agents_dir, agent_id)


@functools.lru_cache(maxsize=256)
def _toolbox(names: tuple[str, ...], asks: tuple[str, ...]) -> Toolbox:
    return Toolbox(names, asks)


def openings(walk: Walk, visit: Visit) -> tuple[int, int]:
    """How many attempts at this step the run made before: (in all, for this loop item)."""
    items = [
        visit.retry_count * [visit.item_index],
        *_of_this_epoch(walk.state, visit),
        *_of_earlier_epochs(walk, visit),
    ]
    flat = [index for group in items for index in group]
    return len(flat), flat.count(visit.item_index)


def _of_this_epoch(state: State, visit: Visit) -> list[list[int | None]]:
    others = [other for other in state.visits if other.step_key == visit.step_key and other.n != visit.n]
    return [(other.retry_count + 1) * [other.item_index] for other in others if other.first_seq]


def _of_earlier_epochs(walk: Walk, visit: Visit) -> list[list[int | None]]:
    if walk.run.epoch == 1:
        return []
    sql = "SELECT data FROM events WHERE stream = ? AND type = 'step_started' AND step_key = ? AND epoch < ?"
    with database.connection():
        rows = database.rows(sql, (walk.run.id, visit.step_key, walk.run.epoch))
    return [[decode(row["data"])["item_index"] for row in rows]]
