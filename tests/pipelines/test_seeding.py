"""Built-in agents in the user's folder."""

import shutil

import pytest

from pipelines.seeding import RECORD, seed


@pytest.fixture
def folders(tmp_path):
    built_in = tmp_path / "built-in"
    for id in ("ada", "bob"):
        (built_in / id).mkdir(parents=True)
        (built_in / id / "SOUL.md").write_text(f"{id} 1")
    return tmp_path / "agents", built_in


def test_agents_are_copied_when_absent(folders):
    seed(*folders)
    assert (folders[0] / "ada" / "SOUL.md").read_text() == "ada 1"
    assert {path.name for path in folders[0].iterdir()} == {"ada", "bob", RECORD}


def test_an_upgrade_replaces_what_nobody_edited_and_adds_what_is_new(folders):
    agents, built_in = folders
    seed(*folders)
    (agents / "bob" / "SOUL.md").write_text("my bob")
    for id in ("ada", "bob"):
        (built_in / id / "SOUL.md").write_text(f"{id} 2")
        (built_in / id / "NEW.md").write_text("new")
    seed(*folders)
    assert [(agents / id / "SOUL.md").read_text() for id in ("ada", "bob")] == ["ada 2", "my bob"]
    assert (agents / "bob" / "NEW.md").read_text() == "new"


def test_what_was_deleted_stays_deleted(folders):
    agents, built_in = folders
    (built_in / "bob" / "DECISION.md").write_text("d")
    seed(*folders)
    shutil.rmtree(agents / "ada")
    (agents / "bob" / "DECISION.md").unlink()
    (built_in / "ada" / "NEW.md").write_text("new")
    seed(*folders)
    assert not (agents / "ada").exists()
    assert not (agents / "bob" / "DECISION.md").exists()


def test_a_user_s_own_agent_of_the_same_name_is_left_alone(folders):
    agents, _ = folders
    (agents / "ada").mkdir(parents=True)
    (agents / "ada" / "SOUL.md").write_text("mine")
    seed(*folders)
    seed(*folders)
    assert (agents / "ada" / "SOUL.md").read_text() == "mine"


def test_an_edited_file_that_equals_an_older_release_is_upgraded_again(folders):
    agents, built_in = folders
    seed(*folders)
    (built_in / "ada" / "SOUL.md").write_text("ada 2")
    seed(*folders)
    (built_in / "ada" / "SOUL.md").write_text("ada 3")
    seed(*folders)
    assert (agents / "ada" / "SOUL.md").read_text() == "ada 3"


def test_a_new_built_in_file_does_not_replace_one_of_the_user_s(folders):
    agents, built_in = folders
    seed(*folders)
    (agents / "ada" / "NOTES.md").write_text("mine")
    (built_in / "ada" / "NOTES.md").write_text("theirs")
    seed(*folders)
    assert (agents / "ada" / "NOTES.md").read_text() == "mine"


def test_what_the_database_knows_as_deleted_is_not_copied_even_without_a_record(folders):
    seed(*folders, deleted={"ada"})
    assert {path.name for path in folders[0].iterdir()} == {"bob", RECORD}
