"""/v1/settings/providers"""

from __future__ import annotations

import threading
import time

import pytest

from models import (
    audit,
    catalogue,
    config,
    database,
    endpoints,
    events,
    ledger,
    provider_checks,
    providers,
    tokens,
    workers,
)
from models.outbox import Outbox
from models.providers import StoredProvider
from tests.api import factories
from tests.api.conftest import on_sqlite
from tests.workers.clients.double import Double, Reply, error, openai_answer
from workers import inquiries
from workers import providers as commands

KEY = "sk-0123456789abcdefghij"
MINE = {"name": "Mine", "slug": "mine", "baseUrl": "https://models.example/v1"}


@pytest.fixture(autouse=True)
def no_keys(settings):
    for info in catalogue.catalogue():
        settings.delenv(info.key_variable, raising=False)


def put(api, body, provider_id="openai", **headers):
    return api.put(f"/v1/settings/providers/{provider_id}", json=body, headers=headers)


def get(api, provider_id="openai"):
    return api.get(f"/v1/settings/providers/{provider_id}").json


def code(answer):
    return answer.status_code, answer.json["code"]


def bearer(scope):
    return {"Authorization": f"Bearer {tokens.create('t', scope)[1]}"}


# --- list and get ---


def test_the_catalogue_is_listed_in_its_order_then_custom_ones(api):
    api.post("/v1/settings/providers", json=MINE)
    listed = api.get("/v1/settings/providers").json
    assert [provider["providerId"] for provider in listed] == [info.id for info in catalogue.catalogue()] + [
        "custom-mine"
    ]
    assert listed[4] == get(api) and get(api)["models"][0]["id"] == get(api)["defaultModel"]
    assert (listed[4]["enabled"], listed[4]["configured"], listed[4]["keySource"]) == (False, False, None)
    assert {name for name, value in listed[4].items() if value is None} >= {"maskedApiKey", "baseUrl", "lastTest"}


def test_the_list_comes_in_pages(api):
    first = api.get("/v1/settings/providers?limit=15")
    second = api.get(first.headers["Link"].split(">")[0][1:])
    assert (len(first.json), [provider["providerId"] for provider in second.json]) == (15, ["vercel-ai-gateway"])


def test_a_key_in_the_environment_configures_and_enables(settings, api):
    settings.setenv("OPENAI_API_KEY", KEY)
    provider = get(api)
    assert (provider["enabled"], provider["configured"], provider["keySource"]) == (True, True, "env")
    assert provider["maskedApiKey"] == "sk-...ghij"


# --- save ---


def test_a_stored_key_is_never_shown(api):
    answer = put(api, {"providerId": "openai", "apiKey": f" {KEY} ", "defaultModel": "gpt-x", "maxConcurrency": 4})
    provider = answer.json
    assert (answer.status_code, provider["enabled"], provider["configured"], provider["keySource"]) == (
        *(200, True, True),
        "stored",
    )
    assert (provider["maskedApiKey"], provider["defaultModel"], provider["maxConcurrency"]) == (
        "sk-...ghij",
        "gpt-x",
        4,
    )
    assert provider["notice"] is None
    assert KEY not in answer.text + api.get("/v1/settings/providers").text + str(audit.page(9, None, None, None))
    assert endpoints.endpoint(catalogue.find("openai")).key == KEY


def test_what_is_omitted_null_or_blank_keeps_the_key(api):
    put(api, {"apiKey": KEY})
    for body in ({}, {"apiKey": None}, {"api_key": ""}, {"defaultModel": "m"}, {"enabled": None}):
        assert put(api, body).json["maskedApiKey"] == "sk-...ghij"


def test_a_save_that_changes_nothing_writes_nothing(api):
    first = put(api, {"apiKey": KEY, "requestsPerMinute": 9}).json
    before = events.head_seq("platform"), audit.verify()["rows"]
    assert put(api, {"apiKey": KEY, "requestsPerMinute": 9, "enabled": True}).json == first
    assert (events.head_seq("platform"), audit.verify()["rows"]) == before


