"""What is old is forgotten as the settings say, and what must stay stays."""

from __future__ import annotations

import pytest

from models import audit, database, events, settings
from models.audit import Actor, AuditRow
from models.base import new_id, now_ms
from models.chats import ChatSession
from models.deliveries import Delivery
from models.events import StoredEvent
from models.runs import Run
from tests.api import factories
from workers import retention
from workers.deliveries import Heads, receive
from workers.retention import DAY_MS, Retention

pytestmark = pytest.mark.usefixtures("store")


def put(**changes) -> None:
    with database.transaction():
        settings.update(changes)


def run_of(days: float, status: str = "completed", count: int = 4) -> str:
    """A run whose events are that old."""
    run_id, then = factories.run(), now_ms() - int(days * DAY_MS)
    factories.emit(run_id, *["agent_output"] * (count - 1))
    factories.set_status(run_id, status)
    with database.transaction():
        StoredEvent.update(created_at=then).where(StoredEvent.stream == run_id).execute()
    return run_id


def numbered() -> None:
    with database.transaction():
        while events.assign_positions():
            pass


def seqs(run_id: str) -> list[int]:
    return [row["seq"] for row in events.after(run_id, 0)]


def prune() -> None:
    numbered()
    Retention().prune()


# --- events ---


def test_events_of_finished_runs_go_after_thirty_days() -> None:
    old, young = [run_of(31, status) for status in ("completed", "failed", "cancelled")], run_of(29)
    prune()
    assert ([seqs(run_id) for run_id in old], seqs(young)) == ([[], [], []], [1, 2, 3, 4])


def test_runs_that_are_not_over_keep_theirs_and_so_does_the_platform() -> None:
    live = [run_of(400, status) for status in ("running", "paused", "pending")]
    with database.transaction():
        events.note(events.Event("settings_updated", payload={"keys": []}, timestamp=1))
    run_of(0)
    prune()
    assert [seqs(run_id) for run_id in live] == [[1, 2, 3, 4]] * 3
    assert events.head_seq("platform") == 1


def chat(status: str) -> str:
    """A session with one event, from long ago."""
    with database.transaction():
        row = {"id": new_id("chat_"), "agent_id": "a", "status": status, "model": "x/y", "created_at": 1}
        ChatSession.add(row | {"last_activity_at": 1})
        events.append(row["id"], 1, [events.Event("chat_session_created", session_id=row["id"], timestamp=1)])
    return row["id"]


def test_events_of_chats_go_when_the_chat_has_ended() -> None:
    ended, live = chat("ended"), chat("ready")
    run_of(0)
    prune()
    assert (seqs(ended), seqs(live)) == ([], [1])


def test_of_the_platform_and_of_boards_the_newest_number_stays() -> None:
    with database.transaction():
        for _ in range(3):
            events.note(events.Event("settings_updated", payload={"keys": []}, timestamp=1))
        events.append("proj_1", 1, [events.Event("task_created", timestamp=1)])
    run_of(0)
    prune()
    assert (seqs("platform"), seqs("proj_1")) == ([3], [])


def test_the_setting_says_how_long() -> None:
    run_id, newest = run_of(3), run_of(0)
    put(eventRetentionDays=4)
    prune()
    assert seqs(run_id) == [1, 2, 3, 4]
    put(eventRetentionDays=2)
    prune()
    assert (seqs(run_id), seqs(newest)) == ([], [1, 2, 3, 4])


def test_of_a_run_on_the_edge_the_beginning_goes_and_the_rest_stays() -> None:
    run_id = run_of(40)
    with database.transaction():
        young = (StoredEvent.stream == run_id) & (StoredEvent.seq > 2)
        StoredEvent.update(created_at=now_ms()).where(young).execute()
    prune()
    assert seqs(run_id) == [3, 4]


def test_positions_are_never_used_twice() -> None:
    run_of(90)
    numbered()
    head = events.head_position()
    prune()
    factories.run()
    numbered()
    assert events.head_position() == head + 1


def test_more_than_a_batch_goes_and_what_had_to_stay_is_passed_over() -> None:
    live = run_of(90, "running", 600)
    old = run_of(90, "completed", 700)
    run_of(0)
    numbered()
    round = Retention()
    round.prune()
    assert (len(seqs(live)), seqs(old), round.beyond >= 1000) == (500, [], True)


def test_a_trimmed_run_can_be_looked_at_and_restarted_numbers_go_on() -> None:
    run_id = run_of(90)
    run_of(0)
    prune()
    assert Run.get_by_id(run_id).last_seq == 4
    assert factories.emit(run_id, "run_restarted") == 5


# --- the audit log ---


def record(days: float) -> None:
    with database.transaction():
        audit.record("thing.done", "thing", "x", Actor("ann"))
    row = AuditRow.select().order_by(AuditRow.seq.desc()).get()
    row.at = now_ms() - int(days * DAY_MS)
    row.hash = audit.digest({**row.__data__})
    with database.transaction():
        AuditRow.update(at=row.at, hash=row.hash).where(AuditRow.seq == row.seq).execute()


def actions() -> list[str]:
    return [row.action for row in audit.page(100, None, None, None)]


def test_the_audit_log_is_kept_for_ever_unless_a_setting_says_otherwise() -> None:
    record(9000)
    record(0)
    Retention().prune()
    assert actions() == ["thing.done"] * 2


def test_its_oldest_lines_go_and_what_remains_is_still_whole() -> None:
    for days in (20, 15, 9, 1):
        record(days)
    put(auditRetentionDays=10)
    Retention().prune()
    assert actions() == ["audit.prune", "thing.done", "thing.done"]
    assert audit.verify() == {"ok": True, "rows": 3, "first_bad": None}
    assert audit.page(1, None, None, None)[0].detail["rows"] == 2


def test_its_newest_line_stays_so_that_the_chain_goes_on() -> None:
    record(99)
    assert retention.prune_audit(now_ms()) == 0
    record(99)
    assert retention.prune_audit(now_ms() - 1) == 1
    assert audit.verify()["ok"] and actions() == ["audit.prune", "thing.done"]


def test_lines_go_from_the_beginning_only_whatever_the_clock_said() -> None:
    for days in (1, 30, 0):
        record(days)
    assert retention.prune_audit(now_ms() - 10 * DAY_MS) == 0
    assert audit.verify() == {"ok": True, "rows": 3, "first_bad": None}


# --- deliveries ---


@pytest.mark.parametrize(("status", "days", "kept"), [("processed", 31, 0), ("processed", 29, 1), ("queued", 31, 1)])
def test_settled_deliveries_are_forgotten_after_their_time(status, days, kept) -> None:
    body = b'{"action": "started"}'
    receive(Heads("guid", "watch"), body, {})
    with database.transaction():
        Delivery.update(status=status, received_at=now_ms() - days * DAY_MS).execute()
    prune()
    assert Delivery.select().count() == kept
