"""/v1/memory"""

from __future__ import annotations

from pathlib import Path

import pytest

from models import config, tokens
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
