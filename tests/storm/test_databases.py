"""The database crashes, and its disk is full."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.storm import pipelines
from tests.storm.postgres import Cluster
from tests.storm.target import Storm, storming

DISK_MB = {"sqlite": 64, "postgres": 320}
REFUSALS = {201, 503, 507}


def test_f5_postgres_crashes(tmp_path, seed, size, row) -> None:
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder) / "cluster")
        with storming(seed, notes=tmp_path, url=cluster.url, LEASE_SECONDS="10") as storm:
            posted = storm.post(size(40, 500), pause=1.5)
            blows = storm.strike(lambda: crash(cluster, storm), size((2, 4), (5, 20)), posted, size(3, 20))
            storm.settle(posted, size(80, 600))
            found, answers = storm.findings(30), storm.history.statuses()
            row("F5 PostgreSQL -m immediate", storm, found, len(posted), crashes=blows, answers=dict(answers))
        cluster.break_off()
    assert not found.all and set(answers) <= {201, 503}


def crash(cluster: Cluster, storm: Storm) -> None:
    cluster.break_off()
    time.sleep(storm.random.uniform(0.1, 1))
    cluster.start()


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of that size."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "storm", folder])
        if mounted.returncode:
            pytest.skip("no file system may be mounted here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def test_f8_the_disk_is_full(kind, tmp_path, seed, size, row) -> None:
    with small_disk(DISK_MB[kind]) as disk:
        disk.chmod(0o755)
        (disk / "data").mkdir()
        cluster = Cluster(disk / "cluster") if kind == "postgres" else None
        with storming(seed, disk / "data", tmp_path, url=cluster.url if cluster else "") as storm:
            storm.script({"SAY": [pipelines.said(4)]})
            deaths = fill_and_free(storm, disk, cluster, size(20, 200))
            found, answers = storm.findings(30), storm.history.statuses()
            row("F8 disk full", storm, found, answers[201], answers=dict(answers), deaths=len(deaths))
        if cluster:
            cluster.break_off()
    assert not found.all and not deaths and set(answers) <= REFUSALS and set(answers) - {201}


def fill_and_free(storm: Storm, disk: Path, cluster: Cluster | None, count: int) -> list[str]:
    """Half of the runs are at work when the disk fills; clients go on asking, until long after it is free again.

    Returns the processes that did not live to see it.
    """
    posted = storm.post(count // 2, "speech")
    time.sleep(1)
    ballast = fill(disk / "ballast")
    posted += storm.post(count // 2, "speech")
    time.sleep(storm.random.uniform(4, 6))
    ballast.unlink()
    if cluster:
        cluster.revive()
    dead = bury(storm)
    storm.complete()
    storm.settle(posted, 90)
    return dead


def fill(path: Path) -> Path:
    """Writes until nothing fits any more."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65_536))
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    return path


def bury(storm: Storm) -> list[str]:
    dead = [name for name, process in storm.processes.items() if process.poll() is not None]
    for name in dead:
        del storm.processes[name]
    return dead
