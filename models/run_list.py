"""Pages of runs: filters, newest first, each page a walk along one index however many runs there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from models import cursors, database, text_search
from models.run_views import COLUMNS

NONE = "none"  # as a filter: runs without a project, without a parent
FIRST, PAST = "run_", "run_~"  # around every id
SLACK_MS = 60_000  # how far `created_at` may be from the time in the id
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # of a ULID
RUN_ID = re.compile(rf"run_[{ALPHABET}]{{26}}")
EQUALITIES = ("pipeline_id", "project_id", "parent_run_id", "schedule_id", "error_code")
LISTED = ", ".join(COLUMNS)


@dataclass(frozen=True, slots=True)
class Filters:
    """All joined by AND; None or empty: not filtered."""

    pipeline_id: str | None = None
    project_id: str | None = None  # or "none"
    parent_run_id: str | None = None  # or "none"
    schedule_id: str | None = None
    error_code: str | None = None  # why it failed
    status: Sequence[str] = ()
    agent_id: str | None = None
    tag: Sequence[str] = ()
    q: str | None = None
    created_after: int | None = None  # ms, inclusive
    created_before: int | None = None  # ms, exclusive
    ids: Sequence[str] = ()


@dataclass(slots=True)
class Query:
    """SQL that selects ids: the tables in join order, the column that orders them, the conditions."""

    tables: str
    ident: str
    order: str
    where: list[str] = field(default_factory=list)
    params: list[Any] = field(default_factory=list)

    def add(self, condition: str, *params: Any) -> None:
        self.where.append(condition)
        self.params += params


def page(filters: Filters, limit: int, before: str | None = None, outputs: bool = False) -> list[dict[str, Any]]:
    """Up to `limit` rows of `runs` joined with their inputs, newest first, older than run `before`.

    Raises Invalid if `before` is not the id of a run.
    """
    if before is not None and not RUN_ID.fullmatch(before):
        raise cursors.bad()
    columns = f"{LISTED}, r.outputs" if outputs else LISTED
    sql, params = _union(filters, before, columns, f"ORDER BY place DESC LIMIT {limit}")
    return sorted(database.rows(sql, params), key=itemgetter("id"), reverse=True)[:limit]


def oldest(filters: Filters, limit: int) -> list[dict[str, Any]]:
    """Up to `limit` of `{id, status, pipeline_id}`, oldest first."""
    sql, params = _union(filters, None, "r.id, r.status, r.pipeline_id", f"ORDER BY place LIMIT {limit}")
    return sorted(database.rows(sql, params), key=itemgetter("id"))[:limit]


def count(filters: Filters) -> int:
    """How many runs match. Counts them all: only for who asks."""
    sql, params = _union(filters, None, "r.id", "")
    return database.execute(f"SELECT count(*) FROM ({sql}) matching", params).fetchone()[0]


def _union(filters: Filters, before: str | None, columns: str, end: str) -> tuple[str, list[Any]]:
    """One select per status, each of which walks its index in order and ends by itself."""
    selects, params = [], []
    for status in filters.status or (None,):
        query = _select(filters, before)
        if status:
            query.add("r.status = ?", status)
        tables = f"{query.tables} LEFT JOIN run_inputs i ON i.run_id = r.id"
        where = " AND ".join(query.where)
        selects.append(
            f"SELECT * FROM (SELECT {query.order} AS place, {columns} FROM {tables} WHERE {where} {end}) part"
        )
        params += query.params
    return " UNION ALL ".join(selects), params


def _select(filters: Filters, before: str | None) -> Query:
    query = _driver(filters, before)
    query.add(f"{query.ident} > ?", _bound(filters.created_after, -SLACK_MS, FIRST))
    query.add(f"{query.ident} < ?", min(before or PAST, _bound(filters.created_before, SLACK_MS, PAST)))
    for name in EQUALITIES:
        value = getattr(filters, name)
        if value == NONE:
            query.add(f"r.{name} IS NULL")
        elif value is not None:
            query.add(f"r.{name} = ?", value)
    if filters.created_after is not None:
        query.add("r.created_at >= ?", filters.created_after)
    if filters.created_before is not None:
        query.add("r.created_at < ?", filters.created_before)
    if filters.ids:
        query.add(f"r.id IN ({', '.join('?' * len(filters.ids))})", *filters.ids)
    return query


def _driver(filters: Filters, before: str | None) -> Query:
    """What the page is walked along: the search, a tag, an agent, or the runs themselves; the others are looked up."""
    tags, agent, query = list(filters.tag), filters.agent_id, None
    if filters.q:
        where, params, order = text_search.RUNS.matching(filters.q, before)
        query = Query("run_search CROSS JOIN runs r", "run_search.run_id", f"run_search.{order}", where, params)
        query.add("r.id = run_search.run_id")
    elif tags:
        query = Query("run_tags t CROSS JOIN runs r", "t.run_id", "t.run_id")
        query.add("t.tag = ? AND r.id = t.run_id", tags.pop())
    elif agent:
        query = Query("run_agents a CROSS JOIN runs r", "a.run_id", "a.run_id")
        query.add("a.agent_id = ? AND r.id = a.run_id", agent)
        agent = None
    query = query or Query("runs r", "r.id", "r.id")
    for tag in tags:
        query.add("EXISTS (SELECT 1 FROM run_tags x WHERE x.tag = ? AND x.run_id = r.id)", tag)
    if agent:
        query.add("EXISTS (SELECT 1 FROM run_agents x WHERE x.agent_id = ? AND x.run_id = r.id)", agent)
    return query


def _bound(moment: int | None, slack: int, otherwise: str) -> str:
    """The smallest id of a moment (ULID: 48 bits of milliseconds in 10 characters)."""
    if moment is None:
        return otherwise
    moment = max(moment + slack, 0)
    return "run_" + "".join(ALPHABET[(moment >> shift) & 31] for shift in range(45, -1, -5))
