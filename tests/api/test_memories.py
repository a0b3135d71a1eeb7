"""/v1/memory"""

from __future__ import annotations

from pathlib import Path

import pytest

from models import config, database, tokens
from models.base import now_ms
from tests.api.conftest import on_sqlite
from tests.chat import install
from workers import consolidation, memories, memory_index

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
    assert len(long) >= 31 and all(paths(search(vault, "table vault", limit=k)) == long[:k] for k in (1, 5, 20))


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
    file = config.get().vaults_dir / "architect/fact/night-run.md"
    assert file.read_text().startswith(f"---\nid: {memory['id']}\n")


def test_vectors_follow_by_a_worker(vault):
    memory = remember(vault).json
    assert not memory["indexed"]
    for row in outbox_of("memory_index_file"):
        memory_index.memory_index_file(row)
    assert vault.get(f"/v1/memory/vaults/architect/{memory['filename']}").json["indexed"]
    hit = search(vault, "nightly payment queues", mode="semantic", agent_id="architect").json[0]
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
    assert paths(vault.get("/v1/memory/shared?q=retry"))[0] == "lesson/retry.md"


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"agent_id": "nobody"}, "unknown_agent"), ({"content": " "}, "validation_error"),
     ({"filename": "../x.md"}, "bad_path"),
     ({"filename": "x.txt"}, "bad_path"), ({"filename": ".git/x.md"}, "bad_path"), ({"extra": 1}, "validation_error")],
)  # fmt: skip
def test_what_cannot_be_remembered_is_refused(vault, change, expected):
    assert code(remember(vault, **change)) == (422, expected)


# --- by id ---


SHIP = "We ship on Thursdays, after lunch, when the tests are green."


@pytest.fixture
def memory(vault):
    return remember(vault, title="Ship day", content=SHIP).json


def item(memory, rest: str = "") -> str:
    return f"/v1/memory/items/{memory['id']}{rest}"


def test_an_id_outlives_a_rename_by_hand(vault, memory):
    folder = config.get().vaults_dir / "architect"
    (folder / memory["filename"]).rename(folder / "elsewhere.md")
    indexed()
    shown = vault.get(item(memory)).json
    assert (shown["filename"], shown["id"]) == ("elsewhere.md", memory["id"])
    assert len(vault.get(item(memory, "/history")).json) == 1


def test_every_change_is_a_version_with_its_difference(vault, memory):
    vault.put(f"/v1/memory/vaults/architect/{memory['filename']}", json={"content": "We ship on Fridays."})
    put(memory["filename"], (config.get().vaults_dir / "architect" / memory["filename"]).read_text() + "By hand.")
    indexed()
    history = vault.get(item(memory, "/history")).json
    assert [(v["n"], v["source"], v["current"]) for v in history] == [
        (3, "disk", True),
        (2, "api", False),
        (1, "api", False),
    ]
    second = vault.get(item(memory, "/history/2")).json
    assert "-We ship on Thursdays" in second["diff"] and "+We ship on Fridays." in second["diff"]
    assert code(vault.get(item(memory, "/history/9"))) == (404, "version_not_found")


def test_an_older_text_is_restored_and_a_deleted_memory_is_back(vault, memory):
    url = f"/v1/memory/vaults/architect/{memory['filename']}"
    vault.put(url, json={"content": "Other."})
    assert vault.post(item(memory, "/history/1/restore")).json["version"] == memory["version"]
    vault.delete(url)
    assert vault.get(item(memory)).status_code == 404
    assert vault.post(item(memory, "/history/2/restore")).json["id"] == memory["id"]
    assert vault.get(url).json["body"] == "Other."


def test_links_heal_when_the_note_appears(vault, memory):
    linking = remember(vault, title="Linking", content="See [[Later Note]].").json
    url = f"/v1/memory/vaults/architect/{linking['filename']}"
    assert vault.get(url).json["links"][0]["resolved"] is None
    later = remember(vault, title="later  NOTE", content="Here it is.").json
    assert vault.get(url).json["links"][0]["resolved"] == later["filename"]
    assert [back["filename"] for back in vault.get(item(later, "/backlinks")).json] == [linking["filename"]]


def test_of_two_notes_with_a_title_the_newer_is_meant(vault):
    remember(vault, title="Twin", content="The first of them.")
    newer = remember(vault, title="Twin", content="The second of them.").json
    linking = remember(vault, title="Linking", content="See [[twin]].").json
    link = vault.get(f"/v1/memory/vaults/architect/{linking['filename']}").json["links"][0]
    assert (link["resolved"], link["ambiguous"]) == (newer["filename"], True)


