"""Agents on disk."""

import os

import pytest

from pipelines.personas import Installed, installed, is_agent, load


@pytest.fixture
def agents(tmp_path):
    folder = tmp_path / "agents"
    text = "- **Name:** Ada\nEMOJI: 🦊\n* role: Maker\nDescription: Makes *things*\n"
    put(folder, "ada", "IDENTITY.md", text)
    return folder


def put(agents, id, name, text):
    (agents / id).mkdir(parents=True, exist_ok=True)
    (agents / id / name).write_text(text)


def test_identity_lines_may_be_list_items_and_bold(agents):
    ada = load(agents, "ada")
    assert (ada.name, ada.emoji, ada.role, ada.description) == ("Ada", "🦊", "Maker", "Makes *things")


def test_a_heading_or_the_id_stands_in_for_the_name(agents):
    put(agents, "bob", "IDENTITY.md", "# Bob the builder\nRole: Builder")
    put(agents, "eve", "config.yml", "")
    assert [load(agents, id).name for id in ("bob", "eve")] == ["Bob the builder", "eve"]


def test_the_persona_is_its_files_in_order_without_blank_ones(agents):
    put(agents, "ada", "DECISION.md", "last")
    put(agents, "ada", "SOUL.md", "\n so\0ul \n")
    put(agents, "ada", "AGENTS.md", " \n")
    put(agents, "ada", "OTHER.md", "ignored")
    ada = load(agents, "ada")
    assert list(ada.files) == ["IDENTITY.md", "SOUL.md", "DECISION.md"]
    assert ada.persona.endswith("\n\nsoul\n\nlast")


def test_config_is_typed_and_read_in_both_spellings(agents):
    put(
        agents,
        "ada",
        "config.yml",
        "model: a/b\nmaxTurns: 5\nmax_tokens: 10\nmaxTokens: 99\ntools: [read]\nmine: 1\nthinking_model: ''",
    )
    ada = load(agents, "ada")
    assert ada.config == {"model": "a/b", "max_turns": 5, "max_tokens": 10, "tools": ["read"]}
    assert ada.problems == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "config.yml: did not find"),
        ("- a", "config.yml: line 1: expected a map"),
        ("temperature: 3", "config.yml: temperature (line 1): expected 0 to 2"),
        ("max_turns: 0", "config.yml: max_turns (line 1): expected 1"),
        ("timeout: '5'", "config.yml: timeout (line 1): expected a whole number, got text"),
        ("model: nonsense", "config.yml: model (line 1): expected provider/name"),
        ("fallback_models: [a/b, a/b, a/b, a/b, a/b, a/b]", "config.yml: fallback_models (line 1): more than 5"),
        ("thinking_level: most", "config.yml: thinking_level (line 1): expected one of off"),
        ("tools: [a]\ntools: [b]", "config.yml: tools (line 2): the key"),
        ("model: !x y", "config.yml: the tag"),
        (f"model: a/{'x' * 200}", "config.yml: model (line 1): expected provider/name"),
    ],
)
def test_a_broken_config_is_a_problem_and_no_exception(agents, text, problem):
    put(agents, "ada", "config.yml", text)
    ada = load(agents, "ada")
    assert ada.problems[0].startswith(problem)
    assert (ada.name, ada.valid) == ("Ada", False)


def test_files_that_cannot_be_read_are_problems(agents):
    put(agents, "ada", "SOUL.md", "x" * 300_000)
    (agents / "ada" / "AGENTS.md").write_bytes(b"\xff")
    (agents / "ada" / "DECISION.md").symlink_to("/etc/hostname")
    problems = load(agents, "ada").problems
    assert [problem.split(" ")[0] for problem in problems] == ["SOUL.md", "AGENTS.md", "DECISION.md"]


def test_only_slugs_with_an_identity_or_a_config_are_agents(agents):
    for id in ("_base", ".hidden", "Upper", "shared", "status", "sessions"):
        put(agents, id, "config.yml", "")
    put(agents, "empty", "SOUL.md", "x")
    (agents / "empty" / "IDENTITY.md").symlink_to(agents / "ada" / "IDENTITY.md")
    put(agents.parent, "outside", "config.yml", "")
    (agents / "link").symlink_to(agents.parent / "outside")
    assert installed(agents) == {"ada"}
    assert load(agents, "../outside") is load(agents, "link") is load(agents, "nobody") is None
    assert not is_agent(agents / "shared")


def test_a_new_folder_is_seen_at_once_and_a_new_file_within_a_second(agents):
    now = [0.0]
    ids = Installed(agents, lambda: now[0])
    assert ids() == {"ada"}
    put(agents, "bob", "notes.txt", "")
    os.utime(agents, (1, 1))
    assert ids() == {"ada"}
    (agents / "bob" / "config.yml").write_text("")
    now[0] = 1.1
    assert ids() == {"ada", "bob"}
    put(agents, "eve", "config.yml", "")
    assert "eve" in ids()


def test_the_version_changes_with_any_file(agents):
    versions = {load(agents, "ada").version}
    put(agents, "ada", "SOUL.md", "x")
    versions.add(load(agents, "ada").version)
    put(agents, "ada", "config.yml", "timeout: 5")
    versions.add(load(agents, "ada").version)
    assert {len(version) for version in versions} == {16}
    assert len(versions) == 3


def test_no_folder_means_no_agents(tmp_path):
    assert installed(tmp_path / "absent") == frozenset()
