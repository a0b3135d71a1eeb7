"""Files that a visit wrote in the workspace and that carry an output in their name."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines import outputs as output_rules
from pipelines.definition import Step

MAX_LOOKED_AT = 5_000


def written(workspace: Path, step: Step, extra_names: frozenset[str], since_ms: int | None) -> dict[str, str]:
    """`{path: text}` of the files changed since the attempt began whose name means one of the step's outputs."""
    stems = {stem for name in (*step.declared, *extra_names) for stem in output_rules.file_stems(name)}
    found = {}
    for path in _files(workspace) if stems else ():
        if path.stem in stems and path.suffix in output_rules.FILE_SUFFIXES and _fresh(path, since_ms or 0):
            found[str(path.relative_to(workspace))] = path.read_text("utf-8", errors="replace")
    return found


def _files(workspace: Path):
    looked_at = 0
    for folder, folders, names in os.walk(workspace):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        for name in names:
            looked_at += 1
            if looked_at > MAX_LOOKED_AT:
                return
            yield Path(folder, name)


def _fresh(path: Path, since_ms: int) -> bool:
    if path.is_symlink():
        return False
    facts = path.stat()
    return facts.st_size <= output_rules.MAX_FILE_BYTES and facts.st_mtime * 1000 >= since_ms - 1000
