"""Workers with one guard broken: `python -m tests.storm.mutants NAME[,NAME] MODULE [ARGUMENT ...]`.

The product knows nothing of this: the guard is replaced in the process before the module starts. A storm must notice.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable

Swap = tuple[object, str, object]  # (where, name, what stands there instead)


def token() -> Swap:
    """A visit row is written whatever its token is by now."""
    from models import database, visits

    save = visits.save

    def anyhow(rows, seen) -> None:
        stored = {}
        for row in rows:
            sql = "SELECT token, status FROM visits WHERE run_id = ? AND epoch = ? AND n = ?"
            if found := database.execute(sql, (row["run_id"], row["epoch"], row["n"])).fetchone():
                stored[row["n"]] = tuple(found)
        save(rows, stored)

    return visits, "save", anyhow


def fence() -> Swap:
    """Text, turns and tool results are stored for whoever sends them."""
    from models import runs

    guards = runs._guards
    return runs, "_guards", lambda sources, epoch, version, fence: guards(sources, epoch, version, None)


def plan() -> Swap:
    """Two workers may plan the same run from the same state."""
    from models import runs

    guards = runs._guards
    return runs, "_guards", lambda sources, epoch, version, fence: guards(sources, epoch, None, fence)


def doorbell() -> Swap:
    """The bell rings before the commit, and nothing remembers that it should."""
    from workers import broker

    return broker, "doorbell", lambda actor, object_id, ref="": broker.ringer.ring(actor, object_id)


def sweeper() -> Swap:
    """Nobody buries dead workers."""
    from workers.sweeper import Sweeper

    return Sweeper, "sweep", lambda self: None


def deferred() -> Swap:
    """Transactions take the write lock when they first write instead of when they begin."""
    from models import database

    return database, "_begin", lambda: database.db.atomic("DEFERRED")


def claim() -> Swap:
    """A claim goes on under the token that was there."""
    from workers import claims

    return claims, "_hold", lambda visit: setattr(visit, "owner", claims.Process.worker_id)


def halves() -> Swap:
    """A step completes in one transaction, the next starts in another, and nothing remembers that it should."""
    from workers import broker, steps

    work = steps.work
    steps.take = lambda walk: (None, [])
    broker.doorbell = lambda *_: None  # as seen by those who did not take it by name: what a save leaves waiting

    def and_then(walk, visit):
        work(walk, visit)
        time.sleep(0.3)
        return steps.claim(walk.run.id)

    return steps, "work", and_then


def inbox() -> Swap:
    """A body that comes again under another id is another delivery."""
    from models import deliveries

    add = deliveries.add
    return deliveries, "add", lambda guid, digest, body, **facts: add(guid, f"{digest} {guid}", body, **facts)


def deaf() -> Swap:
    """Not a guard but a fault: the keeper does not see in time what was taken away; only the fences are left."""
    from workers.keeper import Keeper

    return Keeper, "_look", lambda self: None


MUTANTS: dict[str, Callable[[], Swap]] = {
    mutant.__name__: mutant for mutant in (token, fence, plan, doorbell, sweeper, deferred, claim, halves, inbox, deaf)
}


def apply(name: str, swap: Callable = setattr) -> None:
    """Breaks the guard; a test of the same process gives `monkeypatch.setattr`."""
    where, what, instead = MUTANTS[name]()
    assert hasattr(where, what), f"{where} has no {what} any more"
    swap(where, what, instead)


def main() -> None:
    names, module, *arguments = sys.argv[1:]
    if module != "workers.relay":
        from gevent import monkey

        monkey.patch_all()
    for name in names.split(","):
        apply(name)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
