"""Who leads when the leading relay is gone."""

from __future__ import annotations

import subprocess

from models import leases, workers
from workers.relay import Relay


def led_by(pid: int, started: int) -> None:
    assert leases.hold("relay", f"rly_other {workers.host()} {pid} {started}", 60_000)


def test_a_leader_that_has_died_is_not_waited_for(store) -> None:
    with subprocess.Popen(["sleep", "60"]) as leader:
        led_by(leader.pid, workers.process_started(leader.pid))
        relay = Relay()
        relay.stopping.set()  # so that it does not rest between looks
        assert not relay._leads() and not relay._leads()
        leader.kill()
    assert not relay._leads() and relay._leads()


def test_a_leader_on_another_machine_is_given_its_lease(store) -> None:
    assert leases.hold("relay", "rly_other elsewhere 1 1", 60_000)
    relay = Relay()
    relay.stopping.set()
    assert not relay._leads() and not relay._leads()
