"""How well memory finds, and how fast: `python -m bench.memory [quality|speed] [data set.json ...] [notes ...]`.

A data set is `{"name", "vaults": [{"name", "notes": [{"path", "text"}], "questions": [{"kind", "question", "expect":
[path], "now"?}]}]}`; `now` (ISO) is when the question is asked. `docs/memory.md` says more. `EMBEDDINGS=static`
measures the other built-in model.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.report import print_table

DEPTHS = (1, 5, 10)
COUNTS = (1_000, 10_000, 100_000)  # notes
MODES = ("keyword", "semantic", "hybrid")
NAMES = {"keyword": "BM25 alone", "semantic": "vectors alone", "hybrid": "fused"}


def main() -> None:
    os.environ |= {"LOG_LEVEL": "error", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    given = sys.argv[1:]
    sets = [json.loads(Path(path).read_text()) for path in given if path.endswith(".json")]
    if "speed" not in given:
        for data in sets or _own():
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                prepare(folder)
                quality(data)
    if "quality" not in given and not sets:
        for count in [int(count) for count in given if count.isdigit()] or COUNTS:
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                prepare(folder)
                speed(count)


def _own() -> list[dict[str, Any]]:
    from bench import conversations, memory_set

    return [memory_set.build(), conversations.build()]


def prepare(folder: str) -> None:
    from models import config, database, schema

    os.environ["DATA_DIR"] = folder
    config.get.cache_clear()
    database.init()
    schema.migrate()


def write(vault: str, notes: list[dict[str, str]]) -> float:
    """Notes per second, from files to vectors."""
    from models import config
    from workers import memory_index

    for note in notes:
        file = config.get().vaults_dir / vault / note["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(note["text"], "utf-8")
    started = time.perf_counter()
    memory_index.memory_index_vault(f"{memory_index.OF_VAULT}{vault}")
    return len(notes) / (time.perf_counter() - started)


# --- quality ---


def quality(data: dict[str, Any]) -> None:
    for vault in data["vaults"]:
        write(vault["name"], vault["notes"])
    ranks = {mode: defaultdict(list) for mode in MODES}
    for vault in data["vaults"]:
        for question in vault["questions"]:
            for mode in MODES:
                ranks[mode][question["kind"]].append(_ranked(vault["name"], question, mode))
    notes, kinds = sum(len(vault["notes"]) for vault in data["vaults"]), list(ranks["hybrid"])
    for kind in (*kinds, "all"):
        rows = [
            (NAMES[mode], _figures([r for name in kinds if kind in (name, "all") for r in ranks[mode][name]]))
            for mode in MODES
        ]
        count = sum(len(ranks["hybrid"][name]) for name in kinds if kind in (name, "all"))
        print_table(f"{data['name']}, {notes} notes: {count} questions, {kind}", rows)


def _ranked(vault: str, question: dict[str, Any], mode: str) -> list[int | None]:
    """The place (from 0) of each note that is expected, None beyond the tenth."""
    from models import database, memories
    from pipelines import notes
    from workers.memory_search import Query, search

    now = notes.as_ms(question.get("now"))
    hits = search(Query(question["question"], (vault,), DEPTHS[-1], mode=mode, now=now)).hits
    with database.connection():
        rows = memories.some([hit.key for hit in hits])
    paths = [rows[hit.key].path for hit in hits]
    return [paths.index(path) if path in paths else None for path in question["expect"]]


def _figures(found: list[list[int | None]]) -> str:
    recalls = [
        statistics.mean(sum(p is not None and p < k for p in places) / len(places) for places in found) for k in DEPTHS
    ]
    firsts = [min((p for p in places if p is not None), default=None) for places in found]
    mrr = statistics.mean(0 if place is None else 1 / (place + 1) for place in firsts)
    return "  ".join(f"recall@{k} {value:.3f}" for k, value in zip(DEPTHS, recalls, strict=True)) + f"  MRR {mrr:.3f}"


# --- speed ---


def speed(count: int) -> None:
    """Short notes of words as frequent as in a language, questions of eight words from them."""
    from models import database
    from workers.clients import embeddings
    from workers.memory_search import Query, search

    words = _Words()
    per_second = write("bench", [{"path": f"{n % 200}/{n}.md", "text": words.note(n)} for n in range(count)])
    before, started = _rss(), time.perf_counter()
    search(Query("warm up"))
    first, grown = time.perf_counter() - started, _rss() - before
    times = sorted(_timed(lambda: search(Query(words.question()))) for _ in range(300))
    rows = [
        ("indexed", f"{per_second:.0f} notes/s"),
        ("first search (reads the index)", f"{first:.2f} s"),
        ("memory that it takes", f"{grown} MB"),
        ("search, p50 / p99", f"{times[len(times) // 2]:.1f} / {times[int(len(times) * 0.99)]:.1f} ms"),
    ]
    print_table(f"{count} notes, {database.dialect()}, {embeddings.current().name}", rows)


class _Words:
    """A made-up language of 30,000 words with Zipf's frequencies."""

    def __init__(self) -> None:
        import numpy as np

        self._chance = np.random.default_rng(7)
        parts = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "ai", "ou")]
        self._words = np.array(
            ["".join(self._chance.choice(parts, self._chance.integers(2, 5))) for _ in range(30_000)]
        )
        shares = 1 / np.arange(1, len(self._words) + 1)
        self._shares = shares / shares.sum()
        self._drawn: list[str] = []

    def some(self, count: int) -> str:
        if len(self._drawn) < count:
            self._drawn = self._chance.choice(self._words, 200_000, p=self._shares).tolist()
        return " ".join(self._drawn.pop() for _ in range(count))

    def note(self, n: int) -> str:
        return f"---\ntitle: {self.some(4)}\ntags: [bench]\n---\n\n{self.some(30)}\n"

    def question(self) -> str:
        return self.some(8)


def _timed(call: Any) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def _rss() -> int:
    """MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


if __name__ == "__main__":
    main()