def test_a_key_is_removed_and_the_environments_holds_again(settings, api):
    settings.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    assert put(api, {"apiKey": KEY}).json["maskedApiKey"] == "sk-...ghij"
    cleared = put(api, {"clearApiKey": True}).json
    assert (cleared["keySource"], cleared["maskedApiKey"], cleared["notice"]) == ("env", "sk-...ment", None)
    assert put(api, {"clearApiKey": True, "apiKey": KEY}).status_code == 422


def test_null_clears_what_may_be_empty(api):
    put(api, {"defaultModel": "m", "maxConcurrency": 1, "requestsPerMinute": 2})
    provider = put(api, {"default_model": None, "max_concurrency": None, "requests_per_minute": None}).json
    assert (provider["maxConcurrency"], provider["requestsPerMinute"]) == (None, None)
    assert provider["defaultModel"] == catalogue.find("openai").default_model


def test_a_disabled_provider_hides_the_environments_key(settings, api):
    settings.setenv("OPENAI_API_KEY", KEY)
    assert put(api, {"enabled": False}).json["enabled"] is False
    with pytest.raises(Exception, match="disabled"):
        endpoints.endpoint(catalogue.find("openai"))
    assert api.get("/v1/settings/providers/keys/all").json["keys"] == {}


BAD = [
    *({"apiKey": key} for key in ("a b", "é", "a\tb", "x" * 4097, 1)),
    *({"maxConcurrency": n} for n in (0, 1001, "1", 1.5)),
    *({"requestsPerMinute": n} for n in (0, 100_001)),
    *({"enabled": wrong} for wrong in ("yes", 1, "true")),
    *({"name": "x"}, {"baseUrl": "https://elsewhere.example"}, {"colour": "red"}, {"extraConfig": {"X": 1}}),
]


@on_sqlite
@pytest.mark.parametrize("body", BAD)
def test_a_bad_change_is_refused_and_nothing_is_stored(api, body):
    assert put(api, body).status_code == 422
    assert StoredProvider.select().count() == 0


def test_the_path_names_the_provider(api):
    assert code(put(api, {"providerId": "xai"})) == (422, "provider_mismatch")
    for provider_id in ("nobody", "custom-nobody"):
        assert code(put(api, {}, provider_id)) == (404, "provider_not_found")
        assert api.get(f"/v1/settings/providers/{provider_id}").status_code == 404


def test_a_change_of_an_older_version_is_refused(api):
    tag = api.get("/v1/settings/providers/openai").headers["ETag"]
    answers = [put(api, {"maxConcurrency": n}, **{"If-Match": tag}) for n in (1, 2)]
    assert [answer.status_code for answer in answers] == [200, 412]


def test_a_save_is_announced_and_recorded_by_field_names_alone(api):
    put(api, {"apiKey": KEY, "maxConcurrency": 3})
    told = events.decode(events.after("platform", 0)[-1]["data"])
    assert (told["type"], told["provider_id"], told["fields"]) == (
        *("provider_updated", "openai"),
        ["max_concurrency", "api_key"],
    )
    row = audit.page(1, None, None, None)[0]
    assert (row.action, row.object_id, row.detail) == ("provider.update", "openai", {"fields": told["fields"]})


# --- Azure ---


def azure(api, body):
    return put(api, body, "azure-openai-responses")


def test_azure_is_configured_by_a_key_and_one_of_its_two_fields(api):
    assert azure(api, {"apiKey": KEY}).json["configured"] is False
    resource = azure(api, {"extraConfig": {"AZURE_OPENAI_RESOURCE_NAME": "mine"}}).json
    assert (resource["configured"], resource["baseUrl"]) == (True, "https://mine.openai.azure.com/openai/v1")
    assert endpoints.endpoint(catalogue.find("azure-openai-responses")).key == KEY
    assert resource["plainExtraConfig"] == {"AZURE_OPENAI_RESOURCE_NAME": "mine"}
    assert resource["maskedExtraConfig"] == {"AZURE_OPENAI_RESOURCE_NAME": "***"}
    moved = azure(api, {"extraConfig": {"AZURE_OPENAI_BASE_URL": "https://mine.openai.azure.com/v9"}}).json
    assert (moved["configured"], moved["notice"], moved["baseUrl"]) == (True, None, "https://mine.openai.azure.com/v9")
    gone = azure(api, {"extraConfig": {"AZURE_OPENAI_BASE_URL": "", "AZURE_OPENAI_RESOURCE_NAME": ""}}).json
    assert (gone["configured"], gone["plainExtraConfig"], gone["notice"]) == (False, None, "key_unbound")


