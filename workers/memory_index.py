"""The index of the vaults, kept by workers: what was done by hand is taken over, what was written gets its vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog

from models import config, database, events, leases, memories, memory_vaults, outbox, workers
from models.base import dumps, new_id, now_ms
from models.errors import DjinnBotError
from models.events import Event
from models.memories import Memory
from pipelines import notes
from workers import memory_rows, vaults
from workers.broker import actor, doorbell
from workers.clients import embeddings
from workers.memory_rows import DISK, Draft
from workers.process import Process

log = structlog.get_logger(__name__)

BATCH = 200  # notes of one transaction
TURN_MS = 120_000  # a worker that has not renewed its turn for so long has lost it
DUTY = 9  # for each second of looking at the disk, so many of rest
OF_VAULT, OF_NOTE = "vault:", "memory:"  # what the doorbells carry, + name or key


def ring_vault(vault: str) -> bool:
    """Rings for the vault's index unless that was done and is not answered yet; in the enclosing transaction."""
    fresh = not outbox.stands(OF_VAULT + vault, "")
    if fresh:
        doorbell("memory_index_vault", OF_VAULT + vault)
    return fresh


def ring_note(key: int) -> None:
    doorbell("memory_index_file", f"{OF_NOTE}{key}")


@actor
def memory_index_vault(name: str) -> None:
    """Brings the index up to the files; where it was killed, the next one goes on. One worker at a time does it."""
    vault, owner = name.removeprefix(OF_VAULT), f"{new_id('idx_')} {workers.mark()}"
    if not _takes_turn(name, owner):
        return
    try:
        whole = _bring_up(vault, owner)
    finally:
        leases.release(name, owner)
    with database.transaction():
        if whole == memory_vaults.generation(vault):
            outbox.answered(name, "")


def _takes_turn(name: str, owner: str) -> bool:
    """False while another worker is at it: that one answers the doorbell."""
    return leases.hold(name, owner, TURN_MS) or (leases.bury(name) and leases.hold(name, owner, TURN_MS))


def _bring_up(vault: str, owner: str) -> int | None:
    """The generation that is complete now; None if this worker had to stop."""
    with database.transaction():
        generation = memory_vaults.begin(vault)
    change_models(vault)
    take_over(vault)
    while embed(memories_without_vectors(vault)):
        if Process.stopping:
            return None
        leases.hold(OF_VAULT + vault, owner, TURN_MS)
    return generation


@actor
def memory_index_file(name: str) -> None:
    """Makes the vectors of one note."""
    with database.connection():
        found = memories.some([int(name.removeprefix(OF_NOTE))])
    embed([memory for memory in found.values() if not memory.indexed])
    with database.transaction():
        outbox.answered(name, "")


# --- vectors ---


def memories_without_vectors(vault: str) -> list[Memory]:
    with database.connection():
        return memories.bare(vault, BATCH)


def change_models(vault: str) -> None:
    """Drops the vectors of another model than today's, a batch at a time; killed midway, the next one begins again."""
    embedder = embeddings.current()
    with database.connection():
        made_by = memory_vaults.embedder(vault)
    if embedder is None or made_by == embedder.name:
        return
    while _drop_some(vault):
        pass
    with database.transaction():
        memory_vaults.set_embedder(vault, embedder.name)


def _drop_some(vault: str) -> int:
    with database.transaction():
        return memories.drop_vectors(vault, BATCH)


def embed(found: Sequence[Memory]) -> bool:
    """Makes the vectors of these notes; whether there was something to do."""
    embedder = embeddings.current()
    if not found or embedder is None:
        return False
    with database.connection():
        texts, chunks = memories.texts(found), memories.chunks([memory.key for memory in found])
    bodies = {memory.key: notes.parse(texts[memory.key], memory.path) for memory in found}
    passages = [
        memory_rows.passages(bodies[c.key].title, bodies[c.key].body, [(c.start, c.stop)] if c.stop else [])[0]
        for c in chunks
    ]
    vectors = embedder.embed(passages)
    rows = [(c.key, c.no, memory_rows.packed(vector)) for c, vector in zip(chunks, vectors, strict=True)]
    with database.transaction():
        number = memories.next_number()
        asked = {memory.key: memory.version for memory in found}
        still = {key for key, memory in memories.some(list(bodies)).items() if memory.version == asked[key]}
        memories.set_vectors([row for row in rows if row[0] in still], sorted(still), number)
    return True


# --- taking over what was done by hand ---


@dataclass(slots=True)
class Difference:
    """Between a vault's files and its rows: paths to be read, {path: key} of files that are gone."""

    changed: list[str]
    gone: dict[str, int]

    def __bool__(self) -> bool:
        return bool(self.changed or self.gone)


def difference(vault: str) -> Difference:
    on_disk = vaults.files(vaults.folder(vault))
    with database.connection():
        known, generation = memories.known_files(vault), memory_vaults.generation(vault)
    changed = [path for path, mark in on_disk.items() if known.get(path, (0,))[1:] != (mark, generation)]
    gone = {path: row[0] for path, row in known.items() if path not in on_disk}
    return Difference(sorted(changed), gone)