def test_a_superseded_memory_is_hidden_and_found_with_as_of(vault, memory):
    made = vault.post(
        item(memory, "/supersede"), json={"content": "We ship on Mondays.", "valid_from": now_ms() - 1000}
    )
    old = vault.get(item(memory)).json
    assert (made.status_code, made.json["title"], made.json["type"]) == (201, "Ship day", "fact")
    assert (old["status"], old["superseded_by"]) == ("superseded", made.json["id"])
    assert old["valid_to"] == made.json["valid_from"]
    assert memory["filename"] not in paths(search(vault, "ship day"))
    assert memory["filename"] in paths(search(vault, "ship day", include_superseded="true"))
    then = paths(search(vault, "ship day", as_of=old["valid_to"] - 1))
    assert memory["filename"] in then and made.json["filename"] not in then
    assert code(vault.post(item(memory, "/supersede"), json={"content": "x"})) == (409, "already_superseded")


def test_a_memory_is_superseded_by_one_that_is_there(vault, memory):
    other = remember(vault, title="New day", content="We ship on Tuesdays.").json
    made = vault.post(item(memory, "/supersede"), json={"by": other["id"]})
    assert made.json["id"] == other["id"] and vault.get(item(memory)).json["superseded_by"] == other["id"]
    links = vault.get(item(other)).json["links"]
    assert [(link["type"], link["resolved"]) for link in links] == [("supersedes", memory["filename"])]


def test_votes_count_once_each_and_stay_within_bounds(vault, memory):
    first = vault.post(item(memory, "/rate"), json={"useful": True, "run_id": "run_a", "agent_id": "architect"}).json
    again = vault.post(item(memory, "/rate"), json={"useful": True, "run_id": "run_a", "agent_id": "architect"}).json
    assert 0 < first["usefulness"] == pytest.approx(again["usefulness"], abs=1e-6)
    for n in range(20):
        last = vault.post(item(memory, "/rate"), json={"useful": False, "run_id": f"run_{n}"}).json
    assert -1 < last["usefulness"] < 0
    assert search(vault, "ship thursdays", explain="true", agent_id="architect").json[0]["explain"]["usefulness"] < 0


# --- what is around it ---


def test_a_question_without_an_answer_is_noted_counted_and_resolved(vault):
    for _ in range(2):
        search(vault, "xylophone zebra", mode="keyword", log_gap="true", agent_id="architect")
    search(vault, "which table", log_gap="true")
    gap = vault.get("/v1/memory/gaps").json
    assert [(g["question"], g["count"], g["agent_id"]) for g in gap] == [("xylophone zebra", 2, "architect")]
    assert vault.get("/v1/memory/gaps?agent_id=shared").json == []
    assert vault.post(f"/v1/memory/gaps/{gap[0]['id']}/resolve").json["resolved_at"]
    assert vault.get("/v1/memory/gaps").json == []


def test_a_question_becomes_a_task_once(vault):
    search(vault, "xylophone zebra", mode="keyword", log_gap="true")
    project = vault.post("/v1/projects", json={"name": "Find out"}).json["id"]
    url = f"/v1/memory/gaps/{vault.get('/v1/memory/gaps').json[0]['id']}/task"
    made = vault.post(url, json={"project_id": project})
    assert made.status_code == 201
    assert vault.post(url, json={"project_id": project}).json["task_id"] == made.json["task_id"]
    tasks = vault.get(f"/v1/projects/{project}/tasks").json
    assert [task["title"] for task in tasks] == ["Find out: xylophone zebra"]


def test_a_context_fits_its_budget(vault, memory):
    answer = vault.post("/v1/memory/context", json={"task": "the day we ship, one table, tests"}).json
    assert answer["entries"] == len(answer["items"]) >= 1 and "Thursdays" in answer["context"]
    assert f"architect/{memory['filename']}" in answer["context"] and answer["tokens"] <= 4000
    small = vault.post("/v1/memory/context", json={"query": "the day we ship, one table, tests", "budget": 50}).json
    assert small["tokens"] <= 50 and small["entries"] < answer["entries"]


def test_the_graph_shows_notes_tags_and_what_is_missing(vault):
    remember(vault, title="Hub", content="See [[tokens]] and [[nowhere]].")
    graph = vault.get("/v1/memory/vaults/architect/graph").json
    nodes = {node["id"]: node for node in graph["nodes"]}
    assert nodes["note:tokens.md"]["degree"] == 2 and nodes["unresolved:nowhere"]["missing"]
    assert nodes["tag:sqlite"]["degree"] == 1 and graph["stats"]["nodes"] == len(nodes)
    near = vault.get("/v1/memory/vaults/architect/graph/neighbors/tag:sqlite").json["nodes"]
    assert {node["id"] for node in near} == {"tag:sqlite", "note:decision/atlas.md"}
    far = vault.get("/v1/memory/vaults/architect/graph?center=tag:sqlite&hops=2").json["nodes"]
    assert "note:tokens.md" in {node["id"] for node in far}
    assert code(vault.get("/v1/memory/vaults/architect/graph/neighbors/tag:none")) == (404, "node_not_found")


