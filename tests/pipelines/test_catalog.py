"""The catalogue: files on disk as pipelines."""

import hashlib
import os

from pipelines.catalog import LIBRARY, MAX_FILES, Catalog, Known, _File, _load

GOOD = "id: {id}\nname: {name}\nsteps:\n  - {{id: A, agent: dev, input: hi}}\n"
DEV = Known(agents=frozenset({"dev"}))


def catalog(*directories, known=DEV):
    return Catalog(directories, lambda: known)


def put(directory, name, id="one", title="One"):
    (directory / name).write_text(GOOD.format(id=id, name=title))


def test_files_are_listed_by_id(tmp_path):
    put(tmp_path, "b.yml", "alpha")
    put(tmp_path, "a.yaml", "beta")
    put(tmp_path, "c.txt", "gamma")
    assert [entry.id for entry in catalog(tmp_path).list()] == ["alpha", "beta"]


def test_an_entry_has_the_fields_of_the_api_in_its_order(tmp_path):
    put(tmp_path, "x.yml")
    shown = catalog(tmp_path).get("one").as_dict()
    assert list(shown) == [
        *("id", "name", "version", "description", "valid", "errors", "warnings", "problems", "defaults", "agents"),
        *("steps", "entry_steps", "required_variables", "hash", "source", "file", "updated_at"),
    ]
    assert shown["hash"] == "sha256:" + hashlib.sha256((tmp_path / "x.yml").read_bytes()).hexdigest()
    assert shown["updated_at"] == (tmp_path / "x.yml").stat().st_mtime_ns // 1_000_000
    assert (shown["valid"], shown["source"], shown["file"], shown["entry_steps"]) == (True, "user", "x.yml", ["A"])


def test_nothing_is_read_again_until_something_changes(tmp_path):
    put(tmp_path, "x.yml")
    put(tmp_path, "y.yml", "two")
    found = catalog(tmp_path)
    first, other = found.get("one"), found.get("two")
    assert found.get("one") is first
    put(tmp_path, "x.yml", title="Renamed")
    assert found.get("one").name == "Renamed"
    assert found.get("two") is other
    (tmp_path / "x.yml").unlink()
    assert found.get("one") is None


def test_a_newly_installed_agent_mends_a_pipeline(tmp_path):
    put(tmp_path, "x.yml")
    known = [Known(), DEV]
    found = Catalog((tmp_path,), lambda: known[0])
    assert not found.get("one").valid
    known.pop(0)
    assert found.get("one").valid


def test_a_broken_file_is_listed_and_disturbs_no_other(tmp_path):
    put(tmp_path, "good.yml")
    (tmp_path / "My Bad.yml").write_text("id: [")
    (tmp_path / "half.yml").write_text("id: half\nname: Half\nsteps:\n  - {id: A}\n")
    bad, half, good = (catalog(tmp_path).get(id) for id in ("my-bad", "half", "one"))
    assert (bad.valid, bad.steps, bad.name, len(bad.errors)) == (False, [], "my-bad", 1)
    assert (half.valid, half.steps, half.name, half.entry_steps) == (False, [], "Half", [])
    assert good.valid


def test_a_user_s_file_replaces_the_built_in_one(tmp_path):
    put(tmp_path, "mine.yml", "bugfix")
    found = catalog(tmp_path, LIBRARY)
    assert (found.get("bugfix").source, found.get("feature").source) == ("user", "builtin")
    assert found.get("bugfix").warnings == []


def test_of_two_files_with_one_id_the_first_wins_with_a_warning(tmp_path):
    put(tmp_path, "b.yml", title="second")
    put(tmp_path, "a.yml", title="first")
    entry = catalog(tmp_path).get("one")
    assert (entry.name, [problem.code for problem in entry.problems]) == ("first", ["duplicate_file"])
    assert entry.valid


def test_links_hidden_files_and_folders_are_ignored(tmp_path):
    folder = tmp_path / "pipelines"
    (folder / "sub.yml").mkdir(parents=True)
    put(tmp_path, "outside.yml")
    (folder / "link.yml").symlink_to(tmp_path / "outside.yml")
    put(folder, ".hidden.yml")
    os.mkfifo(folder / "pipe.yml")
    assert catalog(folder, tmp_path / "absent").list() == []


def test_a_file_over_the_limit_is_broken_not_read(tmp_path):
    (tmp_path / "big.yml").write_text("#" * 300_000)
    assert [problem.code for problem in catalog(tmp_path).get("big").problems] == ["too_large"]


def test_at_most_500_files_are_read(tmp_path):
    for number in range(MAX_FILES + 1):
        (tmp_path / f"p{number:03}.yml").write_text("")
    assert len(catalog(tmp_path).list()) == MAX_FILES


def test_child_pipelines_are_looked_up_in_the_catalogue(tmp_path):
    (tmp_path / "parent.yml").write_text("id: parent\nsteps:\n  - {id: A, pipeline: one}\n")
    found = catalog(tmp_path)
    assert [problem.code for problem in found.get("parent").problems] == ["unknown_pipeline"]
    put(tmp_path, "child.yml")
    assert found.get("parent").valid
    (tmp_path / "child.yml").write_text("id: one\nsteps:\n  - {id: A, pipeline: parent}\n")
    assert [problem.code for problem in found.get("parent").problems] == ["pipeline_cycle"]


def test_a_file_that_goes_while_it_is_looked_at_is_no_entry(tmp_path):
    assert _load(_File(str(tmp_path / "gone.yml"), 0, 0, "user"), DEV) is None
