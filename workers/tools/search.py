"""A script of its own: finds files or lines beneath the current folder. Reads a query as JSON, writes lines.

Query: `{path, glob, seconds, pattern?, ignore_case?}`. The glob is relative to the path; without a pattern
the names of the files are the result.
"""

import fnmatch
import json
import os
import re
import signal
import stat
import sys

MAX_RESULTS = 500
MAX_FILE_BYTES = 5_000_000
MAX_LINE_CHARS = 500
SKIPPED = {".git", "node_modules", "__pycache__", ".venv"}
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def main():
    query = json.load(sys.stdin)
    signal.alarm(query["seconds"])  # should the worker be gone that stops us otherwise
    pattern = compiled(query) if "pattern" in query else None
    found = matches(query, pattern)
    for count, line in enumerate(found):
        if count == MAX_RESULTS:
            write(f"(only the first {MAX_RESULTS} are shown)")
            return
        write(line)


def write(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # what was found counts even if the search is stopped


def compiled(query):
    try:
        return re.compile(query["pattern"], re.IGNORECASE if query.get("ignore_case") else 0)
    except re.error as error:
        sys.exit(f"the pattern is not a regular expression: {error}")


def matches(query, pattern):
    wanted = query["glob"].strip("/").split("/")
    if len(wanted) == 1:
        wanted = ["**", *wanted]
    depth = len(list(filter(None, query["path"].split("/"))))
    for path, folder, name in files(query["path"]):
        if not fits(path.split("/")[depth:], wanted):
            continue
        if pattern is None:
            yield path
        else:
            yield from (f"{path}:{number}:{line}" for number, line in lines(folder, name, pattern))


def files(start):
    """(path, descriptor of its folder, name) of each file; links are not followed."""
    root = opened(start)
    for folder, folders, names, descriptor in os.fwalk(".", dir_fd=root, follow_symlinks=False):
        folders[:] = sorted(set(folders) - SKIPPED)
        place = "/".join(part for part in (start, folder.removeprefix(".").strip("/")) if part)
        for name in sorted(names):
            yield f"{place}/{name}" if place else name, descriptor, name


def opened(start):
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    for part in filter(None, start.split("/")):
        try:
            descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            sys.exit(f"{start} cannot be searched: {error.strerror}")
    return descriptor


def fits(parts, wanted):
    """Whether a path matches a glob, `**` standing for any number of folders."""
    places = closure({0}, wanted)
    for part in parts:
        stay = {place for place in places if place < len(wanted) and wanted[place] == "**"}
        move = {
            place + 1 for place in places - stay if place < len(wanted) and fnmatch.fnmatchcase(part, wanted[place])
        }
        places = closure(stay | move, wanted)
    return len(wanted) in places


def closure(places, wanted):
    """With the places behind each `**`, which may stand for nothing."""
    for place in range(len(wanted)):
        if place in places and wanted[place] == "**":
            places = places | {place + 1}
    return places


def lines(folder, name, pattern):
    try:
        descriptor = os.open(name, READ, dir_fd=folder)
    except OSError:  # a link, or gone meanwhile
        return
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            return
        content = file.read(MAX_FILE_BYTES)
    if b"\0" in content[:8192]:
        return
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if pattern.search(line):
            yield number, line[:MAX_LINE_CHARS]


if __name__ == "__main__":
    main()
