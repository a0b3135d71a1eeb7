"""Skills at work: agents load them, runs keep them, folders and rows follow each other."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from models import config, database, outbox, skill_grants, skill_views, skills
from models.errors import Conflict, NotFound
from pipelines import skills as pages
from pipelines.seeding import seed
from tests.chat import Chat, install
from tests.engine import Engine
from workers import runs, skill_folders, walks
from workers import skills as commands
from workers.agent import settings

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


def test_an_agent_sees_its_skills_and_loads_one() -> None:
    create(files={"names.txt": b"Ann, Bob"})
    grant()
    run = Engine(STEP, {"A": [load()]}).finish()
    assert "Say hello." in results(run)[0] and "names.txt (8 bytes)" in results(run)[0]
    assert (shown()["uses"], shown()["last_used_at"] is not None) == (1, True)


def system_of(run: Engine) -> str:
    walk = walks.load(run.run_id)
    return settings.resolve(walk, walk.state.visits[0]).system


def test_a_prompt_lists_what_can_be_loaded_and_nothing_of_its_text() -> None:
    create()
    create("other", description="A line\nand  another.")
    grant()
    grant("other")
    create("disabled", enabled=False, default_grant=True)
    create("foreign")
    system = system_of(Engine(STEP).finish())
    assert system.endswith("\n- greet: How to greet.\n- other: A line and another.")
    assert "Say hello" not in system and "- disabled" not in system and "- foreign" not in system


def test_a_step_without_tools_hears_nothing_of_skills() -> None:
    create(default_grant=True)
    install("writer")
    run = Engine(STEP.replace("[read]", "[]")).finish()
    assert "greet" not in system_of(run)


def test_an_agent_reads_a_file_of_a_skill_but_nothing_else() -> None:
    create(files={"names.txt": b"Ann, Bob", "logo.png": b"\x89PNG\xff"})
    grant()
    asks = [load(file=file)[0]["tool_calls"][0] for file in ("names.txt", "logo.png", "../../token")]
    heard = results(Engine(STEP, {"A": [[{"tool_calls": asks}, "X: done"]]}).finish())
    assert heard[0] == "Ann, Bob" and "is not text" in heard[1] and "has no file" in heard[2]


def test_an_agent_cannot_load_what_it_has_not_been_granted() -> None:
    create()
    create("other")
    grant()
    run = Engine(STEP, {"A": [load("other")]}).finish()
    assert "You have no skill 'other'. You have: greet." in results(run)[0]
    assert shown("other")["uses"] == 0


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (commands.update, ({"content": "Say goodbye."},)),
        (commands.enable, (False,)),
        (commands.revoke, ("writer",)),
        (commands.remove, ()),
    ],
)
def test_a_run_keeps_what_it_began_with(command, arguments) -> None:
    create()
    grant()
    run = Engine(STEP, {"A": [load()]})
    change("greet", command, *arguments)
    assert "Say hello." in results(run.finish())[0]


def test_a_run_does_not_get_what_was_granted_later() -> None:
    create()
    run = Engine(STEP, {"A": [load()]})
    grant()
    assert "There is no tool 'load_skill'" in results(run.finish())[0]


def test_a_fork_has_what_its_source_had() -> None:
    create()
    grant()
    run = Engine(TWO_STEPS, {"A": ["X: y"], "B": [load()]}).finish()
    change("greet", commands.update, {"content": "Say goodbye."})
    assert "Say hello." in results(run.fork(from_step="B", changes={}))[0]


def test_a_run_pins_only_what_its_own_agents_have() -> None:
    create()
    grant(agent_id="somebody")
    run = Engine(STEP).finish()
    with database.connection():
        assert skill_grants.pinned(run.run_id) == []


def test_a_deleted_run_lets_go_of_its_skills() -> None:
    create()
    grant()
    run = Engine(STEP).finish()
    runs.remove(run.run_id)
    with database.connection():
        assert skill_grants.SkillPin.select().count() == 0


def test_a_chat_reads_the_current_version() -> None:
    create()
    grant()
    ask = load()[0]
    chat = Chat([[ask, "One."], [ask, "Two."]])
    chat.ask("Hello")
    change("greet", commands.update, {"content": "Say goodbye."})
    chat.ask("Again")
    said = [event["result"] for event in chat.events if event["type"] == "tool_call_end"]
    assert "Say hello." in said[0] and "Say goodbye." in said[1] and "version 2" in said[1]


# --- who has what ---


def test_a_skill_of_everybody_can_be_taken_from_one_and_given_back() -> None:
    create(default_grant=True)
    install("writer")
    change("greet", commands.revoke, "writer")
    with database.connection():
        assert (skill_grants.has("greet", "writer"), skill_grants.has("greet", "other")) == (False, True)
    change("greet", commands.grant, "writer")
    with database.connection():
        assert skill_grants.has("greet", "writer")


def test_a_skill_of_one_agent_is_only_that_agent_s() -> None:
    install("writer")
    install("other")
    create(scope="agent", owner_agent_id="writer")
    with pytest.raises(Conflict, match="belongs to writer"):
        change("greet", commands.grant, "other")
    with database.connection():
        assert (skill_grants.has("greet", "writer"), skill_grants.has("greet", "other")) == (True, False)
    change("greet", commands.revoke, "writer")
    with database.connection():
        assert not skill_grants.has("greet", "writer")


# --- folders ---


def test_an_edit_by_hand_becomes_a_version() -> None:
    create()
    by_hand(document("Say goodbye."))
    skill = shown()
    assert (skill["version"], skill["content"], skill["description"]) == (2, "Say goodbye.", "By hand.")
    with database.connection():
        assert [kept.created_by for kept in skills.versions("greet")] == ["disk", "ann"]


def test_an_invalid_edit_is_shown_and_the_last_valid_version_stays_in_use() -> None:
    create()
    by_hand("no front matter")
    skill = shown()
    assert (skill["valid"], skill["version"], skill["content"]) == (False, 1, "Say hello.")
    assert "front matter" in skill["problems"][0]
    by_hand(document("Mended."))
    assert (shown()["valid"], shown()["content"]) == (True, "Mended.")


def test_a_folder_that_somebody_puts_there_is_a_skill() -> None:
    by_hand(document("Cook.", "cook"), "cook")
    by_hand("broken", "broken")
    assert (shown("cook")["source"], shown("cook")["version"]) == ("disk", 1)
    assert (shown("broken")["valid"], shown("broken")["version"]) == (False, 0)


@pytest.mark.parametrize("name", ["Not_A_Name", "agents", ".hidden", "two--hyphens"])
def test_a_folder_with_another_name_is_none(name) -> None:
    by_hand(document("x", name), name)
    with database.connection():
        assert skill_views.page(10, None) == []


def test_a_change_over_the_api_is_in_the_folder() -> None:
    create(files={"a/b.txt": b"1", "c.txt": b"2"})
    change("greet", commands.update, {"content": "Say goodbye.", "files": {"a/b.txt": b"3"}})
    assert "Say goodbye." in (folder() / "SKILL.md").read_text() and (folder() / "a/b.txt").read_bytes() == b"3"
    assert not (folder() / "c.txt").exists() and skill_folders.changed() == []


def test_a_change_of_nothing_makes_no_version_and_writes_nothing() -> None:
    create(files={"a.txt": b"1"})
    before = (folder() / "SKILL.md").stat().st_mtime_ns
    assert change("greet", commands.update, {"content": "Say hello.", "files": {"a.txt": b"1"}}) is False
    assert (shown()["version"], (folder() / "SKILL.md").stat().st_mtime_ns) == (1, before)


def test_disabling_is_in_the_folder_and_no_version() -> None:
    create()
    change("greet", commands.enable, False)
    assert "enabled: false" in (folder() / "SKILL.md").read_text()
    assert (shown()["enabled"], shown()["version"]) == (False, 1)


def test_an_edit_by_hand_just_before_one_over_the_api_is_kept_as_a_version() -> None:
    create()
    (folder() / "SKILL.md").write_text(document("By hand."))
    change("greet", commands.update, {"content": "By the API."})
    with database.connection():
        assert [kept.content for kept in skills.versions("greet")] == ["By the API.", "By hand.", "Say hello."]


def test_what_a_crash_left_unwritten_is_written_by_the_next_scan() -> None:
    create(files={"a.txt": b"old"})
    with database.transaction():
        commands.update(skills.find("greet"), {"content": "New.", "files": {"a.txt": b"new"}}, "ann")
    (folder() / "a.txt").write_bytes(b"new")  # half of it was there
    scan()
    assert (folder() / "SKILL.md").read_text().endswith("New.") and shown()["version"] == 2


def test_a_broken_edit_that_is_written_over_is_in_the_trash() -> None:
    create()
    by_hand("half an id")
    change("greet", commands.update, {"content": "New."})
    assert [path.read_text() for path in folder().parent.glob(".trash/*/SKILL.md")] == ["half an id"]
    assert shown()["valid"]


def test_files_of_other_tools_stay_in_the_folder() -> None:
    create()
    (folder() / ".git").mkdir()
    change("greet", commands.update, {"content": "New."})
    assert (folder() / ".git").is_dir()


def test_a_link_is_not_followed(tmp_path) -> None:
    create()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "SKILL.md").write_text(document("Stolen."))
    shutil.rmtree(folder())
    folder().symlink_to(outside)
    scan()
    assert "Stolen" not in str(shown()["content"]) and not shown()["valid"]
    change("greet", commands.update, {"content": "New."})
    assert "Stolen" in (outside / "SKILL.md").read_text() and not folder().is_symlink()


def test_the_sweeper_rings_for_a_change_and_else_does_not() -> None:
    create()
    skill_folders.watch()
    with database.connection():
        assert not outbox.stands(skill_folders.SCAN, "")
    (folder() / "SKILL.md").write_text(document("Changed."))
    for _ in range(2):
        skill_folders.watch()
    with database.connection():
        assert outbox.Outbox.select().where(outbox.Outbox.actor == "scan_disk").count() == 1
    scan()
    with database.connection():
        assert not outbox.stands(skill_folders.SCAN, "") and shown()["content"] == "Changed."


# --- in any order ---


class Twin:
    """One skill and what it should say: whoever spoke last is right."""

    def __init__(self, built_in: Path, name: str) -> None:
        self.built_in, self.name, self.text = built_in, name, None
        page = built_in / name
        page.mkdir(parents=True)
        (page / "SKILL.md").write_text(document("as built in", name))
        self.restart()
        self.text = "as built in"

    def restart(self, _: str = "") -> None:
        with database.connection():
            seed(config.get().skills_dir, self.built_in, skills.deleted())
        scan()

    def by_hand(self, text: str) -> None:
        by_hand(document(text, self.name), self.name)
        self.text = text

    def unseen_by_hand(self, text: str) -> None:
        """The next scan, or whatever else happens first, finds it."""
        folder(self.name).mkdir(parents=True, exist_ok=True)
        (folder(self.name) / "SKILL.md").write_text(document(text, self.name))
        self.text = text

    def over_the_api(self, text: str, crash: bool = False) -> None:
        held = contextlib.nullcontext() if crash else commands.changing(self.name)
        with held, database.transaction():
            try:
                commands.update(skills.find(self.name), {"content": text}, "ann")
            except NotFound:
                commands.create(self.name, {"description": "d", "content": text}, "ann")
        self.text = text

    def crash(self, text: str) -> None:
        """Committed, but the folder is not written before the next start."""
        scan()
        self.over_the_api(text, crash=True)
        self.restart()

    def delete(self, _: str) -> None:
        with contextlib.suppress(NotFound):
            change(self.name, commands.remove)
        self.text = None

    def crash_in_delete(self, _: str) -> None:
        scan()
        with contextlib.suppress(NotFound), database.transaction():
            commands.remove(skills.find(self.name), "ann")
        self.text = None
        self.restart()

    def delete_by_hand(self, _: str) -> None:
        shutil.rmtree(folder(self.name), ignore_errors=True)
        self.text = None

    def check(self) -> None:
        scan()
        with database.connection():
            listed = {skill["name"]: skill["content"] for skill in skill_views.page(200, None)}
        assert listed.get(self.name) == self.text
        assert pages.is_skill(folder(self.name)) == (self.text is not None)
        assert self.text is None or pages.read(folder(self.name)).skill.content == self.text


STEPS = (
    *("by_hand", "unseen_by_hand", "over_the_api", "crash"),
    *("delete", "crash_in_delete", "delete_by_hand", "restart", "check"),
)
names = (f"twin-{number}" for number in itertools.count())


@hypothesis.settings(
    max_examples=20, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(orders=strategies.lists(strategies.sampled_from(STEPS), max_size=8))
def test_no_order_of_edits_deletions_and_restarts_reverts_or_resurrects_a_skill(tmp_path, orders) -> None:
    name = next(names)
    twin = Twin(tmp_path / "built-in" / name, name)
    for number, step in enumerate(orders):
        getattr(twin, step)(*[f"text {number}"] if step != "check" else [])
    twin.check()
