"""Skills from elsewhere: fetched, looked at, approved."""

from __future__ import annotations

import pytest

from models import database, skill_imports, skill_views, skills
from models.errors import Conflict, Forbidden, Invalid
from pipelines import skills as pages
from tests.security.archives import PACKERS, SKILL, tarred, zipped
from tests.workers.clients.double import Double, Reply
from workers import skill_imports as commands
from workers import skills as skill_commands

pytestmark = pytest.mark.usefixtures("store")
WRAPPED = [("repo-1/README.md", b"r"), ("repo-1/a/SKILL.md", SKILL), ("repo-1/a/n.txt", b"Ann"), ("repo-1/a/.x", b"")]


@pytest.fixture
def place(setting):
    server = Double()
    setting(EGRESS_ALLOW=server.place)
    yield server
    server.close()


def fetch(place: Double, data: bytes, status: int = 200, **given) -> dict:
    """The import once a worker has looked at it."""
    place.says(Reply(status, chunks=[data] if data else []))
    with database.transaction():
        made = commands.request({"url": f"{place.url}/skills", **given}, "ann")
    for _ in range(2):  # a doorbell may ring twice
        commands.skill_import(made.id)
    with database.connection():
        return skill_imports.view(skill_imports.find(made.id))


def approve(made: dict) -> None:
    with database.connection():
        names = commands.names(skill_imports.find(made["id"]))
    for name in names:
        with skill_commands.changing(name), database.transaction():
            commands.approve(made["id"], "ann")


def listed() -> list[str]:
    with database.connection():
        return [skill["name"] for skill in skill_views.page(10, None)]


@pytest.mark.parametrize("pack", PACKERS)
def test_an_archive_is_proposed_and_installed_only_when_approved(place, pack) -> None:
    data = pack(WRAPPED)
    made = fetch(place, data)
    assert (made["status"], made["archive_sha256"], len(place.requests)) == ("proposed", pages.digest(data), 1)
    assert [(entry["name"], len(entry["files"]), entry["problems"]) for entry in made["skills"]] == [("greet", 1, [])]
    assert listed() == []
    approve(made)
    with database.connection():
        shown = skill_views.one("greet")
    assert (shown["source"], shown["content"], shown["created_by"]) == ("import", "Say hello.\n", "ann")


def test_an_import_of_what_is_there_is_the_next_version(place) -> None:
    approve(fetch(place, zipped(WRAPPED)))
    made = fetch(place, zipped([("SKILL.md", SKILL.replace(b"hello", b"bye"))]))
    assert made["skills"][0]["replaces"] == 1
    approve(made)
    with database.connection():
        assert skills.find("greet").version == 2


def test_only_the_folder_that_was_asked_for_is_looked_at(place) -> None:
    other = SKILL.replace(b"name: greet", b"name: other")
    files = [*WRAPPED, ("repo-1/b/SKILL.md", other)]
    assert [entry["name"] for entry in fetch(place, tarred(files), path="b/")["skills"]] == ["other"]
    assert len(fetch(place, tarred(files))["skills"]) == 2
    assert fetch(place, tarred(files), path="c")["status"] == "failed"


def test_another_checksum_fails(place) -> None:
    data = zipped(WRAPPED)
    assert fetch(place, data, sha256=pages.digest(data))["status"] == "proposed"
    made = fetch(place, data, sha256="0" * 64)
    assert made["status"] == "failed" and "sha256" in made["error"]


@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        (zipped([("../SKILL.md", SKILL)]), 200, "not a path"),
        (zipped([("a.txt", b"")]), 200, "SKILL.md"),
        (zipped([("SKILL.md", SKILL), ("zeros", bytes(20 << 20))]), 200, "100 times"),
        (b"<html>", 200, "neither zip nor"),
        (b"gone", 404, "answered 404"),
    ],
)
def test_what_cannot_be_used_fails_and_cannot_be_approved(place, data, status, error) -> None:
    made = fetch(place, data, status)
    assert made["status"] == "failed" and error in made["error"]
    with pytest.raises(Conflict, match="is failed"):
        approve(made)


def test_a_broken_skill_is_shown_and_cannot_be_approved(place) -> None:
    made = fetch(place, zipped([("a/SKILL.md", b"---\nname: A\n---\n"), ("b/SKILL.md", SKILL)]))
    assert [bool(entry["problems"]) for entry in made["skills"]] == [True, False]
    with pytest.raises(Conflict, match="name:"):
        approve(made)
    assert listed() == []


def test_an_import_is_approved_once(place) -> None:
    made = fetch(place, zipped(WRAPPED))
    approve(made)
    with pytest.raises(Conflict, match="is approved"):
        approve(made)


def test_only_https_is_fetched_and_only_from_public_places(place, setting) -> None:
    made = fetch(place, zipped(WRAPPED))
    setting(EGRESS_ALLOW="")
    for url, error in ((made["url"], Invalid), ("file:///etc/passwd", Forbidden), ("https://a:b@x.test/", Forbidden)):
        with pytest.raises(error):
            commands.address(url, None)
    with database.transaction():
        inside = commands.request({"url": "https://127.0.0.1/x"}, "ann")
    commands.skill_import(inside.id)
    with database.connection():
        assert "not a public address" in skill_imports.find(inside.id).error


@pytest.mark.parametrize(("ref", "end"), [(None, "HEAD"), ("v1.2", "v1.2")])
def test_a_repository_is_fetched_as_its_archive(ref, end) -> None:
    for url in ("https://github.com/o/r", "https://github.com/o/r.git", "https://github.com/o/r/"):
        assert commands.address(url, ref) == f"https://codeload.github.com/o/r/tar.gz/{end}"
    with pytest.raises(Invalid, match="Only a repository"):
        commands.address("https://example.com/x.zip", "main")
