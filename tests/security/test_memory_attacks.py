"""Notes and questions that mean harm: paths, links, front matter, sizes, operators."""

from __future__ import annotations

import pytest

from models import config, tokens
from tests.api.conftest import on_sqlite
from tests.chat import install
from workers import memory_index

ESCAPES = [
    *("../x.md", "a/../../x.md", "/etc/x.md", "a//b.md", "a/./b.md", ".hidden.md", "a\\b.md", "x.md/y", "C:x.md"),
    *("a\nb.md", "ａ.md", "x" * 300 + ".md", "/".join("abcdefghij") + ".md", "templates/x.md", "x .md/ y.md"),
]
URLS = ["..%2f..%2fx.md", "%2e%2e/x.md", "a/%2e%2e/%2e%2e/x.md", "%2fetc%2fpasswd.md", "..%5cx.md", "a%00.md"]
OPERATORS = ['"', "*", "NEAR(a b)", "title:x", "a AND", "NOT", "(", "a'); DROP TABLE memories; --", "^x", "-", "{a}: b",
             "\\", "%", "💥", "a" * 2000, "' OR 1=1", "<script>", "{{7*7}}"]  # fmt: skip


@pytest.fixture
def vault(api):
    install("writer")
    api.post("/v1/memory", json={"agent_id": "writer", "content": "The walrus sleeps at noon.", "title": "Walrus"})
    return api


def everything() -> set[str]:
    root = config.get().data_dir
    return {str(path.relative_to(root)) for path in root.rglob("*.md")}


@pytest.mark.parametrize("path", ESCAPES)
@on_sqlite
def test_no_name_leads_out_of_a_vault(vault, path):
    before = everything()
    answer = vault.post("/v1/memory", json={"agent_id": "writer", "content": "x", "filename": path})
    assert answer.status_code == 422
    assert vault.post("/v1/memory/vaults/writer/files", json={"content": "x", "filename": path}).status_code == 422
    assert everything() == before


@pytest.mark.parametrize("path", URLS)
@on_sqlite
def test_no_address_leads_out_of_a_vault(vault, path):
    before = everything()
    url = f"/v1/memory/vaults/writer/{path}"
    (config.get().data_dir / "x.md").write_text("outside")
    assert vault.get(url).status_code == 404
    assert vault.put(f"{url}?create=true", json={"content": "x"}).status_code in (404, 422)
    assert vault.delete(url).status_code in (404, 422) and everything() == before | {"x.md"}


@pytest.mark.parametrize("id", ["..", "%2e%2e", "Writer", "a b", "shared/../writer", "x" * 300, "а", ".trash"])
@on_sqlite
def test_no_name_of_a_vault_is_a_path(vault, id):
    assert vault.get(f"/v1/memory/vaults/{id}").status_code in (404, 308)
    assert vault.post("/v1/memory", json={"agent_id": id, "content": "x"}).status_code == 422


@on_sqlite
def test_no_link_is_followed_neither_in_reading_nor_in_writing(vault, tmp_path):
    root, outside = config.get().vaults_dir / "writer", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("The planted secret.")
    (root / "folder").symlink_to(outside)
    (root / "file.md").symlink_to(outside / "secret.md")
    memory_index.memory_index_vault("vault:writer")
    assert vault.get("/v1/memory/search?q=planted+secret&mode=keyword").json == []
    for path in ("folder/secret.md", "file.md"):
        assert vault.get(f"/v1/memory/vaults/writer/{path}").status_code == 404
        answer = vault.put(f"/v1/memory/vaults/writer/{path}?create=true", json={"content": "x"})
        assert answer.status_code == 422
    assert (
        vault.post("/v1/memory", json={"agent_id": "writer", "content": "x", "filename": "folder/n.md"}).status_code
        == 422
    )
    assert [path.name for path in outside.iterdir()] == ["secret.md"]
    assert (outside / "secret.md").read_text() == "The planted secret."


