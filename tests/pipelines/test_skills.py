"""SKILL.md and the folders of skills."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import skills as pages
from pipelines.skills import Skill, parse, write

TEXT = "---\nname: greet\ndescription: How to greet.\n---\n\nSay hello.\n"
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\x85\u2028\u2029\ufeff")
LINES = st.text(CHARACTERS, max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | LINES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LINES, inner, max_size=3),
    max_leaves=8,
)


def folder(tmp_path, **files: str):
    root = tmp_path / "greet"
    for path, text in {"SKILL.md": TEXT, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def test_a_document_is_read():
    found = parse(TEXT, "greet")
    assert (found.problems, found.skill.name, found.skill.content) == ((), "greet", "Say hello.\n")
    assert (found.skill.description, found.skill.tags, found.skill.enabled) == ("How to greet.", [], True)


@given(more=st.dictionaries(LINES, VALUES, max_size=3), content=LINES, enabled=st.booleans())
def test_what_is_written_is_read_as_the_same(more, content, enabled):
    more.pop("enabled", None)
    skill = Skill({"name": "greet", "description": "1e3 or 0o17", **more}, content, enabled)
    assert parse(write(skill)).skill == skill


@given(st.text(max_size=200) | LINES.map(lambda head: f"---\n{head}\n---\nx"))
def test_no_text_breaks_the_reader(text):
    parse(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Say hello.", "no front matter"),
        ("---\nname: greet\n", "no front matter"),
        ("---\nname: [\n---\nx", "front matter, line"),
        ("---\n- a\n---\nx", "not a list of keys"),
        ("---\nname: a\nname: b\n---\nx", "given twice"),
        (TEXT.replace("greet\n", "Greet\n"), "name:"),
        (TEXT.replace("greet\n", "other\n"), "is called greet"),
        (TEXT.replace("How to greet.", "''"), "description:"),
        (TEXT.replace("How to greet.", "x" * 1025), "description:"),
        (TEXT.replace("Say hello.", " "), "no instructions"),
        (TEXT.replace("Say hello.", "x" * 262_145), "256 KiB"),
        (TEXT.replace("name:", "tags: a\nname:"), "tags:"),
        (TEXT.replace("name:", f"tags: [{'a,' * 21}]\nname:"), "tags:"),
        (TEXT.replace("name:", "tags: [1]\nname:"), "tags:"),
        (TEXT.replace("name:", "enabled: 'no'\nname:"), "enabled:"),
    ],
)
def test_what_is_wrong_is_said(text, problem):
    assert any(problem in found for found in parse(text, "greet").problems)


def test_line_ends_of_another_system_do_not_matter():
    assert parse(TEXT.replace("\n", "\r\n")).skill == parse(TEXT).skill


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "a--b", "A", "a_b", "é", "a" * 65, "agents", "parse", "import", "a\n"]
)
def test_names_that_are_none(name):
    assert not pages.may_be_name(name)
    assert pages.may_be_name(pages.suggested(name))


def test_how_a_file_is_laid_out_makes_no_version():
    loose = TEXT.replace("description: How to greet.", "# who?\ndescription:   'How to greet.'\nenabled: false")
    assert parse(loose).skill.sha256 == parse(TEXT).skill.sha256
    assert parse(TEXT.replace("hello", "bye")).skill.sha256 != parse(TEXT).skill.sha256


def test_companions_are_part_of_the_version():
    skill = parse(TEXT).skill
    versions = {Skill(skill.frontmatter, skill.content, files=files).sha256 for files in ({}, {"a": b""}, {"a": b"1"})}
    assert len(versions) == 3


# --- folders ---


def test_a_folder_is_read_with_its_companions(tmp_path):
    found = pages.read(folder(tmp_path, **{"a/b.txt": "1", ".hidden": "2", "c.txt~": "3"}))
    assert (found.problems, found.skill.files) == ((), {"a/b.txt": b"1"})


@pytest.mark.parametrize("path", ["-a", "a\nb", "__init__.py", "a/b/c/d/e/f/g/h/i/j", "é.txt"])
def test_a_companion_with_an_odd_name_is_a_problem(tmp_path, path):
    assert pages.read(folder(tmp_path, **{path: "1"})).problems


def test_too_many_or_too_large_companions_are_a_problem(tmp_path):
    assert pages.read(folder(tmp_path, **{f"{n}.txt": "" for n in range(101)})).problems
    assert pages.read(folder(tmp_path / "b", big="x" * (1 << 20 | 1))).problems
    assert pages.read(folder(tmp_path / "c", **{f"{n}.txt": "x" * (1 << 20) for n in range(6)})).problems
    assert not pages.read(folder(tmp_path / "d", **{f"{n}.txt": "x" * (1 << 20) for n in range(5)})).problems


def test_a_mark_changes_with_every_change(tmp_path):
    root, seen = folder(tmp_path, a="1"), []
    for change in (lambda: None, lambda: (root / "a").write_text("2"), lambda: (root / "a").unlink()):
        change()
        seen.append(pages.mark(root))
        assert pages.mark(root) == seen[-1]
    os.utime(root / "SKILL.md", ns=(1, 1))
    assert len({*seen, pages.mark(root), pages.mark(root / "none")}) == 5


def test_every_built_in_skill_is_sound():
    found = {name: pages.read(pages.BUILT_IN / name) for name in pages.built_in()}
    assert len(found) >= 4
    assert not [problem for skill in found.values() for problem in skill.problems]
