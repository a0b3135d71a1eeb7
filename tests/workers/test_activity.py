"""When agents begin and stop working."""

from __future__ import annotations

import pytest

from models import database, events, lifecycle
from models.events import Event
from tests.api import factories
from workers.activity import Activity

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def run_id(store):
    return factories.run()


def happen(run_id: str, type: str, moment: int) -> None:
    event = Event(type, run_id=run_id, epoch=1, step_id="FIX", agent_id="developer", timestamp=moment)
    factories.record(run_id, event)


def number(activity: Activity) -> None:
    with database.transaction():
        activity.note(events.assign_positions())


def told() -> list[tuple[str, int]]:
    """(status, ms), oldest first."""
    with database.connection():
        rows = lifecycle.page(lifecycle.Filters(agent_id="developer", type=("status_change",)), 50)
    return [(events.decode(row["data"])["status"], row["created_at"]) for row in reversed(rows)]


def test_an_agent_works_from_its_first_step_to_the_end_of_its_last(run_id) -> None:
    activity = Activity()
    factories.visit(run_id, "FIX", agent_id="developer", status="running", owner="wrk_1")
    happen(run_id, "step_started", 10)
    number(activity)
    happen(run_id, "step_complete", 20)  # it is at another one already
    number(activity)
    with database.transaction():
        database.execute("UPDATE visits SET status = 'completed', owner = NULL")
    happen(run_id, "step_complete", 30)
    number(activity)
    assert told() == [("working", 10), ("idle", 30)]


def test_work_that_was_over_before_anybody_looked_is_told(run_id) -> None:
    happen(run_id, "step_started", 10)
    happen(run_id, "step_complete", 20)
    number(Activity())
    assert told() == [("working", 10), ("idle", 20)]


def test_the_next_leader_goes_on_from_what_was_written(run_id) -> None:
    factories.visit(run_id, "FIX", agent_id="developer", status="running", owner="wrk_1")
    happen(run_id, "step_started", 10)
    number(Activity())
    happen(run_id, "step_resumed", 15)
    number(Activity())
    assert told() == [("working", 10)]


def test_a_numbering_that_is_rolled_back_tells_nothing(run_id) -> None:
    activity = Activity()
    happen(run_id, "step_started", 10)
    with pytest.raises(ZeroDivisionError), database.transaction():
        activity.note(events.assign_positions())
        raise ZeroDivisionError
    number(activity)
    assert told() == [("working", 10), ("idle", 10)]