def test_the_index_is_made_anew_without_new_versions(vault, memory):
    answer = vault.post("/v1/memory/reindex", json={"agent_id": "architect", "full": True})
    assert answer.status_code == 202
    indexed()
    status = {v["agent_id"]: v for v in vault.get("/v1/memory/status").json["vaults"]}["architect"]
    assert (status["generation"], status["pending"], status["indexed"]) == (2, 0, 3)
    assert len(vault.get(item(memory, "/history")).json) == 1


def test_what_says_the_same_is_proposed_to_become_one(vault, memory):
    twin = remember(vault, title="Ship day twin", content=SHIP.replace(".", "!")).json
    proposal = vault.post("/v1/memory/vaults/architect/consolidate")
    assert (proposal.status_code, proposal.json["status"]) == (202, "queued")
    consolidation.memory_consolidate(proposal.json["id"])
    url = f"/v1/memory/changesets/{proposal.json['id']}"
    shown = vault.get(url).json
    assert {change["path"] for change in shown["changes"]} == {memory["filename"], twin["filename"]}
    assert vault.get(item(memory)).json["status"] == "active"
    assert vault.post(f"{url}/apply").json["status"] == "applied"
    assert vault.get(item(memory)).json["superseded_by"] == twin["id"]
    assert code(vault.post(f"{url}/apply")) == (409, "changeset_not_open")


def test_a_proposal_is_not_applied_to_a_note_that_has_moved_on(vault, memory):
    remember(vault, title="Twin", content=SHIP.replace(".", "!"))
    proposal = vault.post("/v1/memory/vaults/architect/consolidate").json
    consolidation.memory_consolidate(proposal["id"])
    put(memory["filename"], "Changed by hand.")
    assert vault.post(f"/v1/memory/changesets/{proposal['id']}/apply").status_code == 412


def test_ones_own_questions_are_a_test_of_the_vault(vault):
    url = "/v1/memory/vaults/architect/recall-tests"
    tests = [
        {"query": "one table per vault", "expect": ["decision/atlas.md"]},
        {"query": "words cut", "expect": ["no.md"]},
    ]
    assert vault.put(url, json=tests).json == tests == vault.get(url).json
    result = vault.post(f"{url}/run").json
    assert (result["tests"], result["recall@5"], result["recall@10"]) == (2, 0.5, 0.5)
    assert [(miss["query"], miss["missing"]) for miss in result["misses"]] == [("words cut", ["no.md"])]


# --- what agents write ---


def test_what_a_tainted_run_shares_waits_for_an_admin(vault):
    author = memories.Author("architect", "agent", tainted=True)
    held, _ = memories.create(memories.New("shared", "Trust this page.", {"title": "Page"}), author)
    assert held.status == "quarantined" and "Page" not in [hit["title"] for hit in search(vault, "trust page").json]
    assert [row["id"] for row in vault.get("/v1/memory/quarantine").json] == [held.id]
    changed = vault.put(f"/v1/memory/vaults/shared/{held.path}", json={"content": "---\ntitle: Page\n---\n\nTrust me."})
    assert changed.json["status"] == "quarantined"
    assert vault.post(f"/v1/memory/items/{held.id}/approve").json["status"] == "active"
    assert "Page" in [hit["title"] for hit in search(vault, "trust page").json]
    assert code(vault.post(f"/v1/memory/items/{held.id}/reject")) == (409, "not_quarantined")


def test_what_is_let_out_of_quarantine_takes_the_place_of_what_it_supersedes(vault):
    put("rule.md", "Ships stay an hour.", "shared")
    indexed("shared")
    author = memories.Author("architect", "agent", tainted=True)
    for title in ("Two hours", "Three hours"):
        front = {"title": title, "supersedes": ["rule.md"]}
        memories.create(memories.New("shared", f"Ships stay {title}.", front), author)
    later, first = vault.get("/v1/memory/quarantine").json
    assert vault.get("/v1/memory/vaults/shared/rule.md").json["status"] == "active"
    assert vault.post(f"/v1/memory/items/{first['id']}/approve").status_code == 200
    old = vault.get("/v1/memory/vaults/shared/rule.md").json
    assert (old["status"], old["superseded_by"]) == ("superseded", first["id"])
    assert code(vault.post(f"/v1/memory/items/{later['id']}/approve")) == (409, "already_superseded")
    assert [row["id"] for row in vault.get("/v1/memory/quarantine").json] == [later["id"]]
