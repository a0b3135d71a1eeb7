"""What an MCP server's entry may say: one of three transports, in the form that mcpo and other gateways read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from models import addresses
from models.errors import Invalid

STDIO, SSE, HTTP = TRANSPORTS = ("stdio", "sse", "streamable-http")
SPELLINGS = {"stdio": STDIO, "sse": SSE, "streamable-http": HTTP, "http": HTTP, "streamable_http": HTTP}
HIDDEN = "***"  # stands for a stored literal, in answers and in what is sent back
DEFAULT_TIMEOUT = 30  # seconds
MOST = 64  # arguments, variables, headers
LONGEST = 8192  # characters of one of them
MOST_TOOLS = 500

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,127})\}")
SECRET_NAME = re.compile("TOKEN|KEY|SECRET|PASS|AUTH|COOKIE|CREDENTIAL|DSN", re.IGNORECASE)
KNOWN_KEY = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{16,}|gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.)"
)
SCHEME = re.compile(r"\s*(bearer|basic|token)?\s*", re.IGNORECASE)
# They decide which code runs, so that their values are approved, too.
STEERING = re.compile(r"PATH|HOME|LD_.*|DYLD_.*|PYTHON.*|NODE_.*|PERL5.*|RUBY.*|GIT_.*|BASH_ENV|ENV|IFS")

Check = Callable[[Any], str | None]


def checked(config: Any) -> dict[str, Any]:
    """The entry as it is stored: `type` in one spelling, none for stdio. Raises Invalid with every problem."""
    if not isinstance(config, dict):
        raise _invalid({"config": ["must be an object"]})
    kind = config.get("type", STDIO)
    transport = SPELLINGS.get(kind) if isinstance(kind, str) else None
    if transport is None:
        raise _invalid({"config.type": [f"must be one of {', '.join(SPELLINGS)}"]})
    given = {name: value for name, value in config.items() if name != "type"}
    problems = dict(_problems(given, OF_STDIO if transport == STDIO else OF_WEB))
    if problems:
        raise _invalid(problems)
    return given if transport == STDIO else {"type": transport, **given}


def _problems(given: dict[str, Any], checks: dict[str, Check]) -> Iterator[tuple[str, list[str]]]:
    required = "command" if checks is OF_STDIO else "url"
    if required not in given:
        yield f"config.{required}", ["required"]
    for name, value in given.items():
        why = checks[name](value) if name in checks else "unknown key"
        if why:
            yield f"config.{name}", [why]


def _invalid(problems: dict[str, list[str]]) -> Invalid:
    text = "; ".join(f"{path}: {why[0]}" for path, why in problems.items())
    return Invalid(text, "invalid_mcp_config", problems)


def _is_text(value: Any, longest: int = LONGEST, shortest: int = 0) -> bool:
    return isinstance(value, str) and shortest <= len(value) <= longest and "\0" not in value


def _word(value: Any) -> str | None:
    if not _is_text(value, 4096, 1):
        return "must be a text of 1 to 4096 characters"
    return _open(value)


def _open(value: str) -> str | None:
    """What everybody may read must hold no key."""
    return "holds a key: put it into env or headers, as ${NAME}" if KNOWN_KEY.search(value) else None


def _args(value: Any) -> str | None:
    if not isinstance(value, list) or len(value) > MOST or not all(map(_is_text, value)):
        return f"must be a list of at most {MOST} texts"
    return next(filter(None, map(_open, value)), None)


def _folder(value: Any) -> str | None:
    if not _is_text(value, 4096) or not value.startswith("/") or ".." in value.split("/"):
        return "must be an absolute path without `..`"
    return None


def _named(pattern: re.Pattern) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, dict) or len(value) > MOST:
            return f"must be an object of at most {MOST} texts"
        if bad := [name for name in value if not pattern.fullmatch(name)]:
            return f"{bad[0][:80]!r} is not a name"
        if bad := [name for name, item in value.items() if not _is_text(item) or (pattern is HEADER and _breaks(item))]:
            return f"{bad[0]}: must be a text of at most {LONGEST} characters, in one line if it is a header"
        return None

    return check


def _breaks(value: str) -> bool:
    return not value.isprintable() or not value.isascii()


def _url(value: Any) -> str | None:
    if not _is_text(value, 2048, 1):
        return "must be a text of 1 to 2048 characters"
    try:
        addresses.origin(value)
    except ValueError as error:
        return str(error)
    return _open(value)


def _timeout(value: Any) -> str | None:
    ok = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 600
    return None if ok else "must be an integer of 1 to 600 (seconds)"


def _tools(value: Any) -> str | None:
    ok = isinstance(value, list) and len(value) <= MOST_TOOLS and all(_is_text(item, 128, 1) for item in value)
    return None if ok else f"must be a list of at most {MOST_TOOLS} names"


OF_ALL: dict[str, Check] = {"timeout": _timeout, "disabledTools": _tools}
OF_STDIO: dict[str, Check] = {"command": _word, "args": _args, "env": _named(NAME), "cwd": _folder, **OF_ALL}
OF_WEB: dict[str, Check] = {"url": _url, "headers": _named(HEADER), **OF_ALL}


# --- what is read out of an entry ---


def transport(entry: dict[str, Any]) -> str:
    return entry.get("type", STDIO)


def timeout(entry: dict[str, Any]) -> int:
    """Seconds that a call, or the start, may take."""
    return entry.get("timeout", DEFAULT_TIMEOUT)


def approval(entry: dict[str, Any], sandbox: dict[str, Any]) -> dict[str, Any]:
    """What a person approves of a stdio server, with the hash over all of it."""
    env = entry.get("env", {})
    shown = {
        "argv": [entry["command"], *entry.get("args", [])],
        "cwd": entry.get("cwd"),
        "env_names": sorted(f"{name}={env[name]}" if STEERING.fullmatch(name) else name for name in env),
        "sandbox": sandbox,
    }
    return shown | {"sha256": hashlib.sha256(orjson.dumps(shown, option=orjson.OPT_SORT_KEYS)).hexdigest()}


# --- literals that are secret ---


def hide(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """(the entry with `***` for each literal that looks secret, {place: literal})."""
    shown, literals = dict(entry), {}
    for part in ("env", "headers"):
        for name, value in entry.get(part, {}).items():
            if value != HIDDEN and _is_secret(name, value):
                literals[f"{part}.{name}"] = value
                shown[part] = shown[part] | {name: HIDDEN}
    return shown, literals


def _is_secret(name: str, value: str) -> bool:
    if KNOWN_KEY.search(value):
        return True
    literal = SCHEME.fullmatch(REFERENCE.sub("", value)) is None
    return bool(SECRET_NAME.search(name)) and literal and not STEERING.fullmatch(name)


def hidden(entry: dict[str, Any]) -> list[str]:
    """The places that hold `***`."""
    parts = ((part, name, value) for part in ("env", "headers") for name, value in entry.get(part, {}).items())
    return [f"{part}.{name}" for part, name, value in parts if value == HIDDEN]


def reveal(entry: dict[str, Any], literals: dict[str, str]) -> dict[str, Any]:
    """The entry with its literals in their places."""
    shown = dict(entry)
    for place, value in literals.items():
        part, _, name = place.partition(".")
        if name in shown.get(part, {}):
            shown[part] = shown[part] | {name: value}
    return shown


def kept(entry: dict[str, Any], before: dict[str, Any] | None, literals: dict[str, str]) -> dict[str, str]:
    """The stored literals that `***` in the new entry stands for. Raises Invalid where nothing is stored."""
    places = hidden(entry)
    stranger = before is not None and _origin(before) != _origin(entry)  # a literal does not follow a moved address
    if missing := [place for place in places if stranger or place not in literals]:
        raise _invalid({f"config.{place}": ["no value is stored for it: send one"] for place in missing})
    return {place: literals[place] for place in places}


def _origin(entry: dict[str, Any]) -> str | None:
    return addresses.origin(entry["url"]) if "url" in entry else None


def references(entry: dict[str, Any]) -> set[str]:
    """The names of the secrets that the entry stands for."""
    values = [*entry.get("env", {}).values(), *entry.get("headers", {}).values()]
    return {name for value in values for name in REFERENCE.findall(value)}


def resolve(entry: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """The entry with the values of the secrets that it names."""
    resolved = dict(entry)
    for part in ("env", "headers"):
        if part in entry:
            resolved[part] = {
                name: REFERENCE.sub(lambda match: values[match[1]], value) for name, value in entry[part].items()
            }
    return resolved
