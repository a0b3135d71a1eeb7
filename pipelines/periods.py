"""Times that a question names: "last week", "3 days ago", "in May 2026", "since Monday"; all in UTC."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
NUMBERS = dict(
    zip(
        ["a", "an", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"],
        (1, 1, *range(1, 11), 12),
        strict=True,
    )
)
UNIT_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

_MONTH = rf"({'|'.join(MONTHS)}|{'|'.join(name[:3] for name in MONTHS if name != 'may')}|sept)\.?"
_COUNT = rf"(\d{{1,3}}|{'|'.join(NUMBERS)}|a couple of|a few)"
_UNIT = r"(day|week|month|year)s?"

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to `stop` (ms), and the question without the words that say so.

    `relative`: they are no words that a note of that time would hold.
    """

    start: int
    stop: int
    rest: str
    relative: bool


def find(question: str, now: int) -> Period | None:
    """The first time that the question names. `now`: ms."""
    today = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for pattern, read in READERS:
        match = pattern.search(question)
        try:
            span = read(match, today) if match else None
        except (ValueError, OverflowError):  # 31 February, or a year that no calendar has
            span = None
        if span:
            start, stop = _bounded(question[: match.start()], span)
            rest = f"{_BEFORE.sub('', question[: match.start()])} {question[match.end() :]}".strip()
            return Period(
                int(start.timestamp() * 1000),
                int(stop.timestamp() * 1000),
                rest or question,
                not re.search(r"\d", match[0]),
            )
    return None


_OPENERS = "in|on|at|of|from|during|since|after|before|until|by|around"
_BEFORE = re.compile(rf"\b(?:(?:{_OPENERS})\s+)?(?:the\s+)?$", re.IGNORECASE)


def _bounded(before: str, span: Span) -> Span:
    """`since`, `after`, `before` and `until` open the span at one end."""
    word = (before.lower().split() or [""])[-1]
    if word in ("since", "from"):
        return span[0], LATEST
    if word == "after":
        return span[1], LATEST
    if word in ("before", "until", "by"):
        return EARLIEST, span[0] if word == "before" else span[1]
    return span


def _add_months(day: datetime, months: int) -> datetime:
    index = day.year * 12 + day.month - 1 + months
    return day.replace(year=index // 12, month=index % 12 + 1, day=1)


def _period_of(unit: str, today: datetime, offset: int) -> Span:
    """The calendar's day, week, month or year, so many before or after this one."""
    if unit == "day":
        start = today + timedelta(days=offset)
        return start, start + timedelta(days=1)
    if unit == "week":
        start = today - timedelta(days=today.weekday()) + timedelta(weeks=offset)
        return start, start + timedelta(weeks=1)
    if unit == "month":
        return _add_months(today, offset), _add_months(today, offset + 1)
    first = today.replace(month=1, day=1)
    return first.replace(year=today.year + offset), first.replace(year=today.year + offset + 1)


def _count(text: str) -> int:
    text = text.lower()
    return int(text) if text.isdigit() else NUMBERS.get(text, 2 if "couple" in text else 3)


def _relative(match: re.Match, today: datetime) -> Span:
    offset = {"last": -1, "previous": -1, "this": 0, "current": 0, "next": 1}[match[1].lower()]
    return _period_of(match[2].lower(), today, offset)


def _lately(match: re.Match, today: datetime) -> Span:
    """`in the last 3 weeks`: up to the end of today."""
    days = UNIT_DAYS[match[3].lower()] * _count(match[1] or "one")
    return today - timedelta(days=days), today + timedelta(days=1)


def _ago(match: re.Match, today: datetime) -> Span:
    """`two weeks ago`: that day, with half a unit of doubt on either side."""
    count, unit = _count(match[1]), match[2].lower()
    days = UNIT_DAYS[unit]
    doubt = timedelta(days=days / 2 if unit != "day" else 0)
    day = today - timedelta(days=days * count)
    return day - doubt, day + doubt + timedelta(days=1)


def _named_day(match: re.Match, today: datetime) -> Span:
    offset = {"today": 0, "yesterday": -1, "tomorrow": 1, "the day before yesterday": -2}
    return _period_of("day", today, offset[" ".join(match[0].lower().split())])


def _weekday(match: re.Match, today: datetime) -> Span:
    """The latest one before today."""
    back = (today.weekday() - DAYS.index(match[1].lower()) - 1) % 7 + 1
    return _period_of("day", today, -back)


def _month_of(name: str) -> int:
    return next(number for number, month in enumerate(MONTHS, 1) if month.startswith(name.lower()[:3]))


def _date(match: re.Match, today: datetime) -> Span:
    return _period_of("day", datetime(int(match["y"]), int(match["m"]), int(match["d"]), tzinfo=UTC), 0)


def _written_date(match: re.Match, today: datetime) -> Span:
    day = datetime(int(match["y"] or today.year), _month_of(match["m"]), int(match["d"]), tzinfo=UTC)
    if not match["y"] and day > today:
        day = day.replace(year=day.year - 1)
    return _period_of("day", day, 0)


def _month(match: re.Match, today: datetime) -> Span:
    """Without a year the latest one that has begun."""
    number = _month_of(match["m"])
    year = int(match["y"]) if match["y"] else today.year - (number > today.month)
    return _period_of("month", datetime(year, number, 1, tzinfo=UTC), 0)


def _numeric_month(match: re.Match, today: datetime) -> Span:
    return _period_of("month", datetime(int(match["y"]), int(match["m"]), 1, tzinfo=UTC), 0)


def _year(match: re.Match, today: datetime) -> Span:
    return _period_of("year", datetime(int(match["y"]), 1, 1, tzinfo=UTC), 0)


_D, _Y = r"(?P<d>\d{1,2})(?:st|nd|rd|th)?", r"(?P<y>(?:19|20)\d\d)"
_NAME = _MONTH.replace("(", "(?P<m>", 1)
READERS: list[tuple[re.Pattern, Callable[[re.Match, datetime], Span]]] = [
    (re.compile(rf"\b{pattern}", re.IGNORECASE), read)
    for pattern, read in (
        (rf"{_Y}-(?P<m>\d\d)-(?P<d>\d\d)\b", _date),
        (rf"{_D}\s+(?:of\s+)?{_NAME}(?:,?\s+{_Y})?\b", _written_date),
        (rf"{_NAME}\s+{_D}(?:,?\s+{_Y})?\b(?!\d)", _written_date),
        (rf"{_Y}-(?P<m>\d\d)\b", _numeric_month),
        (rf"(?<!\w){_NAME},?\s+(?:of\s+)?{_Y}\b", _month),
        (r"the\s+day\s+before\s+yesterday\b|yesterday\b|today\b|tomorrow\b", _named_day),
        (rf"(?:(?:last|past|previous)\s+{_COUNT}|past())\s+{_UNIT}\b", _lately),
        (rf"{_COUNT}\s+{_UNIT}\s+ago\b", _ago),
        (rf"(last|previous|this|current|next)\s+{_UNIT}\b", _relative),
        (rf"(?:last\s+|past\s+|(?<=\bon\s)|(?<=since\s)|(?<=after\s)|(?<=before\s))({'|'.join(DAYS)})\b", _weekday),
        (rf"(?<=\bin\s){_NAME}\b(?!\s+(?:be|have|not))(?P<y>)", _month),
        (rf"(?<=\bin\s){_Y}\b", _year),
    )
]
