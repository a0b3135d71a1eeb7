"""Skills from elsewhere: an archive is fetched and looked at, and installed once an admin approves."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from models import config, database, outbox, skill_imports, skills
from models.errors import Conflict, DjinnBotError, Invalid
from models.skill_imports import APPROVED, FAILED, PROPOSED, QUEUED, SkillImport
from pipelines import skills as pages
from pipelines.archives import MAX_UNPACKED, ArchiveError, unpack
from pipelines.skills import SKILL_FILE
from workers import skills as commands
from workers.broker import actor, doorbell
from workers.clients import http
from workers.skill_folders import listed

REPOSITORY = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?")
ARCHIVE = "https://codeload.github.com/{}/{}/tar.gz/{}"
MOST = 50  # skills of one archive


def request(given: dict[str, Any], by: str) -> SkillImport:
    """Rings for the download, in the enclosing transaction. Raises Invalid."""
    address(given["url"], given.get("ref"))
    made = skill_imports.add(by, **given)
    doorbell("skill_import", made.id)
    return made


def address(url: str, ref: str | None) -> str:
    """Where the archive is. Raises Invalid, Forbidden."""
    if repository := REPOSITORY.fullmatch(url):
        return ARCHIVE.format(*repository.groups(), ref or "HEAD")
    if ref:
        raise Invalid("Only a repository has a ref", errors={"ref": ["only for https://github.com/OWNER/NAME"]})
    parsed = http.parse(url)
    allowed = f"{parsed.host}:{parsed.port}" in config.get().egress_allow
    if parsed.scheme != "https" and not allowed:
        raise Invalid("An import needs https", errors={"url": ["not https"]})
    return url


@actor
def skill_import(import_id: str) -> None:
    """Fetches and reads the archive; a repeat of a settled one does nothing."""
    with database.connection():
        made = skill_imports.find(import_id)
    if made.status == QUEUED:
        outcome = _looked_at(made)
        with database.transaction():
            for data in outcome.pop("blobs", ()):
                skills.keep_blob(pages.digest(data), data)
            skill_imports.settle(made, **outcome)
    with database.transaction():
        outbox.answered(import_id, "")


def _looked_at(made: SkillImport) -> dict[str, Any]:
    """The columns that the import ends with, and the `blobs` that they name."""
    try:
        data = _fetched(made)
        found = proposals(unpack(data), made.path)
    except (ArchiveError, DjinnBotError) as error:
        return {"status": FAILED, "error": str(error)}
    blobs = [content for _, files in found for content in files.values()]
    entries = [_entry(document, files) for document, files in found]
    return {"status": PROPOSED, "archive_sha256": pages.digest(data), "skills": entries, "blobs": blobs}


def _fetched(made: SkillImport) -> bytes:
    answer = http.request("GET", address(made.url, made.ref), max_bytes=MAX_UNPACKED)
    if answer.status_code != 200:
        raise ArchiveError(f"the server answered {answer.status_code}")
    if made.sha256 and pages.digest(answer.content) != made.sha256:
        raise ArchiveError(f"its sha256 is {pages.digest(answer.content)}, not the one that was given")
    return answer.content


def proposals(files: dict[str, bytes], path: str | None) -> list[tuple[bytes, dict[str, bytes]]]:
    """`[(SKILL.md, {path: companion})]` of the skills beneath folder `path`. Raises ArchiveError."""
    inside = _beneath(files, path)
    roots = sorted(str(PurePosixPath(name).parent) for name in inside if PurePosixPath(name).name == SKILL_FILE)
    if not roots or len(roots) > MOST:
        raise ArchiveError(f"{len(roots)} folders with a {SKILL_FILE}: there must be 1 to {MOST}")
    found = []
    for root in roots:
        start = "" if root == "." else f"{root}/"
        mine = {name.removeprefix(start): data for name, data in inside.items() if name.startswith(start)}
        found.append((mine.pop(SKILL_FILE), _companions(mine)))
    return found


def _beneath(files: dict[str, bytes], path: str | None) -> dict[str, bytes]:
    """Without the one folder that archives of repositories wrap everything in."""
    tops = {name.split("/")[0] for name in files}
    if len(tops) == 1 and SKILL_FILE not in tops:
        files = {name.partition("/")[2]: data for name, data in files.items() if "/" in name}
    start = f"{path.strip('/')}/" if path and path.strip("/") else ""
    return {name.removeprefix(start): data for name, data in files.items() if name.startswith(start)}


def _companions(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if not any(part.startswith(".") for part in path.split("/"))}


def _entry(document: bytes, files: dict[str, bytes]) -> dict[str, Any]:
    text = document.decode("utf-8-sig", "replace").replace("\0", "\ufffd")
    found = pages.parse(text)
    problems = [*found.problems, *pages.file_problems(files)]
    about = {"name": found.skill.name, "description": found.skill.description, "problems": problems}
    return about | {"document": text, "files": listed(files)}


def names(made: SkillImport) -> list[str]:
    """What approving would install, in order. Raises Conflict unless it can be approved."""
    skill_imports.refuse_unless_proposed(made)
    if broken := [f"{entry['name']}: {entry['problems'][0]}" for entry in made.skills if entry["problems"]]:
        raise Conflict("; ".join(broken), "import_invalid", allowed=[])
    return sorted({entry["name"] for entry in made.skills})


def approve(import_id: str, by: str) -> SkillImport:
    """Installs what is proposed, over what has the same names, under their locks. Raises Conflict, Invalid."""
    database.serialize()
    made = skill_imports.find(import_id)
    skill_imports.refuse_unless_proposed(made)
    for entry in made.skills:
        _install(entry, by)
    skill_imports.settle(made, APPROVED)
    return made


def _install(entry: dict[str, Any], by: str) -> None:
    """A new skill, or the next version of the one of that name."""
    given = {"content": entry["document"], "files": skill_imports.companions(entry)}
    before = skills.known(entry["name"])
    if before is None or before.deleted_at:
        commands.create(entry["name"], given, by, source="import")
    else:
        commands.update(before, given, by)
