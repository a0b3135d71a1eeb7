"""/v1/memory"""

from __future__ import annotations

from pathlib import Path

import pytest

from models import config, database, tokens
from tests.api.conftest import on_sqlite
from tests.chat import install
from workers import memory_index

FIELDS = """id agent_id filename directory category title type tags author created_at updated_at valid_from valid_to
superseded_by status size_bytes preview usefulness recalls version indexed problems"""
ATLAS = "---\ntitle: Atlas index\ntype: decision\ntags: [search, sqlite]\n---\nOne table per vault, see [[tokens]].\n"


def put(path: str, document: str, vault: str = "architect") -> Path:
    """A note, as somebody with an editor makes it."""
    file = config.get().vaults_dir / vault / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document, "utf-8")
    return file


def indexed(vault: str = "architect") -> None:
    memory_index.memory_index_vault(f"vault:{vault}")


def search(api, query: str, **parameters):
    return api.get("/v1/memory/search", query_string={"query": query, **parameters})


def paths(answer) -> list[str]:
    return [memory["filename"] for memory in answer.json]


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


@pytest.fixture
def vault(api):
    """Three notes by hand, two of the architect's and one that all share."""
    put("decision/atlas.md", ATLAS)
    put("tokens.md", "# Tokenizer\n\nWords are cut at every character that is no letter.\n")
    put("release.md", "---\ntitle: Release day\n---\nWe ship on Thursdays.\n", "shared")
    indexed()
    indexed("shared")
    return api


# --- vaults ---


def test_vaults_are_listed_by_name_and_shared_is_always_there(api):
    assert [(v["agent_id"], v["kind"], v["file_count"]) for v in api.get("/v1/memory/vaults").json] == [
        ("shared", "shared", 0)
    ]
    put("a.md", "text")
    indexed()
    found = api.get("/v1/memory/vaults/").json
    assert [(v["agent_id"], v["kind"], v["file_count"], v["pending"]) for v in found] == [
        ("architect", "agent", 1, 0),
        ("shared", "shared", 0, 0),
    ]
    assert found[0]["total_size_bytes"] == 4 and found[0]["updated_at"] > 0


def test_a_vault_lists_its_memories(vault):
    answer = vault.get("/v1/memory/vaults/architect?sort=filename")
    first = answer.json[0]
    assert answer.status_code == 200 and set(first) == set(FIELDS.split())
    assert paths(answer) == ["decision/atlas.md", "tokens.md"]
    assert (first["title"], first["type"], first["category"]) == ("Atlas index", "decision", "decision")
    assert (first["tags"], first["status"], first["indexed"]) == (["search", "sqlite"], "active", True)


@pytest.mark.parametrize("sort", ["updated", "created", "title", "filename"])
def test_a_vault_is_paged_in_any_order(vault, sort):
    whole = paths(vault.get(f"/v1/memory/vaults/architect?sort={sort}"))
    first = vault.get(f"/v1/memory/vaults/architect?sort={sort}&limit=1")
    second = vault.get(first.headers["Link"].split(";")[0].strip("<>"))
    assert paths(first) + paths(second) == whole and "Link" not in second.headers


@pytest.mark.parametrize(
    ("filters", "count"),
    [("category=decision", 1), ("type=fact", 0), ("tag=sqlite", 1), ("tag=lite", 0), ("status=active", 2),
     ("directory=decision", 1), ("category=decision&category=fact", 1)],
)  # fmt: skip
def test_a_vault_is_filtered(vault, filters, count):
    assert len(vault.get(f"/v1/memory/vaults/architect?{filters}").json) == count


@on_sqlite
def test_a_vault_that_nobody_has_is_not_found_and_an_agent_without_one_has_no_memories(api):
    assert code(api.get("/v1/memory/vaults/nobody")) == (404, "vault_not_found")
    install("writer")
    assert api.get("/v1/memory/vaults/writer").json == []


