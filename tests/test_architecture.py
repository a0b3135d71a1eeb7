"""The rules of the tree: who imports whom, how long things may be, and where the environment is read."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "models", "pipelines", "workers")
MAX_FILE, MAX_FUNCTION = 300, 40  # lines
LONG_FILES: dict[str, str] = {
    "workers/runs.py": "the commands on a run stand together",
    "pipelines/plan.py": "routes, loops and endings call each other",
}
FORBIDDEN = {
    "models": ("api", "pipelines", "workers", "flask", "dramatiq", "httpx", "yaml", "marshmallow"),
    "pipelines": ("api", "workers", "dramatiq", "redis", "httpx", "flask", "time", "socket", "requests"),
    "workers": ("api", "flask", "marshmallow", "webargs"),
    "api": ("workers.agent", "workers.tools", "workers.clients"),
}
ALLOWED = {
    ("pipelines/personas.py", "time"),  # how old a listing of the folder may be
}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module(path: Path) -> str:
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: Path, everywhere: bool = True) -> set[str]:
    """Dotted names of what a module imports; `everywhere` includes imports inside functions."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if everywhere else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nobody_imports_what_the_architecture_forbids() -> None:
    broken = [
        f"{name(path)} imports {imported}"
        for path in sources()
        for imported in imports(path)
        for banned in FORBIDDEN[name(path).split("/")[0]]
        if (imported == banned or imported.startswith(f"{banned}.")) and (name(path), banned) not in ALLOWED
    ]
    assert not broken


def test_no_module_imports_itself_in_a_circle() -> None:
    modules = {module(path): path for path in sources()}
    graph = {own: imports(path, everywhere=False) & set(modules) - {own} for own, path in modules.items()}
    TopologicalSorter(graph).prepare()


def test_every_package_starts_empty() -> None:
    assert not [name(path) for path in sources() if path.name == "__init__.py" and path.read_text()]


def test_the_environment_is_read_in_one_place() -> None:
    readers = [name(path) for path in sources() if re.search(r"os\.environ|getenv", path.read_text())]
    assert readers == ["models/config.py"]


def test_files_stay_short() -> None:
    long = [name(path) for path in sources() if path.read_text().count("\n") > MAX_FILE]
    assert set(long) == set(LONG_FILES)


def test_functions_stay_short() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MAX_FUNCTION
    ]
    assert not long


def test_every_module_says_what_it_is() -> None:
    texts = {name(path): path.read_text() for path in sources()}
    assert not [where for where, text in texts.items() if text and not ast.get_docstring(ast.parse(text))]


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "handler", "service"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert not [name(path) for path in sources() if word in path.stem]


def test_the_procfile_has_the_lines_that_up_supervises() -> None:
    from api.supervisor import PROCESSES

    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert lines == PROCESSES


def test_migrations_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "models/migrations").glob("0*.py"))]
    assert numbers[0] == 1 and all(after == before + 1 for before, after in pairwise(numbers))
