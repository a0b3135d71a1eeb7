"""Memories: the commands that change them. The file is the truth: it is what is compared, and swapped in one step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from models import config, database, events, memories, memory_vaults
from models.base import new_id, now_ms
from models.errors import Conflict, Invalid, NotFound, PreconditionFailed
from models.events import Event
from models.memories import Memory
from pipelines import notes, personas
from pipelines.notes import QUARANTINED, SHARED
from workers import memory_index, memory_rows, near_duplicates, vaults
from workers.memory_rows import API, Draft

KEYS = ("title", "type", "category", "tags", "author")  # of a new note's front matter, in this order
STAMPED = {"created", "date", "createdAt", "created_at", "timestamp"}  # with one of them, a change has its time, too
NAMED = 20  # numbers tried before a name is given up


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes, and how: `source` is api or agent, `tainted` what a run has read from outside."""

    name: str
    source: str = API
    tainted: bool = False


@dataclass(frozen=True, slots=True)
class New:
    """A memory to be made. `front`: its front matter; `path` None: after its title."""

    vault: str
    body: str
    front: dict[str, Any] = field(default_factory=dict)
    path: str | None = None
    on_duplicate: str = "allow"  # or warn, reject


@dataclass(frozen=True, slots=True)
class Text:
    """A file to be written: the next text of `memory`, or a new one."""

    path: str
    document: str
    memory: Memory | None = None


def check_vault(vault: str) -> None:
    """Raises Invalid unless it is shared, or an agent's, or there already."""
    known = vault == SHARED or personas.is_agent(config.get().agents_dir / vault) or memory_vaults.generation(vault)
    if not known:
        raise Invalid(f"There is no agent {vault}", "unknown_agent", {"agent_id": ["no such agent"]})


def front_of(given: dict[str, Any]) -> dict[str, Any]:
    """Front matter from fields of a request or of a tool."""
    front = {name: given[name] for name in (*KEYS, "supersedes", "links") if given.get(name)}
    if given.get("valid_from") is not None:
        front["valid_from"] = notes.iso(given["valid_from"])
    return front


def inbox_path() -> str:
    return f"inbox/note-{now_ms()}.md"


# --- create ---


def create(new: New, author: Author) -> tuple[Memory, list[dict[str, Any]]]:
    """(the memory, notes that say nearly the same). Raises Invalid, Conflict."""
    with vaults.locked(new.vault) as root:
        duplicates = near_duplicates.of(new.vault, new.body) if new.on_duplicate != "allow" else []
        if duplicates and new.on_duplicate == "reject":
            raise Conflict("A memory says nearly the same", "near_duplicate", duplicates=duplicates)
        path = _free_path(root, new)
        named = {} if notes.has_heading(new.body) else {"title": notes.first_words(new.body)}
        front = _headed(named | new.front, new.vault, author)
        text = Text(path, notes.write(front, new.body))
        return write(new.vault, [text, *superseded(root, new.vault, front)], author)[0], duplicates


def _free_path(root: Any, new: New) -> str:
    """Where the note goes. Raises Conflict if its name is taken, Invalid."""
    if new.path is not None:
        vaults.refused(new.path)
        if vaults.exists(root, new.path):
            raise Conflict(f"There is a memory {new.path} already", "memory_exists")
        return new.path
    title = new.front.get("title") or notes.first_words(new.body)
    folder, name = (
        notes.slug(str(new.front.get("category") or new.front.get("type") or "inbox")),
        notes.slug(str(title)),
    )
    tried = [f"{folder}/{name}.md", *(f"{folder}/{name}-{n}.md" for n in range(2, NAMED)), f"{folder}/{new_id('')}.md"]
    return next(path for path in tried if not vaults.exists(root, path))


def superseded(root: Any, vault: str, front: dict[str, Any]) -> list[Text]:
    """The notes that one with that front matter takes the place of, with the end of their time.

    Raises NotFound, Conflict.
    """
    found: list[Text] = []
    if front.get("status") == QUARANTINED:  # what nobody has approved takes no other memory's place
        return found
    names = front.get("supersedes") or []
    for name in names if isinstance(names, list) else [names]:
        old = memories.by_id(name) if notes.may_be_id(name) else memories.get(vault, name)
        if old.vault != vault:
            raise NotFound(f"Memory {name} not found in {vault}", "memory_not_found")
        old = current(root, old.vault, old.path) or old
        if old.superseded_by:
            raise Conflict(f"{old.path} is superseded by {old.superseded_by} already", "already_superseded")
        found.append(with_front(old, valid_to=front.get("valid_from") or front["created"], superseded_by=front["id"]))
    return found


def _headed(front: dict[str, Any], vault: str, author: Author) -> dict[str, Any]:
    """The front matter of a new note: what is given, who wrote it and when."""
    given = dict(front)
    head = {"id": new_id(memories.PREFIX)} | {name: given.pop(name) for name in KEYS if name in given}
    for name in ("id", "status", "created"):
        given.pop(name, None)
    head |= {"created": notes.iso(now_ms()), "author": head.get("author") or author.name} | given
    return _quarantined(head, vault, author)


def _quarantined(front: dict[str, Any], vault: str, author: Author) -> dict[str, Any]:
    """What a tainted run writes for all waits for a person."""
    return front | {"status": QUARANTINED} if author.tainted and vault == SHARED else front


# --- change ---