# --- search ---


def test_a_search_finds_by_words_and_shows_where(vault):
    answer = search(vault, "which table does a vault have?")
    hit = answer.json[0]
    assert (answer.status_code, answer.headers["X-Search-Mode"]) == (200, "hybrid")
    assert float(answer.headers["X-Search-Ms"]) >= 0
    assert set(hit) == {*FIELDS.split(), "snippet", "highlights", "score"}
    assert (hit["filename"], hit["agent_id"]) == ("decision/atlas.md", "architect")
    assert [hit["snippet"][a:b] for a, b in hit["highlights"]] == ["table", "vault"]
    assert 0 < hit["score"] <= 1


def test_q_is_query_and_both_must_agree(vault):
    assert vault.get("/v1/memory/search?q=tokenizer").json == search(vault, "tokenizer").json
    assert paths(vault.get("/v1/memory/search?q=tokenizer&query=tokenizer")) != []
    assert code(vault.get("/v1/memory/search?q=a&query=b")) == (422, "conflicting_fields")


@pytest.mark.parametrize(
    "query", ["", "?query=", "?q=%20", "?query=x&mode=magic", "?query=x&limit=0", "?query=x&limit=101"]
)
@on_sqlite
def test_what_is_no_question_is_refused(api, query):
    assert api.get(f"/v1/memory/search{query}").status_code == 422


def test_a_filter_by_vault_is_no_address(vault):
    assert search(vault, "table", agent_id="nobody").json == []
    assert {hit["agent_id"] for hit in search(vault, "ship table", agent_id="architect").json} == {"architect"}
    both = search(vault, "ship table", agent_id="architect", include_shared="true")
    assert {hit["agent_id"] for hit in both.json} == {"architect", "shared"}


def test_shared_memory_is_searched_and_listed(vault):
    assert paths(vault.get("/v1/memory/shared?query=when+do+we+ship")) == ["release.md"]
    newest = vault.get("/v1/memory/shared").json
    assert [(hit["filename"], hit["score"]) for hit in newest] == [("release.md", None)]


def test_reasons_are_given_to_who_asks(vault):
    hit = search(vault, "atlas index table", explain="true").json[0]
    reasons = hit["explain"]
    assert reasons["keyword"]["rank"] == 1 and reasons["semantic"]["rank"] == 1
    assert reasons["weights"]["keyword"] == 1.0 and 0 < reasons["rrf"] <= 1 and 0.9 < reasons["recency"] <= 1


def test_a_short_answer_is_the_beginning_of_a_long_one(vault):
    for n in range(30):
        put(f"more/{n}.md", f"The table of number {n} stands in a vault.")
    indexed()
    long = paths(search(vault, "table vault", limit=50))
    assert len(long) == 31 and all(paths(search(vault, "table vault", limit=k)) == long[:k] for k in (1, 5, 20))


@on_sqlite
def test_a_token_limited_to_vaults_sees_no_others(vault):
    _, secret = tokens.create("narrow", "read", vaults=["shared"])
    headers = {"Authorization": f"Bearer {secret}"}
    vault.environ_base.pop("HTTP_AUTHORIZATION")
    assert [v["agent_id"] for v in vault.get("/v1/memory/vaults", headers=headers).json] == ["shared"]
    assert code(vault.get("/v1/memory/vaults/architect", headers=headers)) == (404, "vault_not_found")
    found = vault.get("/v1/memory/search?query=table+ship", headers=headers).json
    assert {hit["agent_id"] for hit in found} == {"shared"}
    assert vault.get("/v1/memory/search?query=table&agent_id=architect", headers=headers).json == []


# --- notes by path ---


NOTE = "/v1/memory/vaults/architect/decision/atlas.md"


