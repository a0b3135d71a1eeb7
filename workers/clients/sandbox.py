"""Where agents' commands run: bubblewrap without network, with a read-only system and one writable folder."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models import config
from models.errors import Unavailable
from workers.clients import processes
from workers.clients.processes import Result

WORKSPACE = "/workspace"
HOME = "/home/server"  # of a program that stays
OUTPUT_LIMIT = 100_000  # bytes
TRIAL_SECONDS = 10.0

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
SETTINGS = ("alternatives", "ca-certificates", "group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime")
SETTINGS += ("mime.types", "nsswitch.conf", "passwd", "protocols", "services", "ssl/certs", "ssl/openssl.cnf")
NETWORK = ("hosts", "resolv.conf")  # for programs that have it

# Bubblewrap leaves these to whoever owns them: run by root, the sandbox would own the settings of the kernel.
PROC_READ_ONLY = ("bus", "driver", "fs", "irq", "mtrr", "pressure", "sys", "sysrq-trigger", "tty")
PROC_HIDDEN = ("kcore", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "pagetypeinfo", "slabinfo")
PROC_HIDDEN += ("timer_list", "vmallocinfo")

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}

BARE = ("setpriv", "--pdeathsig", "KILL", "--")  # it dies with the worker, as it does in the sandbox

GIB = 2**30
TMP_BYTES = GIB // 2
LIMITS = {
    "cpu": 3600,  # seconds of one process
    "data": 4 * GIB,  # bytes of memory of one process
    "fsize": GIB,  # bytes of one file
    "nofile": 4096,
    "nproc": 512,  # the kernel does not hold root to it
    "core": 0,
}


@dataclass(frozen=True, slots=True)
class Box:
    """What a program that stays may have beside the system's programs and a home of its own."""

    network: bool = False
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    cwd: str | None = None


def available() -> str | None:
    """None if commands can run, else the reason why not."""
    return _trial(config.get().sandbox)


def run(
    argv: Sequence[str],
    workspace: Path,
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    output_limit: int = OUTPUT_LIMIT,
) -> Result:
    """Run `argv` in `workspace` for at most `timeout` seconds. Raises Unavailable if there is no sandbox."""
    if reason := available():
        raise Unavailable(f"commands are disabled on this server: {reason}")
    return _run(config.get().sandbox, argv, workspace, timeout, env or {}, output_limit)


def _run(mode: str, argv: Sequence[str], workspace: Path, timeout: float, env: Mapping, output_limit: int) -> Result:
    wrapper = BARE if mode == "none" else _bubblewrap(workspace)
    environment = {**ENVIRONMENT, **env}
    return processes.run(
        [*wrapper, *_limits(), *argv], cwd=workspace, env=environment, timeout=timeout, output_limit=output_limit
    )


@functools.cache
def _trial(mode: str) -> str | None:
    if mode == "bwrap" and shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    if mode not in ("bwrap", "none"):
        return f"SANDBOX must be bwrap or none, not {mode!r}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = _run(mode, ["true"], Path(folder), TRIAL_SECONDS, {}, 1000)
        except OSError as error:
            return str(error)
    return None if result.exit_code == 0 else f"a trial run failed: {result.output.strip()}"


def _limits() -> list[str]:
    return ["prlimit", *(f"--{name}={value}" for name, value in LIMITS.items()), "--"]


def _bubblewrap(workspace: Path) -> list[str]:
    place = ("--bind", str(workspace.resolve()), WORKSPACE, "--chdir", WORKSPACE)
    return [*_walls(), *place, "--"]


def command(argv: Sequence[str], home: Path, box: Box) -> list[str]:
    """What starts a program that stays, in a sandbox of its own. Raises Unavailable if there is none."""
    if reason := available():
        raise Unavailable(f"programs are disabled on this server: {reason}")
    if config.get().sandbox == "none":
        return [*BARE, *_limits(), *argv]
    folders = [("--ro-bind", path) for path in box.readable] + [("--bind", path) for path in box.writable]
    places = [part for option, path in folders for part in (option, str(path), str(path))]
    network = [part for name in NETWORK for part in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")]
    own = ("--bind", str(home.resolve()), HOME, "--chdir", box.cwd or HOME)
    return [*_walls(box.network), *(network if box.network else ()), *places, *own, "--", *_limits(), *argv]


def _walls(network: bool = False) -> list[str]:
    """The environment is handed on as it is: as arguments its values would show in the process list."""
    return [
        "bwrap",
        "--unshare-all",
        *(("--share-net",) if network else ()),
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
        *("--cap-drop", "ALL"),
        *("--uid", "1000", "--gid", "1000"),
        *("--hostname", "sandbox"),
        *_system(),
        *("--proc", "/proc", *_proc()),
        *("--dev", "/dev"),
        *("--size", str(TMP_BYTES), "--tmpfs", ENVIRONMENT["HOME"]),
    ]


def _proc() -> Iterator[str]:
    for path in (Path("/proc") / name for name in (*PROC_READ_ONLY, *PROC_HIDDEN)):
        if path.exists():
            yield from ("--ro-bind", "/dev/null" if path.name in PROC_HIDDEN else str(path), str(path))


def _system() -> Iterator[str]:
    """The programs and libraries, and those settings that hold no secrets."""
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for name in SETTINGS:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
