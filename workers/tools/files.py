"""The tools `read`, `write`, `edit`, `ls`, `find` and `grep`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from workers.clients import processes
from workers.tools import beneath
from workers.tools.base import MAX_OUTPUT, Context, Tool, ToolError, parameters

MAX_FILE_BYTES = 20_000_000
MAX_LINES = 2000
MAX_LINE_CHARS = 2000
MAX_ENTRIES = 1000
SEARCH_SECONDS = 20.0
SEARCH_SCRIPT = Path(__file__).with_name("search.py")

PATH = {"type": "string", "minLength": 1, "maxLength": 4096, "description": "path within the workspace"}


def read(context: Context, arguments: dict[str, Any]) -> str:
    lines = _text(context, arguments["path"]).splitlines()
    start = arguments.get("offset", 1)
    shown = lines[start - 1 : start - 1 + arguments.get("limit", MAX_LINES)]
    body = "\n".join(f"{start + index:6}\t{_shortened(line)}" for index, line in enumerate(shown))
    end = start + len(shown) - 1
    if lines and not shown:
        raise ToolError(f"{arguments['path']} has only {len(lines)} lines")
    if end >= len(lines) and start == 1:
        return body or "(the file is empty)"
    return f"{body}\n(lines {start} to {end} of {len(lines)}; go on with a larger offset)"


def _text(context: Context, path: str) -> str:
    content = beneath.read(context.workspace, path, MAX_FILE_BYTES)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ToolError(f"{path} is a binary file of {len(content)} bytes, not text")
    return text


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_LINE_CHARS else f"{line[:MAX_LINE_CHARS]} [... {len(line)} characters]"


def write(context: Context, arguments: dict[str, Any]) -> str:
    content = arguments["content"].encode()
    beneath.write(context.workspace, arguments["path"], content)
    return f"Wrote {len(content)} bytes to {arguments['path']}."


def edit(context: Context, arguments: dict[str, Any]) -> str:
    path, old, new = arguments["path"], arguments["old_text"], arguments["new_text"]
    text = _text(context, path)
    count = text.count(old)
    if old == new:
        raise ToolError("old_text and new_text are the same")
    if count == 0:
        raise ToolError(f"old_text does not occur in {path}; it must match exactly, blanks included")
    if count > 1 and not arguments.get("replace_all"):
        raise ToolError(f"old_text occurs {count} times in {path}; give more of its surroundings, or replace_all")
    beneath.write(context.workspace, path, text.replace(old, new).encode())
    return f"Replaced {count} occurrence{'s' if count > 1 else ''} in {path}."


def ls(context: Context, arguments: dict[str, Any]) -> str:
    path = arguments.get("path", ".")
    with beneath.folder(context.workspace, beneath.parts(path)) as folder, os.scandir(folder) as entries:
        found = list(islice(entries, MAX_ENTRIES + 1))
        lines = sorted(map(_described, found[:MAX_ENTRIES]))
    if len(found) > MAX_ENTRIES:
        lines.append(f"(only {MAX_ENTRIES} entries are shown)")
    return "\n".join(lines) or "(the folder is empty)"


def _described(entry: os.DirEntry) -> str:
    if entry.is_symlink():
        return f"{entry.name}@"
    if entry.is_dir(follow_symlinks=False):
        return f"{entry.name}/"
    return f"{entry.name}  {entry.stat(follow_symlinks=False).st_size} bytes"


def find(context: Context, arguments: dict[str, Any]) -> str:
    return _search(context, {"path": ".", **arguments}) or "No file matches."


def grep(context: Context, arguments: dict[str, Any]) -> str:
    return _search(context, {"path": ".", "glob": "*", **arguments}) or "No line matches."


def _search(context: Context, query: dict[str, Any]) -> str:
    """Done by a process of its own: it may take long, and a bad pattern would never end."""
    query |= {"path": "/".join(beneath.parts(query["path"])), "seconds": int(SEARCH_SECONDS) + 1}
    result = processes.run(
        [sys.executable, "-I", "-S", "-X", "utf8", str(SEARCH_SCRIPT)],
        cwd=context.workspace,
        env={},
        timeout=min(SEARCH_SECONDS, context.timeout),
        output_limit=MAX_OUTPUT,
        stdin=json.dumps(query).encode(),
    )
    if result.timed_out:
        raise ToolError(f"the search took too long and was stopped; it had found:\n{result.output}")
    if result.exit_code != 0:
        raise ToolError(result.output.strip() or "the search failed")
    return result.output.rstrip("\n")


def tools() -> Iterator[Tool]:
    yield from _tools_for_one_file()
    yield from _tools_for_looking_around()


def _tools_for_one_file() -> Iterator[Tool]:
    text = {"type": "string"}
    count = {"type": "integer", "minimum": 1}
    yield Tool(
        "read",
        f"Read a text file, with line numbers. At most {MAX_LINES} lines at once; `offset` is the first line.",
        parameters(("path",), path=PATH, offset=count, limit={**count, "maximum": MAX_LINES}),
        read,
    )
    yield Tool(
        "write",
        "Write a file, replacing it if it exists. Missing folders are made.",
        parameters(("path", "content"), path=PATH, content=text),
        write,
        effect="idempotent",
    )
    yield Tool(
        "edit",
        "Replace a text in a file. `old_text` must match exactly and occur once, unless `replace_all` is set.",
        parameters(
            ("path", "old_text", "new_text"),
            path=PATH,
            old_text={**text, "minLength": 1},
            new_text=text,
            replace_all={"type": "boolean"},
        ),
        edit,
        effect="idempotent",  # once done, `old_text` is gone as a rule: a repeat finds nothing
    )


def _tools_for_looking_around() -> Iterator[Tool]:
    pattern = {"type": "string", "minLength": 1, "maxLength": 1000}
    yield Tool("ls", "List a folder.", parameters(path=PATH), ls)
    yield Tool(
        "find",
        "Find files by a glob such as `*.py` (in any folder) or `src/**/test_*.py`.",
        parameters(("glob",), glob=pattern, path=PATH),
        find,
    )
    yield Tool(
        "grep",
        "Search text files for a Python regular expression. `glob` limits the files, `path` the folder.",
        parameters(("pattern",), pattern=pattern, path=PATH, glob=pattern, ignore_case={"type": "boolean"}),
        grep,
    )