def test_a_note_is_shown_with_its_text_and_links(vault):
    answer = vault.get(NOTE)
    note = answer.json
    assert answer.headers["ETag"] == f'"{note["version"]}"' and note["content"] == ATLAS
    assert (note["body"], note["metadata"]["type"]) == ("One table per vault, see [[tokens]].\n", "decision")
    assert note["links"] == [
        {"target": "tokens", "label": None, "type": "link", "resolved": "tokens.md", "ambiguous": False}
    ]
    back = vault.get("/v1/memory/vaults/architect/tokens.md").json["backlinks"]
    assert back == [{"agent_id": "architect", "filename": "decision/atlas.md", "title": "Atlas index"}]


@pytest.mark.parametrize("path", ["none.md", "decision/none.md", "../shared/release.md", "..%2fshared%2frelease.md"])
def test_a_note_that_is_not_there_is_not_found(vault, path):
    assert vault.get(f"/v1/memory/vaults/architect/{path}").status_code == 404


def test_a_note_is_written_on_top_of_the_version_that_was_read(vault):
    version = vault.get(NOTE).json["version"]
    done = vault.put(NOTE, json={"content": "Two tables."}, headers={"If-Match": f'"{version}"'})
    assert (done.status_code, done.json["updated"]) == (200, True) and done.json["size"] == done.json["size_bytes"]
    assert done.headers["ETag"] == f'"{done.json["version"]}"' and done.json["id"].startswith("mem_")
    late = vault.put(NOTE, json={"content": "Three."}, headers={"If-Match": f'"{version}"'})
    assert code(late) == (412, "precondition_failed")
    file = (config.get().vaults_dir / "architect/decision/atlas.md").read_text()
    assert "type: decision" in file and file.endswith("Two tables.")


def test_a_text_with_front_matter_replaces_all_but_the_id(vault):
    first = vault.put(NOTE, json={"content": "One."}).json
    second = vault.put(NOTE, json={"content": "---\ntitle: New\nid: mem_x\nmine: 1\n---\n\nTwo."}).json
    shown = vault.get(NOTE).json
    assert (second["id"], second["title"], second["type"]) == (first["id"], "New", None)
    assert shown["metadata"] == {"id": first["id"], "title": "New", "mine": 1} and shown["body"] == "Two."


def test_the_same_text_again_writes_nothing(vault):
    first = vault.put(NOTE, json={"content": "One."}).json
    assert vault.put(NOTE, json={"content": "One."}).json == {**first, "indexed": vault.get(NOTE).json["indexed"]}


def test_a_note_is_made_by_put_only_if_that_is_asked_for(vault):
    url = "/v1/memory/vaults/architect/new/one.md"
    assert code(vault.put(url, json={"content": "x"})) == (404, "memory_not_found")
    made = vault.put(f"{url}?create=true", json={"content": "A fresh thought."})
    assert made.status_code == 200 and paths(search(vault, "fresh thought"))[0] == "new/one.md"


def test_what_was_done_by_hand_meanwhile_is_compared_with(vault):
    version = vault.get(NOTE).json["version"]
    put("decision/atlas.md", "By hand, and not scanned yet.")
    late = vault.put(NOTE, json={"content": "x"}, headers={"If-Match": f'"{version}"'})
    assert late.status_code == 412
    assert vault.get(NOTE).json["content"] == "By hand, and not scanned yet."


def test_a_note_is_deleted_once(vault):
    assert (
        vault.delete(NOTE).status_code == 204 and not (config.get().vaults_dir / "architect/decision/atlas.md").exists()
    )
    assert code(vault.delete(NOTE)) == (404, "memory_not_found") and vault.get(NOTE).status_code == 404
    assert "decision/atlas.md" not in paths(search(vault, "table per vault"))


def test_a_file_is_made_with_a_name_or_in_the_inbox(vault):
    url = "/v1/memory/vaults/architect/files"
    made = vault.post(url, json={"content": "Hello", "filename": "a/hello.md"})
    assert (made.status_code, made.json["filename"], made.json["created"]) == (201, "a/hello.md", True)
    assert code(vault.post(url, json={"content": "Other", "filename": "a/hello.md"})) == (409, "memory_exists")
    assert vault.post(url, json={"content": "Anything"}).json["filename"].startswith("inbox/note-")


