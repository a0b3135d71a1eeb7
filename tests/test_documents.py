"""The documents say what the code does: settings, routes, commands, events."""

from __future__ import annotations

import json
import re
from pathlib import Path

from api.app import create_app
from api.cli import app as commands
from models import config
from models.setting_keys import DECLARED
from pipelines.catalog import LIBRARY

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
EVENTS = (ROOT / "docs" / "events.md").read_text()
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()


def test_every_setting_is_documented_with_its_default() -> None:
    rows = rows_of(SETTINGS.partition("\n## ")[0])
    names = {item.metadata["name"] for item in config.fields(config.Config)}
    assert set(rows) == names


def test_every_setting_of_the_api_is_documented_with_its_default() -> None:
    rows = rows_of(SETTINGS.partition("\n## ")[2])
    assert rows == {key.name: f"`{json.dumps(key.default)}`" for key in DECLARED}


def rows_of(text: str) -> dict[str, str]:
    """{name: default} of a table."""
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", text, re.MULTILINE))


def test_every_group_of_routes_is_in_the_readme() -> None:
    rules = {rule.rule for rule in create_app(start=False).url_map.iter_rules() if rule.rule.startswith("/v1/")}
    groups = {f"/v1/{rule.split('/')[2]}" for rule in rules}
    assert not [group for group in groups if group not in README]


def test_every_command_is_in_the_readme() -> None:
    names = [group.name for group in commands.registered_groups]
    names += [command.name or command.callback.__name__ for command in commands.registered_commands]
    assert not [name for name in names if f"djinnbot {name}" not in README]


def test_every_event_that_is_recorded_is_documented() -> None:
    text = "".join(path.read_text() for path in (*ROOT.glob("workers/**/*.py"), *ROOT.glob("pipelines/*.py")))
    recorded = set(re.findall(r"""(?:record\(|event\(\s*(?:self\._run|run|walk\.run),\s*)\s*"(\w+)\"""", text))
    assert len(recorded) > 15
    assert not [name for name in recorded if f"`{name}`" not in EVENTS]


def test_every_storm_has_its_line_among_the_figures() -> None:
    text = "".join(path.read_text() for path in ROOT.glob("tests/storm/test_*.py"))
    storms = set(re.findall(r"def test_([fg][0-9]+)_", text))
    assert len(storms) > 12 and not [storm for storm in storms if f"| {storm.upper()} " not in RELIABILITY]


def test_every_module_that_a_document_names_is_there() -> None:
    text = README + RELIABILITY + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:api|models|pipelines|workers|tests|bench)/[\w/]+\.py)`", text))
    assert len(named) > 20 and not [name for name in named if not (ROOT / name).exists()]


def test_every_built_in_pipeline_is_in_the_readme() -> None:
    assert not [path.stem for path in LIBRARY.glob("*.yml") if f"`{path.stem}`" not in README]


def test_every_verb_of_make_is_listed() -> None:
    verbs = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert not [verb for verb in verbs if f"make {verb}" not in README + (ROOT / "CONTRIBUTING.md").read_text()]
