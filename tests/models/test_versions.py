"""What a process keeps of a table, and when it looks again."""

from __future__ import annotations

import pytest

from models import database, versions
from models.errors import Unavailable
from models.versions import Kept, Version, bump
from tests.api.factories import lose_database

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def loads(monkeypatch):
    """A value that counts how often it was made; every use looks at the number."""
    monkeypatch.setattr(versions, "LOOK_SECONDS", 0)
    made = []
    return Kept("thing", lambda: made.append(1) or len(made))


def change() -> None:
    with database.transaction():
        bump("thing")


def test_it_is_made_once_and_again_after_each_change(loads) -> None:
    assert [loads.get(), loads.get()] == [1, 1]
    change()
    assert [loads.get(), loads.get()] == [2, 2]
    change()
    assert loads.get() == 3


def test_other_numbers_do_not_matter(loads) -> None:
    loads.get()
    with database.transaction():
        bump("another thing")
    assert loads.get() == 1


def test_a_change_that_is_rolled_back_is_none(loads) -> None:
    loads.get()
    with pytest.raises(ZeroDivisionError), database.transaction():
        bump("thing")
        raise ZeroDivisionError
    assert (loads.get(), Version.select().count()) == (1, 0)


def test_within_a_second_nobody_looks_unless_told_to(loads, monkeypatch) -> None:
    loads.get()
    monkeypatch.setattr(versions, "LOOK_SECONDS", 60)
    change()
    assert loads.get() == 1
    loads.forget()
    assert loads.get() == 2


def test_while_the_database_is_away_what_is_known_holds(loads, store) -> None:
    assert loads.get() == 1
    database.db.obj.close_all()
    nowhere = {"host": "127.0.0.1", "port": 1} if store == "postgres" else {}
    database.db.obj.init("/nowhere/at/all", **nowhere)
    assert loads.get() == 1
    with pytest.raises(Unavailable):
        Kept("thing", lambda: 9).get()


def test_what_was_never_known_cannot_be_told_without_a_database(loads) -> None:
    lose_database()
    with pytest.raises(Unavailable):
        loads.get()
