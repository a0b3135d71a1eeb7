"""What values a setting may have: each kind says what is wrong with a value, and describes itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Kind(Protocol):
    type: str

    @property
    def range(self) -> str:
        """For people: `1..20`, `off | check`."""

    def problem(self, value: Any) -> str | None:
        """Why the value is refused."""


@dataclass(frozen=True, slots=True)
class Text:
    longest: int
    type: str = "string"

    @property
    def range(self) -> str:
        return f"0..{self.longest} characters"

    def problem(self, value: Any) -> str | None:
        fits = isinstance(value, str) and len(value) <= self.longest
        return None if fits else f"must be a text of at most {self.longest} characters"


@dataclass(frozen=True, slots=True)
class OneOf:
    options: Sequence[str]
    type: str = "string"

    @property
    def range(self) -> str:
        return " | ".join(self.options)

    def problem(self, value: Any) -> str | None:
        return None if value in self.options else f"must be one of: {', '.join(self.options)}"


@dataclass(frozen=True, slots=True)
class Integer:
    """`or_zero`: 0 is allowed beside the range."""

    low: int
    high: int
    or_zero: bool = False
    type: str = "integer"

    @property
    def range(self) -> str:
        return f"{'0 or ' if self.or_zero else ''}{self.low}..{self.high}"

    def problem(self, value: Any) -> str | None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits = whole and (self.low <= value <= self.high or (self.or_zero and value == 0))
        return None if fits else f"must be an integer, {self.range}"


@dataclass(frozen=True, slots=True)
class Amount:
    type: str = "number"

    @property
    def range(self) -> str:
        return "0 or more"

    def problem(self, value: Any) -> str | None:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        return None if fits else "must be a number, 0 or more"


@dataclass(frozen=True, slots=True)
class Flag:
    type: str = "boolean"

    @property
    def range(self) -> str:
        return "true | false"

    def problem(self, value: Any) -> str | None:
        return None if isinstance(value, bool) else "must be true or false"


@dataclass(frozen=True, slots=True)
class Several:
    """A list without repeats."""

    item: Kind
    most: int
    type: str = "array"

    @property
    def range(self) -> str:
        return f"up to {self.most} of: {self.item.range}"

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, list) or len(value) > self.most:
            return f"must be a list of at most {self.most}"
        reasons = (reason for item in value if (reason := self.item.problem(item)))
        return next(reasons, None) or (None if _distinct(value) else "names something twice")


@dataclass(frozen=True, slots=True)
class Mapping:
    """`{text: value}`."""

    key: Text
    value: Kind
    most: int
    type: str = "object"

    @property
    def range(self) -> str:
        return f"up to {self.most} entries, each {self.value.range}"

    def problem(self, value: Any) -> str | None:
        if not isinstance(value, dict) or len(value) > self.most:
            return f"must be an object of at most {self.most} entries"
        reasons = ((name, self.key.problem(name) or self.value.problem(item)) for name, item in value.items())
        return next((f"{name}: {reason}" for name, reason in reasons if reason), None)


def _distinct(items: list) -> bool:
    return len(set(items)) == len(items)
