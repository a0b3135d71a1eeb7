"""A PostgreSQL cluster that a test may break and start again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg

from tests.platform import wait_for

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]


class Cluster:
    """Its data and socket are in `home`, which must be reachable for user postgres where the tests run as root."""

    def __init__(self, home: Path) -> None:
        self.home, self._user = home, "postgres"
        self._prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        home.mkdir(exist_ok=True)
        if self._prefix:
            shutil.chown(home, "postgres")
        self._call("initdb", "-A", "trust", "-U", self._user)
        settings = f"listen_addresses = ''\nunix_socket_directories = '{home}'\nmax_connections = 300\nfsync = off\n"
        settings += "max_wal_size = 64MB\nmin_wal_size = 32MB\nlogging_collector = off\n"
        with (home / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)
        self.url = f"postgresql://{self._user}@/postgres?host={home}"
        self.start()

    def start(self) -> None:
        self._call("pg_ctl", "-w", "-l", "/dev/null", "start")
        wait_for(self._answers)

    def break_off(self) -> None:
        """Ends it as a crash would: recovery has to read the log at the next start."""
        self._call("pg_ctl", "-m", "immediate", "stop")

    def revive(self) -> None:
        """Starts it if it gave up."""
        if subprocess.run(self._command("pg_ctl", "status"), cwd=self.home, capture_output=True).returncode:
            self.start()

    def _answers(self) -> None:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from error

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(self._command(program, *arguments), cwd=self.home, check=True, stdout=subprocess.DEVNULL)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [*self._prefix, str(BINARIES[0] / program), "-D", str(self.home / "data"), *arguments]
