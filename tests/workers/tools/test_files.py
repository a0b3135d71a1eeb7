"""The file tools, and the ways out of the workspace that must be closed (security, rule 10)."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.tools import beneath
from workers.tools.base import ToolError

OUTSIDE = [
    "../secret",
    "a/../../secret",
    "/etc/passwd",
    "/workspace/../secret",
    "//etc/passwd",
    "/workspaces/x",
    "/proc/self/root/etc/passwd",
    "/proc/self/cwd",
    "..",
    "a\0b",
]


class TestRead:
    def test_lines_are_numbered(self, use, workspace):
        (workspace / "a").write_text("one\ntwo\n")
        assert use("read", path="a").text == "     1\tone\n     2\ttwo"

    def test_a_part_says_what_is_left(self, use, workspace):
        (workspace / "a").write_text("\n".join(map(str, range(1, 11))))
        text = use("read", path="/workspace/a", offset=3, limit=2).text
        assert text.startswith("     3\t3\n     4\t4\n")
        assert "lines 3 to 4 of 10" in text

    def test_beyond_the_end_is_an_error(self, use, workspace):
        (workspace / "a").write_text("one\n")
        assert "has only 1 lines" in use("read", path="a", offset=9).text

    def test_an_empty_file_is_said_to_be_empty(self, use, workspace):
        (workspace / "a").touch()
        assert use("read", path="a").text == "(the file is empty)"

    @pytest.mark.parametrize("content", [b"\x7fELF\0\0", b"\xff\xfe\x00a", b"ok\xff"])
    def test_binary_is_refused_politely(self, use, workspace, content):
        (workspace / "a").write_bytes(content)
        assert f"binary file of {len(content)} bytes" in use("read", path="a").text

    def test_a_long_line_is_cut(self, use, workspace):
        (workspace / "a").write_text("x" * 5000)
        assert "[... 5000 characters]" in use("read", path="a").text

    def test_a_huge_file_is_not_loaded(self, use, workspace):
        with (workspace / "a").open("wb") as file:
            file.truncate(30_000_000)
        assert "30000000 bytes, more than" in use("read", path="a").text

    def test_a_missing_file_is_said_to_be_missing(self, use):
        assert use("read", path="none/there").text == "Error: none does not exist"


class TestWrite:
    def test_folders_are_made(self, use, workspace):
        assert not use("write", path="x/y/z", content="né").is_error
        assert (workspace / "x/y/z").read_text() == "né"

    def test_the_mode_is_kept(self, use, workspace):
        (workspace / "run.sh").touch(mode=0o755)
        use("write", path="run.sh", content="#!/bin/sh")
        assert (workspace / "run.sh").stat().st_mode & 0o777 == 0o755

    def test_no_draft_is_left_behind(self, use, workspace):
        use("write", path="a", content="x")
        assert [path.name for path in workspace.iterdir()] == ["a"]

    def test_a_folder_is_not_replaced(self, use, workspace):
        (workspace / "d").mkdir()
        assert "is a folder" in use("write", path="d", content="x").text


class TestEdit:
    def test_the_one_place_is_replaced(self, use, workspace):
        (workspace / "a").write_bytes(b"one\r\ntwo\r\n")
        assert not use("edit", path="a", old_text="two", new_text="2").is_error
        assert (workspace / "a").read_bytes() == b"one\r\n2\r\n"

    @pytest.mark.parametrize(
        ("old", "new", "reason"), [("x", "y", "occurs 2 times"), ("z", "y", "does not occur"), ("x", "x", "the same")]
    )
    def test_any_doubt_is_an_error_and_changes_nothing(self, use, workspace, old, new, reason):
        (workspace / "a").write_text("x x")
        assert reason in use("edit", path="a", old_text=old, new_text=new).text
        assert (workspace / "a").read_text() == "x x"

    def test_all_places_are_replaced_on_demand(self, use, workspace):
        (workspace / "a").write_text("x x")
        assert "2 occurrences" in use("edit", path="a", old_text="x", new_text="y", replace_all=True).text
        assert (workspace / "a").read_text() == "y y"


class TestLooking:
    @pytest.fixture(autouse=True)
    def _files(self, workspace):
        for path in ("src/a.py", "src/deep/b.py", "src/c.txt", "d.py", ".git/e.py"):
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / path).write_text(f"first\nThe name is {path}\n")
        (workspace / "link.py").symlink_to("/etc/passwd")
        (workspace / "out").symlink_to("/etc")

    def test_a_folder_is_listed(self, use):
        assert use("ls").text.split("\n") == [".git/", "d.py  23 bytes", "link.py@", "out@", "src/"]

    @pytest.mark.parametrize(
        ("glob", "expected"),
        [
            ("*.py", "d.py link.py src/a.py src/deep/b.py"),
            ("src/*.py", "src/a.py"),
            ("**/b.py", "src/deep/b.py"),
            ("src/**", "src/a.py src/c.txt src/deep/b.py"),
            ("**/deep/**/*.py", "src/deep/b.py"),
            ("nothing", "No file matches."),
        ],
    )
    def test_files_are_found_by_glob(self, use, glob, expected):
        assert use("find", glob=glob).text.replace("\n", " ") == expected

    def test_a_glob_counts_from_its_folder(self, use):
        assert use("find", glob="deep/*.py", path="src").text == "src/deep/b.py"

    def test_lines_are_found_by_pattern(self, use):
        assert use("grep", pattern=r"name is .*\.txt$").text == "src/c.txt:2:The name is src/c.txt"

    def test_a_search_may_be_narrowed(self, use):
        found = use("grep", pattern="the NAME", ignore_case=True, glob="*.py", path="src").text
        assert found.count("\n") == 1
        assert use("grep", pattern="the NAME").text == "No line matches."

    def test_binary_files_and_links_are_passed_over(self, use, workspace):
        (workspace / "bin").write_bytes(b"root\0root")
        assert use("grep", pattern="root").text == "No line matches."

    def test_a_bad_pattern_is_explained(self, use):
        assert "not a regular expression" in use("grep", pattern="(").text

    def test_a_pattern_that_never_ends_is_stopped(self, use, workspace, monkeypatch):
        monkeypatch.setattr("workers.tools.files.SEARCH_SECONDS", 0.5)
        (workspace / "evil").write_text("a" * 60 + "!")
        started = time.monotonic()
        outcome = use("grep", pattern=r"^(a+)+$|first")
        assert outcome.is_error
        assert "d.py:1:first" in outcome.text
        assert time.monotonic() - started < 3

    def test_many_results_are_cut(self, use, workspace):
        (workspace / "many").write_text("hit\n" * 2000)
        text = use("grep", pattern="hit", glob="many").text
        assert text.count("\n") == 500
        assert "only the first 500" in text

    @pytest.mark.parametrize(("tool", "more"), [("ls", {}), ("find", {"glob": "*"}), ("grep", {"pattern": "root"})])
    @pytest.mark.parametrize("path", ["out", "out/..", "/etc", "../", "missing"])
    def test_no_search_leaves_the_workspace(self, use, tool, more, path):
        outcome = use(tool, path=path, **more)
        assert outcome.is_error
        assert "root" not in outcome.text.replace("root/", "")


class TestWaysOut:
    @pytest.mark.parametrize("path", OUTSIDE)
    @pytest.mark.parametrize(
        ("tool", "more"),
        [("read", {}), ("write", {"content": "x"}), ("edit", {"old_text": "planted", "new_text": "x"})],
    )
    def test_a_path_out_is_refused(self, use, workspace, tool, more, path):
        outcome = use(tool, path=path, **more)
        assert outcome.is_error
        assert "planted" not in outcome.text
        assert (workspace.parent / "secret").read_text() == "planted"

    @pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "inside", "missing"])
    def test_a_link_is_not_followed(self, use, workspace, target):
        (workspace / "inside").write_text("planted")
        (workspace / "link").symlink_to(target)
        assert "symbolic link" in use("read", path="link").text
        assert "symbolic link" in use("write", path="link", content="x").text
        assert (workspace / "link").is_symlink()

    def test_a_linked_folder_is_not_followed(self, use, workspace):
        (workspace / "out").symlink_to(workspace.parent)
        for call in (use("read", path="out/secret"), use("write", path="out/new", content="x")):
            assert call.is_error
            assert "symbolic link" in call.text
        assert not (workspace.parent / "new").exists()

    def test_what_is_no_file_does_not_hold_the_worker(self, use, workspace):
        os.mkfifo(workspace / "pipe")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(workspace / "sock"))
            for path in ("pipe", "sock", "."):
                assert use("read", path=path).is_error
                assert use("write", path=path, content="x").is_error

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(path=st.lists(st.sampled_from(["..", ".", "", "a", "workspace", "secret", "/", "\0", "etc"])).map("/".join))
    def test_no_path_leads_out(self, workspace, path):
        try:
            components = beneath.parts(path)
        except ToolError:
            return
        assert (workspace.joinpath(*components)).is_relative_to(workspace)
        assert ".." not in components


def test_a_folder_swapped_for_a_link_meanwhile_leads_nowhere(workspace):
    """The race that a check of the whole path beforehand would lose."""
    (workspace / "d").mkdir()
    with beneath.folder(workspace, ["d"]) as folder:
        (workspace / "d").rmdir()
        (workspace / "d").symlink_to(workspace.parent)
        assert not any(os.scandir(folder))


def test_descriptors_are_given_back(use, workspace):
    (workspace / "a").write_text("x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        for call in ({"path": "a"}, {"path": "none/x"}, {"path": "../x"}, {"path": "a/b"}):
            use("read", **call)
            use("write", **{**call, "content": "x"})
        use("ls")
        use("grep", pattern="x")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
