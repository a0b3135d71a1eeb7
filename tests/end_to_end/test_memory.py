"""Memory on a whole platform: edited by hand, killed while it is indexed."""

from __future__ import annotations

import time

import pytest

from tests.platform import Platform, running, wait_for

NOTES = 3000
NOTICED_SECONDS = 5.0


@pytest.fixture
def platform(tmp_path):
    yield from running(tmp_path)


def write(platform: Platform, path: str, text: str) -> None:
    file = platform.folder / "vaults" / "writer" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def found(platform: Platform, question: str) -> list[str]:
    return [hit["filename"] for hit in platform.client.get("/v1/memory/search", q=question, mode="keyword", limit=5)]


def finds(platform: Platform, question: str, *paths: str) -> None:
    """Waits until a question finds these notes and no others."""

    def look() -> None:
        assert found(platform, question) == list(paths)

    wait_for(look)


def vault(platform: Platform) -> dict:
    vaults = {vault["agent_id"]: vault for vault in platform.client.get("/v1/memory/status")["vaults"]}
    return vaults["writer"]


def test_a_file_that_is_edited_by_hand_is_found_within_five_seconds(platform):
    write(platform, "a.md", "The walrus sleeps.")
    finds(platform, "walrus", "a.md")
    write(platform, "a.md", "The pelican sleeps now.")
    began = time.monotonic()
    finds(platform, "pelican", "a.md")
    assert time.monotonic() - began < NOTICED_SECONDS and found(platform, "walrus") == []
    (platform.folder / "vaults" / "writer" / "a.md").unlink()
    finds(platform, "pelican")


def test_an_index_whose_worker_is_killed_is_complete_after_a_restart(platform):
    for n in range(NOTES):
        write(platform, f"{n % 20}/{n}.md", f"# Note {n}\n\nAbout walnuts and the number {n}.\n")

    def begun() -> None:
        assert vault(platform)["files"] > 0

    wait_for(begun, 30)
    (name,) = platform.named("worker")
    platform.kill(name)
    assert vault(platform)["files"] < NOTES
    platform.start("worker")

    def complete() -> dict:
        shown = vault(platform)
        assert (shown["files"], shown["pending"]) == (NOTES, 0)
        return shown

    wait_for(complete, 60)
    assert found(platform, f"number {NOTES - 1}")[0] == f"{(NOTES - 1) % 20}/{NOTES - 1}.md"