def test_only_declared_fields_are_taken(api):
    assert code(azure(api, {"extraConfig": {"PATH": "/"}})) == (422, "unknown_extra")
    clash = {"baseUrl": "https://a.example", "extraConfig": {"AZURE_OPENAI_BASE_URL": "https://b.example"}}
    assert code(azure(api, clash)) == (422, "conflicting_fields")
    assert azure(api, {"extraConfig": {"AZURE_OPENAI_BASE_URL": "ftp://a.example"}}).status_code == 422


# --- custom ones ---


def test_a_custom_provider_is_made_changed_and_removed(api):
    answer = api.post("/v1/settings/providers", json=MINE)
    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/settings/providers/custom-mine")
    made = answer.json
    assert (made["name"], made["isCustom"], made["enabled"], made["configured"]) == ("Mine", True, True, True)
    assert (made["baseUrl"], made["apiKeyEnvVar"], made["keySource"]) == (MINE["baseUrl"], "CUSTOM_MINE_API_KEY", None)
    assert code(api.post("/v1/settings/providers", json=MINE)) == (409, "provider_exists")
    assert put(api, {"name": "Ours"}, "custom-mine").json["name"] == "Ours"
    gone = api.delete("/v1/settings/providers/custom-mine")
    assert (gone.status_code, gone.json) == (200, {"status": "ok", "providerId": "custom-mine"})
    assert api.delete("/v1/settings/providers/custom-mine").status_code == 404


@on_sqlite
@pytest.mark.parametrize("slug", ["x", "A", "a_b", "-ab", "x" * 33, "a b"])
def test_a_slug_is_short_and_plain(api, slug):
    assert api.post("/v1/settings/providers", json={**MINE, "slug": slug}).status_code == 422


ADDRESSES = "http://127.0.0.1:1/v1 http://localhost/v1 http://[::1]/ http://2130706433/ http://a.local/ file:///etc/x"


@on_sqlite
@pytest.mark.parametrize(
    "url", [*ADDRESSES.split(), "http://u:p@x.example/", "x", "http://x.example/?q=1", "http://é/"]
)
def test_an_address_that_must_not_be_called_is_refused(api, url):
    assert api.post("/v1/settings/providers", json={**MINE, "baseUrl": url}).status_code == 422


def test_a_removed_provider_of_the_catalogue_is_as_it_was(api):
    before = get(api)
    put(api, {"apiKey": KEY})
    assert api.delete("/v1/settings/providers/openai").status_code == 200
    assert get(api) == before
    assert api.delete("/v1/settings/providers/openai").status_code == 200


def test_a_provider_in_use_is_kept_if_asked(api):
    api.post("/v1/settings/providers", json=MINE)
    api.put("/v1/settings", json={"modelFallbacks": {"openai/x": ["custom-mine/m"]}})
    answer = api.delete("/v1/settings/providers/custom-mine?strict=true")
    assert code(answer) == (409, "provider_in_use") and "modelFallbacks" in answer.json["detail"]
    assert api.delete("/v1/settings/providers/custom-mine").status_code == 200


# --- the binding of keys ---


def moved(api, url, **more):
    return put(api, {"baseUrl": url, **more}, "custom-mine").json