@on_sqlite
def test_a_vault_that_is_a_link_is_none(vault, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("The planted secret.")
    (config.get().vaults_dir / "linked").symlink_to(outside)
    memory_index.memory_index_vault("vault:linked")
    assert vault.get("/v1/memory/search?q=planted&mode=keyword").json == []


@pytest.mark.parametrize(
    "given",
    [{"title": "x\nstatus: active\nid: mem_01h0000000000000000000000a"}, {"tags": ["a]\nid: x"]},
     {"author": "---\n\n# Hi"},
     {"metadata": {"status": "quarantined", "id": "mem_01h0000000000000000000000a"}}],
)  # fmt: skip
@on_sqlite
def test_no_field_writes_into_the_front_matter_beside_its_own_key(vault, given):
    made = vault.post("/v1/memory", json={"agent_id": "writer", "content": "Body.", **given})
    shown = vault.get(f"/v1/memory/items/{made.json['id']}").json
    assert made.status_code == 201 and shown["id"] != "mem_01h0000000000000000000000a"
    assert (shown["status"], shown["body"]) == ("active", "Body.")


@pytest.mark.parametrize("content", ["---\na: &x [1]\nb: *y\n---\nx", "---\n!!python/object:os.system x\n---\nx",
                                     "---\n" + "a: [" * 40 + "\n---\nx"])  # fmt: skip
@on_sqlite
def test_front_matter_that_is_not_plain_is_refused_with_the_reason(vault, content):
    answer = vault.put("/v1/memory/vaults/writer/inbox/walrus.md", json={"content": content})
    assert (answer.status_code, answer.json["code"]) == (422, "bad_front_matter") and answer.json["errors"]["content"]


@on_sqlite
def test_a_note_of_ten_megabytes_is_refused_on_every_way(vault):
    big = "x" * (10 * 1024 * 1024)
    assert vault.post("/v1/memory", json={"agent_id": "writer", "content": big}).status_code == 413
    assert vault.post("/v1/memory", json={"agent_id": "writer", "content": big[:300_000]}).status_code == 422
    wide = vault.post("/v1/memory", json={"agent_id": "writer", "content": "ü" * 200_000})
    assert (wide.status_code, wide.json["code"]) == (422, "note_too_large")
    (config.get().vaults_dir / "writer" / "big.md").write_text(big)
    memory_index.memory_index_vault("vault:writer")
    vaults = vault.get("/v1/memory/status").json["vaults"]
    assert [v["problems"] for v in vaults if v["agent_id"] == "writer"] == [["big.md: larger than 256 KiB"]]


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "semantic"])
def test_a_question_is_words_and_never_a_query_language(vault, mode):
    for text in OPERATORS:
        answer = vault.get("/v1/memory/search", query_string={"query": text, "mode": mode})
        assert answer.status_code == 200, text
    assert len(vault.get("/v1/memory/search?q=walrus").json) == 1


@on_sqlite
def test_a_question_of_fifty_kilobytes_is_refused(vault):
    assert vault.get("/v1/memory/search", query_string={"query": "a " * 25_000}).status_code == 422


@on_sqlite
def test_ids_of_another_vault_are_not_found_whatever_is_asked(vault):
    id = vault.get("/v1/memory/search?q=walrus").json[0]["id"]
    _, secret = tokens.create("narrow", "admin", vaults=["shared"])
    vault.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    for rest in ("", "/backlinks", "/history", "/history/1"):
        assert vault.get(f"/v1/memory/items/{id}{rest}").status_code == 404
    for rest, body in (("/rate", {"useful": True}), ("/supersede", {"content": "x"}), ("/history/1/restore", {}),
                       ("/approve", {}), ("/reject", {})):  # fmt: skip
        assert vault.post(f"/v1/memory/items/{id}{rest}", json=body).status_code == 404
    for rest in ("graph", "search?q=walrus", "recall-tests", "inbox/walrus.md"):
        assert vault.get(f"/v1/memory/vaults/writer/{rest}").status_code == 404
    assert vault.post("/v1/memory", json={"agent_id": "writer", "content": "x"}).status_code == 404
    assert vault.post("/v1/memory/context", json={"task": "walrus"}).json["entries"] == 0
