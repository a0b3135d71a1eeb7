"""Security rules 4 to 6: keys of providers at rest, never shown, bound to the origin they were given for."""

from __future__ import annotations

import base64
import json

import httpx
import pytest

from models import catalogue, crypto, database, endpoints, providers
from models.errors import ConfigError
from models.providers import StoredProvider
from tests.api.conftest import on_sqlite
from tests.platform import TOKEN, running, wait_for
from tests.security.test_secrets_at_rest import keys, use
from tests.workers.clients.double import Double, Reply, error
from workers import maintenance

CANARY = "sk-canary-0123456789-abcdefghijklmnop"
PIPELINE = """
id: asks
agents: [{id: a}]
defaults: {maxRetries: 0, tools: [], model: custom-mine/m}
steps: [{id: A, agent: a, input: hello, outputs: [x]}]
"""


# --- at rest ---


@pytest.fixture
def fresh(store):
    crypto._ring.cache_clear()


def plant(provider_id: str, key: str = CANARY) -> None:
    with database.transaction():
        providers.save(providers.find(provider_id), {}, key)


def key_of(provider_id: str) -> str:
    return endpoints.endpoint(catalogue.find(provider_id)).key


def tamper(provider_id: str, **columns: str | None) -> None:
    with database.transaction():
        StoredProvider.update(**columns).where(StoredProvider.id == provider_id).execute()
    providers._kept._known = (None, None, None)


def test_a_key_is_stored_as_ciphertext_that_names_its_key(fresh) -> None:
    plant("openai")
    row = StoredProvider.get_by_id("openai")
    assert (row.key.split(".")[:2], row.key_id, row.key_origin) == (["v1", "k1"], "k1", "https://api.openai.com:443")
    assert CANARY not in str(row.__data__) and base64.b64encode(CANARY.encode()).decode()[:-4] not in row.key
    assert key_of("openai") == CANARY


@pytest.mark.parametrize("part", [0, 1, 2, 3])
def test_a_key_with_one_changed_character_is_not_used(fresh, part) -> None:
    plant("openai")
    parts = StoredProvider.get_by_id("openai").key.split(".")
    parts[part] = ("x" if parts[part][0] != "x" else "y") + parts[part][1:]
    tamper("openai", key=".".join(parts))
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        key_of("openai")


def test_a_key_copied_to_another_provider_is_not_used_nor_is_the_environments_in_its_place(fresh, monkeypatch) -> None:
    monkeypatch.setenv("XAI_API_KEY", "xai-of-the-environment")
    plant("openai")
    plant("xai", "xai-another-key")
    tamper("xai", key=StoredProvider.get_by_id("openai").key)
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        key_of("xai")
    assert key_of("openai") == CANARY


def test_a_row_whose_address_was_moved_by_hand_gives_no_key_away(fresh) -> None:
    with database.transaction():
        providers.create("a", "A", "https://a.example/v1", CANARY)
    tamper("custom-a", base_url="https://evil.example/v1")
    with pytest.raises(ConfigError, match="evil"):
        key_of("custom-a")
    tamper("custom-a", key_origin="https://evil.example:443")
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        key_of("custom-a")


def test_what_cannot_be_decrypted_is_reported_and_can_be_stored_again(api) -> None:
    api.put("/v1/settings/providers/openai", json={"apiKey": CANARY})
    tamper("openai", key="v1.k1.x.x")
    shown = api.get("/v1/settings/providers/openai").json
    assert (shown["warnings"], shown["configured"], shown["maskedApiKey"]) == (["unreadable"], False, None)
    assert api.get("/v1/settings/providers/keys/all").json["keys"] == {}
    assert api.put("/v1/settings/providers/openai", json={"apiKey": CANARY}).json["warnings"] == []


def test_a_rotation_brings_provider_keys_under_the_new_key(fresh, monkeypatch) -> None:
    use(monkeypatch, keys("old"))
    plant("openai")
    plant("xai")
    tamper("xai", key="v1.old.x.x")
    use(monkeypatch, keys("new", "old"))
    with database.transaction():
        job = maintenance.rekey()
    assert (job["from"], job["total"]) == (["old"], 2)
    maintenance.secrets_rekey(job["job"])
    assert providers.under_older_keys() == (["old"], 1)
    use(monkeypatch, keys("new"))
    providers._kept.forget()
    assert key_of("openai") == CANARY


@on_sqlite
def test_an_address_out_of_the_environment_that_moves_leaves_the_stored_key_behind(fresh, monkeypatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_BASE_URL", "https://ours.openai.azure.com/v1")
    plant("azure-openai-responses")
    monkeypatch.setenv("AZURE_OPENAI_BASE_URL", "https://evil.example/v1")
    with pytest.raises(ConfigError, match="evil"):
        key_of("azure-openai-responses")


# --- in a whole platform ---


@pytest.fixture
def stubs():
    here, there = Double(), Double()
    leaky = error(401, f"Incorrect API key provided: {CANARY}, {base64.b64encode(CANARY.encode()).decode()}")
    here.says(leaky)
    there.says(Reply(headers={"Content-Type": "application/json"}, chunks=[b'{"data": [{"id": "m"}]}']))
    yield here, there
    here.close()
    there.close()


@pytest.fixture
def platform(tmp_path, stubs):
    yield from running(tmp_path, EGRESS_ALLOW=",".join(stub.place for stub in stubs))


def test_a_key_is_left_nowhere_and_never_follows_a_moved_address(platform, stubs) -> None:
    here, there = stubs
    path, client = "/v1/settings/providers/custom-mine", platform.client
    body = {"name": "Mine", "slug": "mine", "baseUrl": f"{here.url}/v1", "apiKey": CANARY}
    answers = [client.post("/v1/settings/providers", body), client.post(f"{path}/test"), client.get(f"{path}/models")]
    failed = platform.wait(platform.run(platform.pipeline(PIPELINE)))
    assert (failed["status"], failed["error_code"]) == ("failed", "provider_rejected")
    assert any(CANARY in str(headers) for _, _, headers, _ in here.requests)
    moved = client.put(path, {"baseUrl": f"{there.url}/v1"})
    assert (moved["notice"], moved["maskedApiKey"]) == ("key_unbound", None)
    wait_for(lambda: ended_elsewhere(platform, there))
    answers += [failed, moved, client.get("/v1/settings/providers"), client.get("/v1/settings/providers/keys/all")]
    answers += [client.get("/v1/audit"), client.get("/v1/llm-calls"), platform.events(failed["id"])]
    assert found_in(platform, answers) == []
    assert not any(CANARY in str(request) for request in there.requests)


def ended_elsewhere(platform, there: Double) -> None:
    platform.wait(platform.run("asks"))
    assert [method for method, *_ in there.requests].count("POST") >= 1


def found_in(platform, answers: list) -> list[str]:
    """The places that show the key in any form."""
    token = {"Authorization": f"Bearer {TOKEN}"}
    answers.append(httpx.get(f"http://127.0.0.1:{platform.port}/v1/settings/providers/keys/all", headers=token).text)
    places = {path.name: path.read_bytes() for path in platform.folder.rglob("*") if path.is_file()}
    places["answers"] = json.dumps(answers).encode()
    forms = (CANARY.encode(), base64.b64encode(CANARY.encode())[:-4])
    return [name for name, data in places.items() for form in forms if form in data]


@on_sqlite
def test_a_wrong_master_key_refuses_to_start_over_stored_keys(fresh, monkeypatch) -> None:
    plant("openai")
    use(monkeypatch, keys("k1"))
    with pytest.raises(crypto.BadKeys, match="not those of this database"):
        crypto.ring()
