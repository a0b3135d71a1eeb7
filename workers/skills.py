"""Skills: the commands that change them, each under `skill_folders.locked` and in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models import config, database, skill_grants, skills
from models.errors import Conflict, Invalid, NotFound
from models.skills import AGENT, Skill
from pipelines import front_matter, personas
from pipelines import skills as pages
from workers.skill_folders import add_version, current, locked, note

PLACED = ("scope", "owner_agent_id", "default_grant")  # columns that no folder holds
KEPT = ("description", "tags")  # of the front matter


def checked_name(given: str) -> str:
    """The name that a person meant. Raises Invalid with a suggestion."""
    name = pages.tidied(given)
    if not pages.may_be_name(name):
        suggestion = pages.suggested(given)
        errors = {"name": [f"not a name; {suggestion} would be one"]}
        raise Invalid(f"{given[:80]!r} cannot name a skill, {suggestion} can", "invalid_name", errors)
    return name


def composed(base: pages.Skill, changes: dict[str, Any]) -> pages.Skill:
    """`base` with other `description, tags, content, enabled, files`; `content` may begin with front matter.

    Raises Invalid.
    """
    front, content, enabled = dict(base.frontmatter), changes.get("content", base.content), base.enabled
    head, rest = front_matter.split(content)
    problems: list[str] = []
    if head is not None and "content" in changes:
        written, enabled, problems = pages.read_head(head)
        _refuse_conflicts(written, {"name": base.name} | changes)
        front, content = {"name": base.name} | written, rest
    front |= {name: changes[name] for name in KEPT if name in changes}
    if not front.get("tags"):
        front.pop("tags", None)
    page = pages.Skill(
        front, content.replace("\r\n", "\n"), changes.get("enabled", enabled), changes.get("files", base.files)
    )
    problems += [*pages.document_problems(page, base.name), *pages.file_problems(page.files)]
    if problems:
        raise Invalid("; ".join(problems), "invalid_skill", {"skill": problems})
    return page


def _refuse_conflicts(written: dict[str, Any], given: dict[str, Any]) -> None:
    for name in ("name", "description"):
        if name in given and written.get(name, given[name]) != given[name]:
            reason = f"the front matter of the content says {str(written[name])[:80]!r}"
            raise Invalid(f"{name}: {reason}", "conflicting_fields", {name: [reason]})


def create(name: str, given: dict[str, Any], by: str, source: str = "api") -> Skill:
    """A new skill. Raises Conflict, Invalid."""
    database.serialize()
    before = skills.known(name)
    if before is not None and not before.deleted_at:
        raise Conflict(f"There is a skill {name} already", "skill_exists")
    page = composed(pages.Skill({"name": name}, ""), given)
    skill = skills.add(name, source, by, **_placed(given))
    add_version(skill, page, by)
    _saved(skill, by, enabled=page.enabled)
    return skill


def _placed(given: dict[str, Any]) -> dict[str, Any]:
    """The columns that say whose it is. Raises Invalid."""
    placed = {name: given[name] for name in PLACED if name in given}
    owner = placed.get("owner_agent_id")
    if placed.get("scope") == AGENT and not owner:
        raise Invalid("A skill of an agent needs its owner", "owner_required", {"owner_agent_id": ["required"]})
    if owner and not personas.is_agent(config.get().agents_dir / owner):
        raise Invalid(f"There is no agent {owner}", "unknown_agent", {"owner_agent_id": ["no such agent"]})
    return placed


def _saved(skill: Skill, by: str, **columns: Any) -> None:
    skills.touch(skill, behind=True, **columns)
    note("skill_updated", skill.name, version=skill.version, by=by)


def update(skill: Skill, given: dict[str, Any], by: str) -> bool:
    """Changes what differs, the text and companions as a new version; False if nothing does. Raises Invalid."""
    place = {name: getattr(skill, name) for name in PLACED}
    placed = _placed(place | given)
    before = current(skill) if skill.version else pages.Skill({"name": skill.name}, "", skill.enabled)
    page = composed(before, given)
    if page.sha256 != skill.sha256:
        add_version(skill, page, by)
    elif placed == place and page.enabled == skill.enabled:
        return False
    _saved(skill, by, enabled=page.enabled, **placed)
    return True


def enable(skill: Skill, enabled: bool, by: str) -> bool:
    """Whether that changed anything."""
    if skill.enabled == enabled:
        return False
    _saved(skill, by, enabled=enabled)
    return True


def restore(skill: Skill, number: int, by: str) -> bool:
    """The text and companions of an older version, as a new one. Raises NotFound."""
    kept = skills.version(skill.name, number)
    if kept.sha256 == skill.sha256:
        return False
    add_version(skill, pages.Skill(kept.frontmatter, kept.content, skill.enabled, skills.files(kept)), by)
    _saved(skill, by)
    return True


def remove(skill: Skill, by: str) -> None:
    """With its grants; its folder goes to the trash. Runs that have it keep it."""
    skills.forget(skill)
    note("skill_deleted", skill.name, by=by)


def grant(skill: Skill, agent_id: str, by: str) -> bool:
    """Whether that changed anything. Raises Conflict, NotFound."""
    if not personas.is_agent(config.get().agents_dir / agent_id):
        raise NotFound(f"Agent {agent_id} not found", "agent_not_found")
    changed = skill_grants.grant(skill, agent_id, by)
    if changed:
        note("skill_grants_changed", skill.name, agent_id=agent_id, granted=True, by=by)
    return changed


def revoke(skill: Skill, agent_id: str, by: str) -> None:
    """Raises NotFound."""
    skill_grants.revoke(skill, agent_id, by)
    note("skill_grants_changed", skill.name, agent_id=agent_id, granted=False, by=by)


@contextmanager
def changing(name: str) -> Iterator[None]:
    """For the block, nobody else changes the skill; its folder follows. Raises NotFound."""
    if not pages.may_be_name(name):
        raise NotFound(f"Skill {name} not found", "skill_not_found")
    with locked(name):
        yield
