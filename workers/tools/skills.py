"""The tool `load_skill`: the text of a skill, or of one of its files, once an agent decides that it needs it.

A run reads the version that it began with, a chat the current one. The text is data: nothing of it is executed.
"""

from __future__ import annotations

from typing import Any

from models import chats, database, skill_grants, skills
from models.skills import SkillVersion
from workers.tools.base import Context, Tool, ToolError, parameters

NAMES = ("load_skill",)


def load_skill(context: Context, arguments: dict[str, Any]) -> str:
    name, path = arguments["name"], arguments.get("file")
    with database.connection():
        kept = skills.version(name, _version(context, name))
        text = _file(kept, path) if path else _text(kept)
    with database.transaction():
        skills.used(name)
    return text


def _version(context: Context, name: str) -> int:
    if context.holder.startswith(chats.PREFIX):
        mine = skill_grants.granted(context.agent_id)
    else:
        mine = [skill for skill in skill_grants.pinned(context.holder) if skill["agent_id"] == context.agent_id]
    versions = {skill["name"]: skill["version"] for skill in mine}
    if name not in versions:
        raise ToolError(f"You have no skill {name!r}. You have: {', '.join(versions) or 'none'}.")
    return versions[name]


def _text(kept: SkillVersion) -> str:
    files = "".join(f"\n- {file['path']} ({file['size']} bytes)" for file in kept.files)
    more = f"\n\nFiles of this skill, to be read with load_skill and `file`:{files}" if files else ""
    return f"# Skill {kept.name}, version {kept.version}\n\n{kept.content.strip()}{more}"


def _file(kept: SkillVersion, path: str) -> str:
    try:
        return skills.file(kept, path).decode()
    except UnicodeError:
        raise ToolError(f"{path} of {kept.name} is not text") from None


def tools() -> list[Tool]:
    described = "Read one of your skills: its instructions, or one of its files."
    name = {"type": "string", "description": "as your list of skills has it", "maxLength": 64}
    file = {"type": "string", "description": "path of one of its files; without it: the instructions", "maxLength": 255}
    return [Tool("load_skill", described, parameters(("name",), name=name, file=file), load_skill, "idempotent")]