def update(
    vault: str, path: str, content: str, author: Author, expected: Sequence[str] = (), create: bool = False
) -> Memory:
    """Another text: with front matter all of it, without it the body. `expected`: versions, one of which must stand.

    Raises NotFound, PreconditionFailed, Invalid.
    """
    with vaults.locked(vault) as root:
        memory = current(root, vault, path)
        if memory is None:
            if not create:
                raise NotFound(f"There is no memory {path[:300]} in {vault}", "memory_not_found")
            vaults.refused(path)
        check(memory, expected)
        document = _replaced(memory, content, vault, author)
        same = memory is not None and notes.digest(document) == memory.version
        return memory if same else write(vault, [Text(path, document, memory)], author)[0]


def _replaced(memory: Memory | None, content: str, vault: str, author: Author) -> str:
    """The whole new text; a memory keeps its id. What says the same as before is the text from before."""
    given = vaults.parsed(content, "x.md")
    if memory is None:
        return notes.write(_headed(given.front, vault, author), given.body)
    with database.connection():
        text = memories.text(memory)
    before = notes.parse(text, memory.path)
    front = given.front if notes.has_front_matter(content) else before.front
    if given.body == before.body and _meant(front) == _meant(before.front):
        return text
    front = {"id": memory.id or new_id(memories.PREFIX)} | _meant(front)
    stamp = {"updated": notes.iso(now_ms())} if front.keys() & STAMPED else {}
    stamp |= {"status": QUARANTINED} if before.status == QUARANTINED else {}  # only an admin lets it out
    return notes.write(_quarantined(front | stamp, vault, author), given.body)


def _meant(front: dict[str, Any]) -> dict[str, Any]:
    """What a person says, not we."""
    return {name: value for name, value in front.items() if name not in ("id", "updated")}


def with_front(memory: Memory, **values: Any) -> Text:
    """The same note with other values in its front matter; None takes a key out."""
    with database.connection():
        note = notes.parse(memories.text(memory), memory.path)
    front = {"id": memory.id or new_id(memories.PREFIX)} | note.front | values
    return Text(memory.path, notes.write(front, note.body), memory)


def remove(vault: str, path: str, author: Author, expected: Sequence[str] = ()) -> None:
    """Deletes the file; its texts stay in the history. Raises NotFound, PreconditionFailed."""
    with vaults.locked(vault) as root:
        memory = current(root, vault, path)
        if memory is None:
            raise NotFound(f"There is no memory {path[:300]} in {vault}", "memory_not_found")
        check(memory, expected)
        with database.transaction():
            memories.forget([memory.key], now_ms(), memories.next_number())
            _note("memory_deleted", memory, author)
            vaults.remove(root, path)


def restore(memory: Memory, content: str, author: Author, expected: Sequence[str] = ()) -> Memory:
    """An older text as the newest one, of a deleted memory too. Raises Conflict, PreconditionFailed."""
    with vaults.locked(memory.vault) as root:
        here = current(root, memory.vault, memory.path)
        if here is not None and here.key != memory.key:
            raise Conflict(f"Another memory stands at {memory.path} now", "memory_exists")
        check(here or memory, expected)
        return write(memory.vault, [Text(memory.path, content, here or memory)], author)[0]


def current(root: Any, vault: str, path: str) -> Memory | None:
    """The memory as its file stands, under the vault's lock: what was done by hand is taken over first."""
    with database.connection():
        known = memories.known_files(vault, [path]).get(path)
    found = vaults.read(root, path, known and known[0]) if vaults.exists(root, path) else None
    if isinstance(found, str):
        raise Invalid(f"{path[:300]}: {found}", "unreadable_note", {"filename": [found]})
    if (found is None) != (known is None) or (found is not None and found.mark != known[1]):
        _taken_over(vault, path, found, known and known[0])
    with database.connection():
        return memories.get(vault, path) if found is not None else None


def _taken_over(vault: str, path: str, found: Draft | None, key: int | None) -> None:
    write = memory_rows.store(vault, [found], memory_rows.DISK) if found is not None else None
    with database.transaction():
        if write is None:
            memories.forget([key], now_ms(), memories.next_number())
        else:
            memory_index.ring_note(write()[path])


def check(memory: Memory | None, expected: Iterable[str]) -> None:
    """Raises PreconditionFailed unless one of the expected versions stands."""
    expected = list(expected)
    if expected and "*" not in expected and (memory is None or memory.version not in expected):
        raise PreconditionFailed("The memory was changed meanwhile: read it again")


def write(vault: str, texts: Sequence[Text], author: Author) -> list[Memory]:
    """Files and rows in one step, under the vault's lock. Raises Invalid."""
    with contextlib.ExitStack() as files:
        drafts, pending = [], []
        for text in texts:
            note = vaults.parsed(text.document, text.path)
            file = files.enter_context(vaults.writing(vaults.folder(vault), text.path, text.document))
            key = text.memory.key if text.memory else None
            drafts.append(Draft(text.path, text.document, note, file.modified, file.mark, key))
            pending.append(file)
        stored = memory_rows.store(vault, drafts, author.source, author.name)
        with database.transaction():
            written = memories.some(list(stored().values()))
            for memory in written.values():
                memory_index.ring_note(memory.key)
                _note("memory_written", memory, author)
            for file in pending:
                file.put()
    by_path = {memory.path: memory for memory in written.values()}
    return [by_path[text.path] for text in texts]


def _note(type: str, memory: Memory, author: Author) -> None:
    facts = {"vault": memory.vault, "path": memory.path, "memory_id": memory.id, "version": memory.version}
    events.note(Event(type, payload=facts | {"by": author.name}))