@pytest.mark.parametrize(
    "url", ["http://models.example/v1", "https://other.example/v1", "https://models.example:8443/v1"]
)
@on_sqlite
def test_a_new_origin_drops_the_key(api, url):
    api.post("/v1/settings/providers", json={**MINE, "apiKey": KEY})
    provider = moved(api, url)
    assert (provider["notice"], provider["keySource"], provider["maskedApiKey"]) == ("key_unbound", None, None)
    assert endpoints.endpoint(catalogue.find("custom-mine")).key == ""


def test_another_path_of_the_same_origin_keeps_it_and_a_new_key_goes_along(api):
    api.post("/v1/settings/providers", json={**MINE, "apiKey": KEY})
    assert moved(api, "https://MODELS.example:443/v2")["maskedApiKey"] == "sk-...ghij"
    other = moved(api, "https://other.example", apiKey="sk-another-key-of-ours")
    assert (other["notice"], other["maskedApiKey"]) == (None, "sk-...ours")


def test_the_environments_key_stays_with_the_environments_address(settings, api):
    settings.setenv("AZURE_OPENAI_API_KEY", KEY)
    settings.setenv("AZURE_OPENAI_RESOURCE_NAME", "ours")
    assert azure(api, {}).json["keySource"] == "env"
    elsewhere = azure(api, {"baseUrl": "https://elsewhere.example/v1"}).json
    assert (elsewhere["configured"], elsewhere["keySource"]) == (False, None)


# --- keys/all ---


def all_keys(client, scope=None, query=""):
    headers = bearer(scope) if scope else {}
    return client.get(f"/v1/settings/providers/keys/all{query}", headers=headers)


def test_a_worker_reads_plain_keys_and_an_admin_masks(settings, api, anyone):
    settings.setenv("XAI_API_KEY", "xai-of-the-environment")
    put(api, {"apiKey": KEY})
    plain, masked = all_keys(anyone, "worker"), all_keys(anyone, "admin")
    assert plain.json["keys"] == {"xai": "xai-of-the-environment", "openai": KEY}
    assert (plain.json["masked"], masked.json["masked"]) == (False, True)
    assert masked.json["keys"] == {"xai": "xai...ment", "openai": "sk-...ghij"}
    sources = {"source": "stored", "masked_key": "sk-...ghij"}
    assert plain.json["key_sources"]["openai"] == masked.json["key_sources"]["openai"] == sources
    assert (plain.headers["Cache-Control"], "ETag" in plain.headers) == ("no-store", False)


def test_keys_are_narrowed_and_disabled_providers_absent(api, anyone):
    put(api, {"apiKey": KEY})
    put(api, {"apiKey": KEY, "enabled": False}, "xai")
    azure(api, {"apiKey": KEY, "extraConfig": {"AZURE_OPENAI_RESOURCE_NAME": "mine"}})
    assert set(all_keys(anyone, "worker").json["keys"]) == {"openai", "azure-openai-responses"}
    narrowed = all_keys(anyone, "worker", "?provider_id=xai&provider_id=azure-openai-responses").json
    assert (set(narrowed["keys"]), narrowed["extra"]) == (
        {"azure-openai-responses"},
        {"AZURE_OPENAI_RESOURCE_NAME": "mine"},
    )


@on_sqlite
@pytest.mark.parametrize("scope", ["read", "run"])
def test_lower_scopes_read_no_keys(anyone, scope):
    assert all_keys(anyone, scope).status_code == 403


@on_sqlite
def test_a_workers_token_opens_nothing_else_here(anyone):
    assert anyone.get("/v1/settings/providers", headers=bearer("worker")).status_code == 403


@on_sqlite
def test_while_authentication_is_off_everyone_gets_masks(settings, api, anyone):
    put(api, {"apiKey": KEY})
    settings.setenv("AUTH_ENABLED", "false")
    config.get.cache_clear()
    for answer in (all_keys(anyone), all_keys(anyone, "worker")):
        assert (answer.json["masked"], answer.json["keys"]) == (True, {"openai": "sk-...ghij"})


