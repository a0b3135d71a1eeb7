"""The pipelines as the API sees them: those at hand now, and those that runs have pinned."""

from __future__ import annotations

import dataclasses
import functools

from models import config, snapshots
from models.errors import Invalid, NotFound
from models.step_views import Pinned
from models.why import Rules
from pipelines import personas
from pipelines.agent_config import DEFAULTS
from pipelines.catalog import LIBRARY, Catalog, Entry, Known, parse
from pipelines.definition import Pipeline


@functools.cache
def catalog() -> Catalog:
    """The user's folder over the built-in library."""
    return Catalog([config.get().pipelines_dir, LIBRARY], known)


def known() -> Known:
    """What a pipeline may name today."""
    return Known(agents=personas.installed(config.get().agents_dir))


def get(pipeline_id: str) -> Entry:
    """Raises NotFound."""
    entry = catalog().get(pipeline_id)
    if entry is None:
        raise NotFound(f"Pipeline {pipeline_id} not found", "pipeline_not_found")
    return entry


def startable(pipeline_id: str) -> Entry:
    """A pipeline that can be started. Raises NotFound, Invalid."""
    entry = get(pipeline_id)
    if not entry.valid:
        raise Invalid(f"Pipeline {pipeline_id} has errors", "pipeline_invalid", {entry.file: entry.errors})
    return entry


def latest(pipeline_id: str) -> Entry | None:
    """The pipeline as it is now, None if it is gone or cannot be started."""
    entry = catalog().get(pipeline_id)
    return entry if entry and entry.valid else None


def definition(pipeline_id: str) -> Pipeline | None:
    """What `latest` has to run."""
    entry = latest(pipeline_id)
    return entry and entry.pipeline


@functools.lru_cache(maxsize=256)
def pinned(hash: str) -> tuple[Pinned, ...]:
    """The steps of the definition with that content hash, in file order."""
    steps = parse(snapshots.text_of(hash)).steps.values()
    return tuple(Pinned(step.key, step.type, step.agent, step.max_retries) for step in steps)


def rules(hash: str) -> Rules:
    """What the definition with that content hash, and its agents as they are now, say about waiting."""
    agents = {step.agent_id for step in pinned(hash) if step.agent_id}
    found = (personas.load(config.get().agents_dir, agent_id) for agent_id in agents)
    default = DEFAULTS["max_concurrent_steps"]
    limits = {agent.id: agent.config.get("max_concurrent_steps", default) for agent in found if agent}
    return dataclasses.replace(_joins(hash), limits=limits)


@functools.lru_cache(maxsize=256)
def _joins(hash: str) -> Rules:
    pipeline = parse(snapshots.text_of(hash))
    return Rules(pipeline.max_parallel, {key: step.needs for key, step in pipeline.steps.items() if step.needs})
