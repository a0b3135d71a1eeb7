"""Git on this machine: towards addresses that the egress rules allow, with nothing taken from anybody's settings."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from models import config
from models.errors import Forbidden, OutsideError, TooLarge
from workers.clients import egress, http, processes

TIMEOUT_SECONDS = 600.0
OUTPUT_BYTES = 20_000
MOST_BYTES = 2 * 1024**3  # of one file while it is written, and of a repository
STALLED = ("1000", "30")  # fewer bytes a second for so many seconds: given up
USER = "x-access-token"  # whose password a token is

SAFE = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "credential.helper": "",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": STALLED[0],
    "http.lowSpeedTime": STALLED[1],
    "protocol.allow": "never",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "init.defaultBranch": "main",
    "safe.directory": "*",
}


def local(arguments: list[str], folder: Path, settings: Mapping[str, str] | None = None) -> str:
    """What git says about a repository of this machine. Raises OutsideError."""
    return _run(arguments, folder, settings or {})


def remote(
    arguments: list[str], folder: Path, url: str, token: str | None = None, timeout: float = TIMEOUT_SECONDS
) -> str:
    """The same towards `url` alone, whose name is resolved here and once. Raises OutsideError, Forbidden."""
    parsed = http.parse(url)
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    place = egress.place(parsed.host, port)
    if parsed.scheme != "https" and place not in config.get().egress_allow:
        raise Forbidden("Repositories are fetched over https", "egress_refused")
    try:
        addresses = sorted({address[4][0] for address in egress.resolve(parsed.host, port, ())})
    except OSError as error:
        raise OutsideError(f"{parsed.host} cannot be resolved", "repository_unreachable") from error
    settings = {"http.curloptResolve": f"{parsed.host}:{port}:{','.join(addresses)}"}
    settings |= {f"protocol.{parsed.scheme}.allow": "always"}
    if token:
        header = base64.b64encode(f"{USER}:{token}".encode()).decode()
        settings |= {f"http.{url}.extraHeader": f"Authorization: Basic {header}"}
    return _run(arguments, folder, settings, timeout)


def _run(arguments: list[str], folder: Path, settings: Mapping[str, str], timeout: float = TIMEOUT_SECONDS) -> str:
    """Settings travel in the environment: as arguments they would show in the process list."""
    result = processes.run(
        ["prlimit", f"--fsize={MOST_BYTES}", "--core=0", "--", "git", *arguments],
        cwd=folder,
        env=_environment(folder) | configured({**SAFE, **settings}),
        timeout=timeout,
        output_limit=OUTPUT_BYTES,
    )
    if result.timed_out:
        raise OutsideError(f"git took longer than {timeout:g} seconds", "repository_unreachable")
    if result.exit_code:
        said = result.output.strip().splitlines()
        raise OutsideError(f"git: {said[-1] if said else result.exit_code}", "repository_unreachable")
    return result.output


def configured(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment in which git has these settings."""
    pairs = {"GIT_CONFIG_COUNT": str(len(settings))}
    for n, (key, value) in enumerate(settings.items()):
        pairs |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    return pairs


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }


def check_size(folder: Path) -> None:
    """Raises TooLarge."""
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise TooLarge(f"The repository has more than {MOST_BYTES >> 30} GiB", "repository_too_large")
