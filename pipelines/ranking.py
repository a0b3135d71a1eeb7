"""How the signals of a search become one score. The weights are changed only with a run of `bench.memory`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

KEYWORD, SEMANTIC, GRAPH, TIME = SIGNALS = ("keyword", "semantic", "graph", "time")
WEIGHTS = {KEYWORD: 1.0, SEMANTIC: 1.0, GRAPH: 0.3}
TIME_WEIGHT = 1.0  # only of a question that names a time
DAMPING = 60
SEMANTIC_FLOOR = 0.0  # a cosine below says nothing
KEYWORD_STEP = 0.15  # of what a note can score at most: smaller differences of BM25 are differences of length
EMPHASIS = 10  # how often the rarest word of a question is repeated in its second reading
SOURCES = 10  # best notes from which links are followed
POOL = 1000  # best notes of a signal that are looked at more closely; the others cannot come among the first hundred
PLAIN, RECENCY, USEFULNESS = 0.85, 0.10, 0.05
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Signal:
    """The scores of every note by one measure; notes at `floor` or below do not count.

    `steps`: what ranks are made of, if not the scores themselves.
    """

    scores: np.ndarray
    floor: float = 0.0
    steps: np.ndarray | None = None

    @property
    def _ranked(self) -> np.ndarray:
        return self.scores if self.steps is None else self.steps

    def best(self) -> np.ndarray:
        """Places of the best POOL notes and of those that equal the last of them."""
        above = np.flatnonzero(self.scores > self.floor)
        if len(above) <= POOL:
            return above
        values = self._ranked[above]
        return above[values >= np.partition(values, -POOL)[-POOL]]

    def ranks(self, places: np.ndarray) -> np.ndarray:
        """The rank of each, equal ones sharing the better; 0 for those that do not count."""
        counted = np.sort(self._ranked[self.scores > self.floor])
        ranks = len(counted) - np.searchsorted(counted, self._ranked[places], side="right") + 1
        return np.where(self.scores[places] > self.floor, ranks, 0)


def levels(scores: np.ndarray, most: float) -> np.ndarray:
    """BM25 in steps, so that notes with the same words of the question are equal and their meaning decides."""
    return np.ceil(scores / np.float32(max(KEYWORD_STEP * most, 1e-9)))


def emphasised(words: Mapping[str, float]) -> str:
    """A question's words ({word: how rare, 0..1}) as a text in which the rarer ones weigh more."""
    return " ".join(" ".join([word] * max(1, round(EMPHASIS * share))) for word, share in words.items())


def fuse(ranks: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Reciprocal rank fusion, 1 for what is first everywhere."""
    total = sum(weights.values())
    parts = (weights[name] * np.where(rank > 0, (DAMPING + 1) / (DAMPING + rank), 0.0) for name, rank in ranks.items())
    return sum(parts) / total


def recency(moments: np.ndarray, now: int, half_life_days: float) -> np.ndarray:
    """1 for now, half of it after each half-life."""
    return np.exp2(-np.maximum(now - moments, 0) / (half_life_days * DAY_MS))


def score(rrf: np.ndarray, recent: np.ndarray, useful: np.ndarray) -> np.ndarray:
    return rrf * (PLAIN + RECENCY * recent + USEFULNESS * (1 + useful) / 2)