def test_every_reading_of_keys_is_recorded_with_the_ids(api, anyone):
    put(api, {"apiKey": KEY})
    all_keys(anyone, "worker")
    row = audit.page(1, None, None, None)[0]
    assert (row.action, row.scope, row.detail) == (
        *("provider.read_keys", "worker"),
        {"providers": ["openai"], "masked": False},
    )


def test_keys_are_read_sixty_times_a_minute_by_one_token(anyone):
    sent = bearer("worker")
    answers = [anyone.get("/v1/settings/providers/keys/all", headers=sent).status_code for _ in range(61)]
    assert (set(answers[:60]), answers[60]) == ({200}, 429)
    assert all_keys(anyone, "worker").status_code == 200


# --- models, test, usage ---


@pytest.fixture
def double(settings):
    server = Double()
    settings.setenv("EGRESS_ALLOW", server.place)
    config.get.cache_clear()
    yield server
    server.close()


def as_json(body: bytes) -> Reply:
    return Reply(headers={"Content-Type": "application/json"}, chunks=[body])


MODELS = as_json(b'{"data": [{"id": "m1"}, {"id": "m2", "name": "Two", "supported_parameters": ["reasoning"]}]}')


@pytest.fixture
def mine(api, double):
    """A custom provider on the double, and a worker that answers what is rung for."""
    workers.register("test", 1)
    double.says(MODELS)
    body = {**MINE, "baseUrl": f"{double.url}/v1", "apiKey": KEY}
    assert api.post("/v1/settings/providers", json=body).status_code == 201
    ended = threading.Event()
    helper = threading.Thread(target=answer_doorbells, args=(ended,))
    helper.start()
    yield double
    ended.set()
    helper.join()


def answer_doorbells(ended: threading.Event) -> None:
    actors = {"provider_models": inquiries.provider_models, "provider_test": inquiries.provider_test}
    while not ended.is_set():
        with database.connection():
            found = [(row.actor, row.object_id) for row in Outbox.select()]
        for name, object_id in found:
            actors[name](object_id)
        time.sleep(0.02)


def models(api, query=""):
    return api.get(f"/v1/settings/providers/custom-mine/models{query}").json


def test_a_providers_models_are_asked_for_and_kept(api, mine):
    live = models(api, "?refresh=true")
    assert [(model["id"], model["name"], model["reasoning"]) for model in live["models"]] == [
        ("m1", "m1", False),
        ("m2", "Two", True),
    ]
    assert (live["source"], live["error"], live["fetchedAt"] > 0) == ("live", None, True)
    assert models(api)["source"] == "cache"
    assert get(api, "custom-mine")["defaultModel"] == "m1"
    assert mine.requests[0][2]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("reply", [error(401, f"bad key {KEY}"), as_json(b"no json"), as_json(b'{"data": 1}')])
def test_a_listing_that_fails_leaves_what_was_known(api, mine, reply):
    models(api, "?refresh=true")
    mine.says(reply)
    listing = models(api, "?refresh=true")
    assert (listing["source"], len(listing["models"]), bool(listing["error"])) == ("cache", 2, True)
    assert KEY not in str(listing)


def test_before_any_listing_the_catalogues_model_is_known(api):
    listing = api.get("/v1/settings/providers/openai/models").json
    assert (listing["source"], [model["id"] for model in listing["models"]]) == (
        "static",
        [catalogue.find("openai").default_model],
    )


def test_without_a_worker_the_answer_says_so_at_once(api, double):
    api.post("/v1/settings/providers", json={**MINE, "baseUrl": double.url, "apiKey": KEY})
    began = time.monotonic()
    assert models(api, "?refresh=true")["error"] == "No worker is running"
    tried = api.post("/v1/settings/providers/custom-mine/test").json
    assert (tried["ok"], tried["error"], double.requests) == (False, "No worker is running", [])
    assert time.monotonic() - began < 2


def test_a_key_is_tried_by_listing_the_models(api, mine):
    tried = api.post("/v1/settings/providers/custom-mine/test").json
    assert (tried["ok"], tried["status"], tried["error"], tried["model"]) == (True, 200, None, None)
    last = get(api, "custom-mine")["lastTest"]
    assert last == {"ok": True, "at": tried["checkedAt"], "latencyMs": tried["latencyMs"], "error": None}


