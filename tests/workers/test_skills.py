"""Skills at work: agents load them, runs keep them, folders and rows follow each other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models import config, database, skill_views, skills
from models.errors import NotFound
from pipelines import skills as pages
from pipelines.seeding import seed
from tests.chat import Chat, install
from tests.engine import Engine
from workers import skill_folders
from workers import skills as commands

pytestmark = pytest.mark.usefixtures("store")
STEP = """
id: loader
agents: [{id: writer}]
steps: [{id: A, agent: writer, input: go, outputs: [x], tools: [read]}]
"""
TWO_STEPS = """
id: loader
agents: [{id: writer}]
defaults: {tools: [read]}
steps:
  - {id: A, agent: writer, input: go, outputs: [x], onComplete: B}
  - {id: B, agent: writer, input: go, outputs: [y]}
"""


def create(name: str = "greet", content: str = "Say hello.", **given) -> None:
    with commands.changing(name), database.transaction():
        commands.create(name, {"description": "How to greet.", "content": content, **given}, "ann")


def change(name: str, command, *arguments):
    with commands.changing(name), database.transaction():
        database.serialize()
        return command(skills.find(name), *arguments, "ann")


def grant(name: str = "greet", agent_id: str = "writer") -> None:
    install(agent_id)
    change(name, commands.grant, agent_id)


def shown(name: str = "greet") -> dict:
    with database.connection():
        return skill_views.one(name)


def folder(name: str = "greet") -> Path:
    return config.get().skills_dir / name


def by_hand(text: str, name: str = "greet", file: str = pages.SKILL_FILE) -> None:
    folder(name).mkdir(parents=True, exist_ok=True)
    (folder(name) / file).write_text(text, "utf-8")
    scan()


def document(content: str, name: str = "greet", **more) -> str:
    return pages.write(pages.Skill({"name": name, "description": "By hand.", **more}, content))


def scan() -> None:
    skill_folders.scan_disk(skill_folders.SCAN)


def load(name: str = "greet", **more) -> list:
    return [{"tool_calls": [{"name": "load_skill", "arguments": {"name": name, **more}}]}, "X: done"]


def results(run: Engine) -> list[str]:
    return [event["result"] for event in run.events if event["type"] == "tool_call_end"]


# --- agents ---


def test_an_agent_sees_its_skills_and_loads_one(caplog) -> None:
    create(files={"names.txt": b"Ann, Bob"})
    grant()
    run = Engine(STEP, {"A": [load()]}).finish()
    assert "Say hello." in results(run)[0] and "names.txt (8 bytes)" in results(run)[0]
    assert (shown()["uses"], shown()["last_used_at"] is not None) == (1, True)
