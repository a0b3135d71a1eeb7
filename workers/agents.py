"""Agents: the commands that change their folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import agents, catalogue, config, events
from models.base import new_id
from models.errors import Conflict, Invalid, NotFound
from models.events import Event
from pipelines import agent_config, config_edit, disk, personas
from pipelines.personas import CONFIG_FILE, FILES, PERSONA_FILES
from pipelines.text import YamlError
from workers import locks
from workers.tools import registry

OTHER_PROVIDERS = ("scripted", "local")  # beside the catalogue's
TRASH = ".trash"


@dataclass(frozen=True, slots=True)
class Folder:
    """An agent's folder under the writer's lock. `texts`: every file that counts, "" if absent."""

    id: str
    path: Path
    texts: dict[str, str]

    @property
    def version(self) -> str:
        return personas.version_of(self.texts)

    @property
    def exists(self) -> bool:
        return personas.is_agent(self.path)


@contextmanager
def locked(agent_id: str) -> Iterator[Folder]:
    """The folder, which no other process of this machine changes meanwhile. Take it before a transaction.

    Raises Unavailable if another writer does not come to an end.
    """
    root = config.get().agents_dir
    with locks.exclusive(root, agent_id, "agent_locked"):
        yield Folder(agent_id, root / agent_id, personas.read_files(root / agent_id)[0])


def save(folder: Folder, changed: dict[str, str], by: str) -> bool:
    """Writes the files that differ, "" removes one; keeps the versions, in the enclosing transaction."""
    changed = {name: text for name, text in changed.items() if folder.texts[name] != text}
    for name, text in changed.items():
        if len(text.encode()) > personas.limit(name):
            reason = f"{name} would be larger than {personas.limit(name) // 1024} KB"
            raise Invalid(reason, "file_too_large", {name: ["too large"]})
    if not changed:
        return False
    texts = folder.texts | changed
    version = personas.version_of(texts)
    if folder.exists:
        agents.keep(folder.id, folder.version, folder.texts, "disk")
    agents.keep(folder.id, version, texts, "api", by)
    events.note(Event("agent_updated", agent_id=folder.id, payload={"version": version, "files": sorted(changed)}))
    for name, text in changed.items():
        _put(folder.path / name, text)
    return True


def _put(path: Path, text: str) -> None:
    if text:
        disk.write(path, text.encode())
    else:
        path.unlink(missing_ok=True)


def configure(folder: Folder, given: dict[str, Any], by: str) -> bool:
    """Changes keys of the configuration, null removes one; False if nothing changed. Raises Invalid, Conflict."""
    return save(folder, {CONFIG_FILE: reconfigured(folder.texts[CONFIG_FILE], given)}, by)


def reconfigured(text: str, given: dict[str, Any]) -> str:
    """The configuration's text with other values. Raises Invalid with every problem, Conflict if it is not YAML."""
    changes, problems = agent_config.read_changes(given)
    if problems:
        unknown = [agent_config.UNKNOWN] in problems.values()
        why = "; ".join(f"{name}: {reasons[0]}" for name, reasons in problems.items())
        raise Invalid(why, "unknown_config_key" if unknown else "invalid_config", problems)
    if unknown := unknown_providers(changes):
        raise Invalid(f"No provider of {', '.join(unknown.values())}", "unknown_provider", _reasons(unknown))
    if unknown := unknown_tools(changes):
        raise Invalid(f"No tool {', '.join(unknown)}", "invalid_config", {"tools": [f"no tool {unknown[0]}"]})
    try:
        return config_edit.edited(text, changes)
    except YamlError as error:
        raise Conflict(f"{CONFIG_FILE} cannot be read, so it is not changed: {error}", "config_unreadable") from error


def _reasons(unknown: dict[str, str]) -> dict[str, list[str]]:
    return {key: [f"no provider of {model}"] for key, model in unknown.items()}


def unknown_providers(changes: dict[str, Any]) -> dict[str, str]:
    """{key: model} of the models whose provider nobody knows."""
    models = {key: value for key, value in changes.items() if key.endswith("model") and value}
    models |= {f"fallback_models[{index}]": model for index, model in enumerate(changes.get("fallback_models") or [])}
    return {key: model for key, model in models.items() if not _is_provider(model.strip().partition("/")[0])}


def _is_provider(name: str) -> bool:
    return name in OTHER_PROVIDERS or catalogue.find(name) is not None


def unknown_tools(changes: dict[str, Any]) -> list[str]:
    return [name for name in changes.get("tools") or [] if name not in registry.tools()]


def create(folder: Folder, files: dict[str, str], by: str) -> None:
    """A new agent. Raises Conflict."""
    if folder.path.exists():
        raise Conflict(f"There is an agent {folder.id} already", "agent_exists")
    folder.path.mkdir()
    save(folder, {name: files.get(name, "") for name in FILES}, by)


def copied(agent_id: str) -> dict[str, str]:
    """The files of an agent. Raises NotFound."""
    path = config.get().agents_dir / agent_id
    if not personas.is_agent(path):
        raise NotFound(f"Agent {agent_id} not found", "agent_not_found")
    return personas.read_files(path)[0]


def restore(folder: Folder, number: int, by: str) -> bool:
    """The files as they were at that version. Raises NotFound."""
    kept, _ = agents.version(folder.id, number)
    return save(folder, {name: kept.files.get(name, "") for name in FILES}, by)


def remove(folder: Folder) -> None:
    """Moves the folder to the trash; in the enclosing transaction. Raises Conflict."""
    if agents.active_steps(folder.id):
        raise Conflict(f"Agent {folder.id} is at work", "agent_busy")
    agents.keep(folder.id, folder.version, folder.texts, "disk")
    events.note(Event("agent_updated", agent_id=folder.id, payload={"version": None, "files": sorted(FILES)}))
    trash = folder.path.parent / TRASH
    trash.mkdir(exist_ok=True)
    shutil.move(folder.path, trash / f"{folder.id}.{new_id('')}")


def remember(folder: Folder) -> None:
    """Keeps what somebody changed by hand as a version, in the enclosing transaction."""
    agents.keep(folder.id, folder.version, folder.texts, "disk")


def identity(name: str | None, emoji: str | None, role: str | None, description: str | None) -> str:
    """The text of an IDENTITY.md."""
    given = {"Name": name, "Emoji": emoji, "Role": role, "Description": description}
    return "".join(f"{key}: {value}\n" for key, value in given.items() if value)


def warnings(agent: personas.Agent) -> list[str]:
    """What is allowed in an agent's folder but will not work."""
    found = [f"{CONFIG_FILE}: no provider of {model}" for model in unknown_providers(agent.config).values()]
    found += [f"{CONFIG_FILE}: no tool {name}" for name in unknown_tools(agent.config)]
    return found if agent.persona else [*found, f"none of {', '.join(PERSONA_FILES)} says who the agent is"]