def test_a_model_is_tried_by_one_small_call(api, mine):
    mine.says(openai_answer("ok"))
    tried = api.post("/v1/settings/providers/custom-mine/test", json={"model": "m1"}).json
    assert (tried["ok"], tried["model"]) == (True, "m1")
    bodies = [body for _, path, _, body in mine.requests if path.endswith("/chat/completions")]
    assert len(bodies) == 1 and b'"max_tokens":16' in bodies[0].replace(b" ", b"")


def test_a_refused_key_is_reported_without_it(api, mine):
    mine.says(error(401, f"Incorrect key: {KEY}"))
    answer = api.post("/v1/settings/providers/custom-mine/test")
    assert (answer.json["ok"], answer.json["status"]) == (False, 401)
    assert KEY not in answer.text and "Incorrect key: [secret:" in answer.json["error"]


def test_what_is_not_configured_is_not_tried(api):
    assert code(api.post("/v1/settings/providers/openai/test")) == (409, "not_configured")


def test_a_test_that_nobody_waits_for_is_not_made(api, double):
    api.post("/v1/settings/providers", json={**MINE, "baseUrl": double.url, "apiKey": KEY})
    with database.transaction():
        test_id = commands.test("custom-mine", None)
    commands.give_up(test_id)
    inquiries.provider_test(test_id)
    assert (double.requests, get(api, "custom-mine")["lastTest"]) == ([], None)


def test_usage_is_summed_by_day(api):
    factories.call(provider="openai", input_tokens=10, output_tokens=5, cost_usd=0.5)
    factories.call(provider="openai", status="error", http_status=429)
    factories.call(provider="xai", cost_usd=9)
    put(api, {"requestsPerMinute": 60})
    usage = api.get("/v1/settings/providers/openai/usage").json
    sums = {"calls": 2, "errors": 1, "inputTokens": 10, "outputTokens": 5, "costUsd": 0.5, "rateLimited": 1}
    assert usage["total"] == sums == {name: usage["days"][0][name] for name in sums}
    assert usage["limiter"] == {"maxConcurrency": None, "requestsPerMinute": 60}
    assert ledger.page(ledger.Filters(http_status=429), 5)[0]["status"] == "error"


def test_models_that_can_be_called_are_suggested(settings, api):
    settings.setenv("XAI_API_KEY", KEY)
    api.put("/v1/settings/favorites", json={"favorites": ["openai/marked"]})
    provider_checks.listed("xai", [{"id": "g", "name": "G", "description": None, "reasoning": False}], None)
    suggested = api.get("/v1/settings/models/suggestions").json
    assert [model["id"] for model in suggested] == [
        "openai/marked",
        f"xai/{catalogue.find('xai').default_model}",
        "xai/g",
    ]
    assert suggested[2] == {"id": "xai/g", "name": "G", "provider": "xai", "favorite": False}


def test_the_first_usable_provider_gives_the_default_model(settings, api):
    assert endpoints.default_model() is None
    put(api, {"apiKey": KEY, "defaultModel": "mine"})
    assert endpoints.default_model() == "openai/mine"
    settings.setenv("XAI_API_KEY", KEY)
    assert endpoints.default_model().startswith("xai/")
    put(api, {"enabled": False}, "xai")
    assert endpoints.default_model() == "openai/mine"
    assert next(iter(providers.known())) == "opencode"


def test_old_listings_are_asked_for_again_once_in_six_hours(settings, api):
    settings.setenv("XAI_API_KEY", KEY)
    Outbox.delete().execute()
    assert [commands.refresh_old(), commands.refresh_old()] == [1, 0]
    assert [row.object_id for row in Outbox.select()] == ["xai"]
    Outbox.delete().execute()
    provider_checks.listed("xai", None, "away")
    assert commands.refresh_old() == 0
    provider_checks.ProviderState.update(checked_at=1).execute()
    assert commands.refresh_old() == 1
