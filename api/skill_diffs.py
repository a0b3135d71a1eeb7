"""What differs between two versions of a skill."""

from __future__ import annotations

import difflib
from typing import Any

from models.skills import SkillVersion
from pipelines import skills as pages
from pipelines.skills import SKILL_FILE


def between(old: SkillVersion, new: SkillVersion) -> dict[str, Any]:
    """The SKILL.md as a unified diff, companions by what became of them."""
    before, after = (pages.write(pages.Skill(kept.frontmatter, kept.content)).splitlines() for kept in (old, new))
    lines = difflib.unified_diff(
        before, after, f"{old.version}/{SKILL_FILE}", f"{new.version}/{SKILL_FILE}", lineterm=""
    )
    diff = "".join(f"{line}\n" for line in lines)
    return {"name": new.name, "version": old.version, "to": new.version, "diff": diff, "files": _files(old, new)}


def _files(old: SkillVersion, new: SkillVersion) -> dict[str, str]:
    before, after = ({file["path"]: file["sha256"] for file in kept.files} for kept in (old, new))
    found = dict.fromkeys(before.keys() - after.keys(), "removed") | dict.fromkeys(
        after.keys() - before.keys(), "added"
    )
    found |= {path: "changed" for path in before.keys() & after.keys() if before[path] != after[path]}
    return dict(sorted(found.items()))