def take_over(vault: str) -> None:
    """Reads what differs, a batch at a time, each complete in itself."""
    found, root = difference(vault), vaults.folder(vault)
    problems: dict[str, str] = {}
    moved = _Moved(found.gone)
    for at in range(0, len(found.changed), BATCH):
        part = found.changed[at : at + BATCH]
        with vaults.locked(vault):
            problems |= _take(vault, part, moved)
        _tell(vault, at + len(part), len(found.changed))
    with vaults.locked(vault), database.transaction():
        lost = [key for path, key in moved.left.items() if not vaults.exists(root, path)]
        lost += _unreadable(vault, list(problems))
        memory_vaults.begin(vault)
        if lost:
            memories.forget(lost, now_ms(), memories.next_number())
        memory_vaults.note_problems(vault, _shown(problems))
        if found:
            done = {"vault": vault, "indexed": len(found.changed), "total": len(found.changed), "deleted": len(lost)}
            events.note(Event("memory_indexed", payload=done))


class _Moved:
    """Files that are gone from where they were: a new file with the same id or text is one of them."""

    def __init__(self, gone: dict[str, int]) -> None:
        self.left = dict(gone)
        with database.connection():
            rows = [
                row
                for at in range(0, len(gone), BATCH)
                for row in memories.some(list(gone.values())[at : at + BATCH]).values()
            ]
        self._by_id = {row.id: row for row in rows if row.id}
        self._by_text = {row.version: row for row in rows}

    def take(self, draft: Draft) -> int | None:
        """The key of the memory that was moved to the draft's path."""
        row = self._by_id.get(draft.note.id) or self._by_text.get(notes.digest(draft.document))
        return self.left.pop(row.path, None) if row is not None else None


def _take(vault: str, paths: Sequence[str], moved: _Moved) -> dict[str, str]:
    """Reads these files and stores them; {path: why it is no note}. Under the vault's lock."""
    root = vaults.folder(vault)
    with database.connection():
        known, generation = memories.known_files(vault, paths), memory_vaults.generation(vault)
    read = {path: vaults.read(root, path, known.get(path, (None,))[0]) for path in paths}
    problems = {path: found for path, found in read.items() if isinstance(found, str)}
    drafts = [draft for draft in read.values() if not isinstance(draft, str)]
    fresh = [draft for draft in drafts if known.get(draft.path, (0,))[1:] != (draft.mark, generation)]
    fresh = [draft if draft.key is not None else replace(draft, key=moved.take(draft)) for draft in fresh]
    if fresh:
        write = memory_rows.store(vault, fresh, DISK, embed=_is_quick())
        with database.transaction():
            write()
    return problems


def _is_quick() -> bool:
    """Whether vectors may be made while the vault is locked; others follow."""
    embedder = embeddings.current()
    return embedder is not None and embedder.quick


def _unreadable(vault: str, paths: Sequence[str]) -> list[int]:
    """Notes whose file is no note any more."""
    return [row[0] for row in memories.known_files(vault, paths).values()] if paths else []


def _shown(problems: dict[str, str]) -> str:
    return dumps([f"{path}: {why}" for path, why in sorted(problems.items())][:100])


def _tell(vault: str, done: int, total: int) -> None:
    """Progress, of what takes more than one batch."""
    if done < total:
        with database.transaction():
            events.note(
                Event("memory_indexed", payload={"vault": vault, "indexed": done, "total": total, "deleted": 0})
            )


def reindex(vault: str, full: bool) -> None:
    """Rings for the vault's index; `full`: every note is read again. In the enclosing transaction."""
    memory_vaults.begin(vault)
    if full:
        memory_vaults.next_generation(vault)
    ring_vault(vault)


# --- watching ---


@dataclass
class Watch:
    """Rings for vaults whose files are not as they were; looks less often when looking takes long.

    A vault whose index is being made is looked at again: it may have changed where the worker has been already.
    """

    seen: dict[str, int] = field(default_factory=dict)  # vault -> its files, hashed
    rest_until: float = 0.0

    def look(self) -> None:
        """Raises OSError."""
        started = time.monotonic()
        if started < self.rest_until:
            return
        with database.connection():
            known = {vault.name for vault in memory_vaults.every()}
        for vault in sorted({*vaults.installed(), *known}):
            self._look_at(vault)
        self.rest_until = time.monotonic() + DUTY * (time.monotonic() - started)

    def _look_at(self, vault: str) -> None:
        now = hash(frozenset(vaults.files(config.get().vaults_dir / vault).items()))
        if self.seen.get(vault) == now:
            return
        try:
            if difference(vault) or vault not in self.seen:
                with database.transaction():
                    if not ring_vault(vault):
                        return
        except DjinnBotError as error:
            log.warning("vault_not_watched", vault=vault, error=str(error))
            return
        self.seen[vault] = now
