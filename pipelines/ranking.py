"""How the signals of a search become one score. The weights are changed only with a run of `bench.memory`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

KEYWORD, SEMANTIC, GRAPH, TIME = SIGNALS = ("keyword", "semantic", "graph", "time")
WEIGHTS = {KEYWORD: 1.0, SEMANTIC: 1.0, GRAPH: 0.3}
TIME_WEIGHT = 1.0  # only of a question that names a time
DAMPING = 60
LOUDER = 0.7  # share of the reading of a question in which its rare words are louder
SEMANTIC_FLOOR = 0.0  # a cosine below says nothing
SLACK, BINS = 0.2, 1000
EMPHASIS = 10  # how often the rarest word of a question is repeated in its second reading
EVIDENT_SHARE, EVIDENT_COSINE = 0.3, 0.3  # of the most that words can score; of a passage
SOURCES = 10  # best notes from which links are followed
POOL = 1000  # best notes of a signal that count; the next one would add less than a twentieth of the first
PLAIN, RECENCY, USEFULNESS = 0.85, 0.10, 0.05
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Signal:
    """The scores of every note by one measure, and its rank: 0 for those that do not count, equal ones sharing one."""

    scores: np.ndarray
    ranks: np.ndarray


def ranked(scores: np.ndarray, floor: float = 0.0) -> Signal:
    """The best POOL notes count, and those that equal the last of them; none at `floor` or below."""
    ranks = np.zeros(len(scores), np.int32)
    above = np.flatnonzero(scores > floor)
    if len(above) > POOL:
        values = scores[above]
        above = above[values >= np.partition(values, -POOL)[-POOL]]
    values = np.sort(scores[above])
    ranks[above] = len(values) - np.searchsorted(values, scores[above], side="right") + 1
    return Signal(scores, ranks)


def ranked_with_slack(scores: np.ndarray, most: float) -> Signal:
    """BM25, where a note stands behind those only that are better by SLACK of what a note can score at most.

    Notes with the same words of the question differ in little but their length: their meaning decides.
    """
    bins = np.minimum(np.ceil(scores * np.float32(BINS / max(most, 1e-9))), BINS).astype(np.int32)
    not_above = np.cumsum(np.bincount(bins, minlength=BINS + 1))
    ranks = len(bins) - not_above[np.minimum(bins + int(SLACK * BINS), BINS)] + 1
    return Signal(scores, np.where(bins > 0, ranks, 0).astype(np.int32))


def emphasised(words: Mapping[str, float]) -> str:
    """A question's words ({word: how rare, 0..1}) as a text in which the rarer ones weigh more."""
    return " ".join(" ".join([word] * max(1, round(EMPHASIS * share))) for word, share in words.items())


def fuse(signals: Mapping[str, Signal], weights: Mapping[str, float]) -> np.ndarray:
    """Reciprocal rank fusion, 1 for what is first everywhere."""
    total, fused = sum(weights.values()), np.zeros(0, np.float32)
    for name, signal in signals.items():
        share = np.float32(weights[name] / total * (DAMPING + 1))
        part = np.where(signal.ranks > 0, share / (DAMPING + signal.ranks.astype(np.float32)), np.float32(0))
        fused = part if not len(fused) else fused + part
    return fused


def recency(moments: np.ndarray, now: int, half_life_days: float) -> np.ndarray:
    """1 for now, half of it after each half-life."""
    return np.exp2(-np.maximum(now - moments, 0) / (half_life_days * DAY_MS))


def score(rrf: np.ndarray, recent: np.ndarray, useful: np.ndarray) -> np.ndarray:
    return rrf * (PLAIN + RECENCY * recent + USEFULNESS * (1 + useful) / 2)
