"""One line per experiment: what was done to how many runs, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    experiment: str
    kind: str  # of database and queue
    seed: int
    n: int = 0
    lost: int = 0
    duplicates: int = 0
    figures: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        rest = "; ".join(f"{name} {value}" for name, value in self.figures.items())
        return " | ".join(map(str, (self.experiment, self.kind, self.n, self.seed, self.lost, self.duplicates, rest)))


HEAD = "experiment | stores | N | seed | lost | duplicates | figures"


def share(values: list[float], part: float) -> float:
    """The smallest value that `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]


def seconds(values: list[float]) -> str:
    """p50, p95 and the largest of so many."""
    if not values:
        return "none"
    return f"{share(values, 0.5):.2f} / {share(values, 0.95):.2f} / {max(values):.2f} s (of {len(values)})"