# --- remembering ---

FACT = {"agent_id": "architect", "content": "The queue of payments is drained every night at two.", "type": "fact"}


def remember(api, **more):
    return api.post("/v1/memory", json=FACT | more)


def test_what_is_remembered_is_found_at_once(vault):
    made = remember(vault, title="Night run", tags=["ops"], valid_from=1_772_359_200_000, links=["[[tokens]]"])
    memory = made.json
    assert made.status_code == 201 and set(memory) == {*FIELDS.split(), "duplicates"}
    assert made.headers["Location"] == "/v1/memory/vaults/architect/fact/night-run.md"
    assert (memory["filename"], memory["tags"], memory["author"]) == ("fact/night-run.md", ["ops"], "environment")
    assert memory["id"].startswith("mem_") and memory["valid_from"] == 1_772_359_200_000
    assert paths(search(vault, "when are payments drained?"))[0] == "fact/night-run.md"
    assert (
        (config.get().vaults_dir / "architect/fact/night-run.md").read_text().startswith(f"---\nid: {memory['id']}\n")
    )


def test_vectors_follow_by_a_worker(vault):
    memory = remember(vault).json
    assert not memory["indexed"]
    for row in outbox_of("memory_index_file"):
        memory_index.memory_index_file(row)
    assert vault.get(f"/v1/memory/vaults/architect/{memory['filename']}").json["indexed"]
    hit = search(vault, "emptying the backlog of invoices during the dark hours", mode="semantic", explain="true").json[
        0
    ]
    assert hit["filename"] == memory["filename"]


def outbox_of(actor: str) -> list[str]:
    with database.connection():
        return [row["object_id"] for row in database.rows("SELECT object_id FROM outbox WHERE actor = ?", (actor,))]


def test_what_says_the_same_is_told_refused_or_allowed(vault):
    first = remember(vault).json
    again = remember(vault, content=FACT["content"].upper() + "\n").json
    assert again["duplicates"] == [{"filename": first["filename"], "id": first["id"], "similarity": 1.0}]
    refused = remember(vault, on_duplicate="reject")
    assert code(refused) == (409, "near_duplicate") and refused.json["duplicates"]
    assert remember(vault, on_duplicate="allow").json["duplicates"] == []
    assert remember(vault, content="Cats sleep all day on warm window sills.").json["duplicates"] == []


def test_a_name_that_is_taken_is_never_overwritten(vault):
    made = [remember(vault, title="Same").json["filename"] for _ in range(3)]
    assert made == ["fact/same.md", "fact/same-2.md", "fact/same-3.md"]
    assert code(remember(vault, filename="fact/same.md")) == (409, "memory_exists")


def test_the_shared_vault_has_a_door_of_its_own(vault):
    body = {
        "agent_id": "architect",
        "category": "lesson",
        "title": "Retry",
        "content": "Retry with a gap.",
        "frontmatter": {"x": 1},
    }
    made = vault.post("/v1/memory/vaults/shared/store", json=body)
    assert (made.status_code, made.json["agent_id"], made.json["author"]) == (201, "shared", "architect")
    assert paths(vault.get("/v1/memory/shared?q=retry")) == ["lesson/retry.md"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"agent_id": "nobody"}, "unknown_agent"), ({"content": " "}, "validation_error"), ({"filename": "../x.md"}, "bad_path"),
     ({"filename": "x.txt"}, "bad_path"), ({"filename": ".git/x.md"}, "bad_path"), ({"extra": 1}, "validation_error")],
)  # fmt: skip
def test_what_cannot_be_remembered_is_refused(vault, change, expected):
    assert code(remember(vault, **change)) == (422, expected)
