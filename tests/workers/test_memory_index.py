"""The index of the vaults: what is taken over from the disk, and what a question finds afterwards."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager

import pytest

from models import config, database, events, leases, memories, memory_vaults, outbox, workers
from models.errors import PreconditionFailed
from pipelines import notes
from tests.api.conftest import on_sqlite
from workers import memories as commands
from workers import memory_index, memory_search, vaults
from workers.clients import embeddings
from workers.memories import Author, New
from workers.memory_index import Watch
from workers.memory_search import Query
from workers.process import Process

PERSON = Author("ann")


@pytest.fixture
def root(store):
    folder = config.get().vaults_dir / "writer"
    folder.mkdir(parents=True)
    return folder


def index(vault: str = "writer") -> None:
    memory_index.memory_index_vault(f"vault:{vault}")


def live(vault: str = "writer") -> dict[str, memories.Memory]:
    with database.connection():
        rows = memories.some([row[0] for row in memories.known_files(vault).values()])
    return {row.path: row for row in rows.values()}


def found(text: str, **more) -> list[str]:
    hits = memory_search.search(Query(text, **more)).hits
    with database.connection():
        rows = memories.some([hit.key for hit in hits])
    return [rows[hit.key].path for hit in hits]


# --- taking over ---


def test_only_what_differs_is_read_again(root):
    (root / "a.md").write_text("One.")
    (root / "b.md").write_text("Two.")
    index()
    before = live()
    (root / "b.md").write_text("Two and a half.")
    index()
    after = live()
    assert after["a.md"].changed == before["a.md"].changed and after["b.md"].n == 2


def test_a_file_that_was_touched_only_makes_no_version(root):
    (root / "a.md").write_text("One.")
    index()
    os.utime(root / "a.md", (1, 1))
    index()
    assert live()["a.md"].n == 1


def test_a_deleted_file_is_forgotten_and_a_renamed_one_is_not(root):
    (root / "a.md").write_text("Something about owls.")
    (root / "b.md").write_text("Something about bats.")
    index()
    key = live()["a.md"].key
    (root / "a.md").rename(root / "owls.md")
    (root / "b.md").unlink()
    index()
    assert {path: row.key for path, row in live().items()} == {"owls.md": key}
    assert found("owls bats") == ["owls.md"]


def test_a_copy_of_a_note_does_not_take_its_id(root):
    memory, _ = commands.create(New("writer", "The original.", {"title": "One"}), PERSON)
    (root / "copy.md").write_text((root / memory.path).read_text())
    index()
    rows = live()
    assert rows[memory.path].id == memory.id and rows["copy.md"].id is None and rows["copy.md"].problems


def test_what_is_no_note_is_named_and_hides_no_other(root):
    (root / "good.md").write_text("Fine.")
    (root / "big.md").write_bytes(b"x" * (notes.MAX_BYTES + 1))
    (root / "bytes.md").write_bytes(b"\xff\xfe")
    (root / "nul.md").write_bytes(b"a\0b")
    (root / "link.md").symlink_to("/etc/passwd")
    index()
    with database.connection():
        problems = memory_vaults.every()[0].problems
    assert set(live()) == {"good.md"}
    assert [problem.split(":")[0] for problem in problems] == ["big.md", "bytes.md", "nul.md"]


@pytest.mark.parametrize(
    "path", [".git/a.md", "templates/a.md", "node_modules/a.md", "a.md~", "a.txt", "1/2/3/4/5/6/7/8/9/a.md"]
)
@on_sqlite
def test_what_is_left_out_is_not_read(root, path):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("Hidden.")
    index()
    assert live() == {}


@on_sqlite
def test_broken_front_matter_is_a_problem_and_the_text_counts(root):
    (root / "a.md").write_text("---\ntitle: [\n---\nThe walrus sleeps.")
    index()
    assert live()["a.md"].problems and found("walrus") == ["a.md"]


def test_a_killed_rebuild_goes_on_where_it_was(root, monkeypatch):
    monkeypatch.setattr(memory_index, "BATCH", 2)
    for n in range(6):
        (root / f"{n}.md").write_text(f"Note {n} about walnuts.")
    index()
    with database.transaction():
        memory_index.reindex("writer", full=True)
    difference = memory_index.difference("writer")
    with database.connection():
        moved = memory_index._Moved({})
    memory_index._take("writer", difference.changed[:2], moved)
    assert len(found("walnuts")) == 6
    index()
    with database.connection():
        rows = live().values()
    assert {row.generation for row in rows} == {2} and {row.n for row in rows} == {1} and len(found("walnuts")) == 6


def test_progress_is_told(root, monkeypatch):
    monkeypatch.setattr(memory_index, "BATCH", 2)
    for n in range(5):
        (root / f"{n}.md").write_text(f"{n}")
    index()
    with database.connection():
        told = [events.decode(row["data"]) for row in events.after(events.PLATFORM, 0)]
    assert [(e["indexed"], e["total"]) for e in told if e["type"] == "memory_indexed"] == [(2, 5), (4, 5), (5, 5)]


# --- watching ---


def waiting() -> list[str]:
    with database.connection():
        return [row["object_id"] for row in database.rows("SELECT object_id FROM outbox WHERE actor LIKE 'memory%'")]


def test_a_change_by_hand_rings_once(root):
    watch = Watch()
    watch.look()
    with database.transaction():
        outbox.answered("vault:writer", "")
    watch.look()
    assert waiting() == []
    (root / "a.md").write_text("By hand.")
    for _ in range(3):
        watch.rest_until = 0
        watch.look()
    assert waiting() == ["vault:writer"]


def test_looking_rests_nine_times_as_long_as_it_took(root):
    watch = Watch()
    watch.look()
    assert watch.rest_until > 0
    (root / "a.md").write_text("By hand.")
    watch.rest_until += 1000
    watch.look()
    assert waiting() == ["vault:writer"]  # from the first look


# --- one worker at a time ---


def rung() -> list[str]:
    """Rings for the vault, and what then waits."""
    with database.transaction():
        memory_index.ring_vault("writer")
    return waiting()


def test_a_worker_that_finds_another_at_it_leaves_the_doorbell_to_it(root, monkeypatch):
    (root / "a.md").write_text("By hand.")
    embed, during = memory_index.embed, []

    def embedding(found):
        if not during:
            during.append(None)
            index()  # what a second ring does meanwhile
            during[0] = waiting(), [memory.indexed for memory in live().values()]
        return embed(found)

    rung()
    monkeypatch.setattr(memory_index, "embed", embedding)
    index()
    assert during == [(["vault:writer"], [False])]
    assert waiting() == [] and live()["a.md"].indexed


def test_the_turn_of_a_worker_that_has_died_is_taken(root):
    (root / "a.md").write_text("By hand.")
    alive, dead = (f"idx_1 {workers.host()} {pid} {workers.process_started(os.getpid())}" for pid in (os.getpid(), 1))
    leases.hold("vault:writer", alive, 60_000)
    index()
    assert not live()
    leases.release("vault:writer", alive)
    leases.hold("vault:writer", dead, 60_000)
    index()
    assert live()["a.md"].indexed


def test_what_changes_while_the_index_is_made_is_seen_afterwards(root):
    watch = Watch()
    watch.look()
    with database.transaction():
        outbox.answered("vault:writer", "")
    rung()  # a worker is at it, and has read all files
    (root / "late.md").write_text("Late.")
    watch.rest_until = 0
    watch.look()
    with database.transaction():
        outbox.answered("vault:writer", "")
    watch.rest_until = 0
    watch.look()
    assert waiting() == ["vault:writer"]


@pytest.mark.parametrize("part", ["take_over", "embed"])
def test_a_rebuild_that_is_asked_for_meanwhile_is_not_answered_by_the_one_before(root, monkeypatch, part):
    (root / "a.md").write_text("By hand.")
    whole = getattr(memory_index, part)

    def interrupted(given):
        done = whole(given)
        with database.transaction():
            memory_index.reindex("writer", full=True)
        monkeypatch.setattr(memory_index, part, whole)
        return done

    rung()
    monkeypatch.setattr(memory_index, part, interrupted)
    index()
    assert waiting() == ["vault:writer"]
    index()
    assert waiting() == []


def test_a_worker_that_stops_leaves_the_rest_to_the_next_one(root, monkeypatch):
    monkeypatch.setattr(memory_index, "BATCH", 2)
    for n in range(5):
        (root / f"{n}.md").write_text(f"Note {n}.")
    rung()
    with monkeypatch.context() as stopping:
        stopping.setattr(Process, "stopping", True)
        index()
    assert waiting() == ["vault:writer"] and sum(memory.indexed for memory in live().values()) == 2
    index()
    assert waiting() == [] and all(memory.indexed for memory in live().values())


# --- writers ---


def test_of_many_writers_on_one_version_one_wins_and_nothing_is_lost(root):
    memory, _ = commands.create(New("writer", "Zero.", {"title": "Count"}), PERSON)
    outcomes = []

    def write(n: int) -> None:
        try:
            commands.update("writer", memory.path, f"Text {n}.", Author(f"w{n}"), [memory.version])
            outcomes.append(n)
        except PreconditionFailed:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [n for n in outcomes if n is not None]
    assert (root / memory.path).read_text().endswith(f"Text {winner}.") and live()[memory.path].n == 2


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(root, monkeypatch):
    memory, _ = commands.create(New("writer", "Before.", {"title": "One"}), PERSON)
    monkeypatch.setattr(memory_index, "ring_note", lambda key: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        commands.update("writer", memory.path, "After.", PERSON)
    assert (root / memory.path).read_text().endswith("Before.") and live()[memory.path].n == 1
    assert [path.name for path in (root / memory.path).parent.iterdir()] == [(root / memory.path).name]


# --- vectors ---


def test_another_model_makes_all_vectors_anew(root, setting, monkeypatch):
    monkeypatch.setattr(memory_index, "BATCH", 2)
    for n in range(5):
        (root / f"{n}.md").write_text(f"Note {n} about otters.")
    setting(EMBEDDINGS="static")
    index()
    assert widths() == {2 * 256} and found("otter pups", mode="semantic")
    setting(EMBEDDINGS="minilm")
    index()
    assert widths() == {2 * 384} and len(found("otter pups", mode="semantic")) == 5
    before = live()
    index()
    assert {path: row.changed for path, row in live().items()} == {path: row.changed for path, row in before.items()}


def widths() -> set[int]:
    """Bytes of the vectors that are stored."""
    with database.connection():
        return {len(vector) for (vector,) in database.execute("SELECT vector FROM memory_chunks").fetchall()}


def test_a_model_that_was_changed_half_way_is_changed_by_the_next_worker(root, setting, monkeypatch):
    for n in range(5):
        (root / f"{n}.md").write_text(f"Note {n} about otters.")
    setting(EMBEDDINGS="static")
    index()
    setting(EMBEDDINGS="minilm")
    monkeypatch.setattr(memory_index, "BATCH", 2)
    with monkeypatch.context() as killed:
        killed.setattr(memory_vaults, "set_embedder", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index()
    index()
    assert widths() == {2 * 384}


@pytest.mark.parametrize(("model", "within"), [("static", [True]), ("minilm", [False])])
def test_only_a_quick_model_is_asked_while_the_vault_is_locked(root, setting, monkeypatch, model, within):
    setting(EMBEDDINGS=model)
    embedder, held, asked = embeddings.current(), [], []
    embed, locked = embedder.embed, vaults.locked

    @contextmanager
    def watched(vault):
        with locked(vault):
            held.append(vault)
            yield
            held.clear()

    monkeypatch.setattr(vaults, "locked", watched)
    monkeypatch.setattr(embedder, "embed", lambda texts: asked.append(bool(held)) or embed(texts))
    (root / "a.md").write_text("One.")
    index()
    assert asked == within and live()["a.md"].indexed


# --- asking ---


def test_a_question_about_a_time_finds_what_is_of_that_time(root):
    for day in ("2026-05-03", "2026-06-10", "2026-06-17"):
        (root / f"{day}.md").write_text(f"---\ncreated: {day}\n---\nThe team met and talked about the roof.")
    index()
    now = notes.as_ms("2026-06-17T12:00:00Z")
    assert found("What did the team talk about last week?", now=now)[0] == "2026-06-10.md"
    assert found("What did the team talk about in May 2026?", now=now)[0] == "2026-05-03.md"
    assert found("what did we talk about today", now=now)[0] == "2026-06-17.md"


def test_a_link_brings_its_note_along(root):
    (root / "owner.md").write_text("Quill looks after the harbour.\n\nSee [[facts]].")
    (root / "facts.md").write_text("Ships may stay for ninety minutes.")
    for n in range(30):
        (root / f"other-{n}.md").write_text(f"Nothing of importance, number {n}.")
    index()
    hits = memory_search.search(Query("who is Quill")).hits
    assert [hit.signals["graph"]["rank"] for hit in hits if "graph" in hit.signals]
    assert found("who is Quill")[:2] == ["owner.md", "facts.md"]


def test_without_a_model_words_alone_are_compared(root, monkeypatch):
    (root / "a.md").write_text("The walrus sleeps.")
    index()
    monkeypatch.setitem(embeddings.BUILT_IN, "minilm", ("no_such_package", None))
    embeddings._built_in.cache_clear()
    result = memory_search.search(Query("walrus"))
    embeddings._built_in.cache_clear()
    assert (result.mode, len(result.hits)) == ("keyword", 1)


def test_what_is_counted_in_one_vault_says_nothing_about_another(root):
    (root / "a.md").write_text("alpha beta")
    index()
    before = memory_search.search(Query("alpha", ("writer",), mode="keyword")).hits[0].signals
    other = config.get().vaults_dir / "other"
    other.mkdir()
    for n in range(5):
        (other / f"{n}.md").write_text("alpha " * 5)
    index("other")
    assert memory_search.search(Query("alpha", ("writer",), mode="keyword")).hits[0].signals == before


def test_searches_and_writes_at_the_same_time_do_not_meet(root):
    for n in range(20):
        (root / f"{n}.md").write_text(f"Note {n} about walnuts, see [[{(n + 1) % 20}]].")
    index()
    failures, done = [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                found("walnuts")
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(20):
        commands.create(New("writer", f"Another walnut, number {n}."), PERSON)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
