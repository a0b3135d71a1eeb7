"""From `provider/model` to a client, and which provider is the default."""

from __future__ import annotations

import pytest

from models import catalogue, endpoints
from models.errors import ConfigError, Forbidden, ProviderTransient
from tests.api.conftest import on_sqlite
from tests.workers.clients.double import openai_answer
from workers.clients.llm import local, registry
from workers.clients.llm.anthropic import Anthropic
from workers.clients.llm.base import Message, Request, Usage, assistant_message
from workers.clients.llm.openai import OpenAI
from workers.clients.llm.prices import cost_usd
from workers.clients.llm.scripted import Scripted

pytestmark = on_sqlite


@pytest.fixture(autouse=True)
def _no_keys(store, setting):
    """Blank is unset."""
    setting(DEFAULT_MODEL="", **{info.key_variable: "" for info in catalogue.catalogue()})


def test_the_catalogue_is_in_the_documented_order():
    order = ", ".join(info.id for info in catalogue.catalogue())
    assert order == (
        "opencode, xai, openrouter, anthropic, openai, google, groq, zai, mistral, cerebras, minimax, kimi-coding, "
        "huggingface, azure-openai-responses, minimax-cn, vercel-ai-gateway"
    )


def test_every_provider_is_complete():
    for info in catalogue.catalogue():
        assert all((info.name, info.description, info.key_variable, info.base_url)), info.id
        assert info.docs_url.startswith("https://")
        assert info.base_url.startswith("https://")
        assert info.wire in ("openai", "anthropic")


@pytest.mark.parametrize(("provider", "kind"), [("openai", OpenAI), ("anthropic", Anthropic), ("groq", OpenAI)])
def test_a_configured_provider_is_found(setting, provider, kind):
    info = catalogue.find(provider)
    setting(**{info.key_variable: "sk-x"})
    client, model = registry.resolve(f"{provider}/a/b")
    assert isinstance(client, kind)
    assert model == "a/b"


def test_a_client_is_made_once_per_key(setting):
    setting(OPENAI_API_KEY="sk-1")
    first = registry.resolve("openai/a")[0]
    assert registry.resolve("openai/b")[0] is first
    setting(OPENAI_API_KEY="sk-2")
    assert registry.resolve("openai/a")[0] is not first


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="MISTRAL_API_KEY"):
        registry.resolve("mistral/x")


@pytest.mark.parametrize("model", ["", "gpt-5", "openai/", "nobody/x", "local/other", "custom-/x", "custom-A B/x"])
def test_what_names_no_model_is_refused(model):
    with pytest.raises(ConfigError):
        registry.resolve(model)


def test_the_scripted_provider_takes_any_name():
    assert isinstance(registry.resolve("scripted/anything")[0], Scripted)


def test_a_custom_server_needs_an_address_and_may_do_without_a_key(double, setting):
    with pytest.raises(ConfigError, match="CUSTOM_MY_BOX_BASE_URL"):
        registry.resolve("custom-my-box/m")
    setting(CUSTOM_MY_BOX_BASE_URL=f"{double.url}/v1", EGRESS_ALLOW=double.place)
    double.says(openai_answer("hi"))
    client, model = registry.resolve("custom-my-box/m")
    assert assistant_message(client.stream(Request(model, (Message("user", "x"),)))).content == "hi"


def test_a_custom_server_on_a_private_address_must_be_let_through(double, setting):
    setting(CUSTOM_X_BASE_URL=f"{double.url}/v1", EGRESS_ALLOW="")
    client, model = registry.resolve("custom-x/m")
    with pytest.raises((Forbidden, ProviderTransient), match="EGRESS_ALLOW"):
        list(client.stream(Request(model, (Message("user", "x"),))))
    assert double.requests == []


@pytest.mark.parametrize("url", ["ftp://x/v1", "file:///etc/passwd", "http://user:pass@x/v1", "nonsense"])
def test_an_odd_address_is_refused(setting, url):
    setting(CUSTOM_X_BASE_URL=url)
    with pytest.raises(ConfigError, match="http"):
        registry.resolve("custom-x/m")


def test_azure_is_called_at_its_resource(setting):
    info = catalogue.find("azure-openai-responses")
    setting(AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_RESOURCE_NAME="mine", AZURE_OPENAI_BASE_URL="")
    assert endpoints.endpoint(info).base_url == "https://mine.openai.azure.com/openai/v1"
    setting(AZURE_OPENAI_BASE_URL="https://other.example/v1")
    assert endpoints.endpoint(info).base_url == "https://other.example/v1"


@pytest.mark.parametrize("resource", ["", "evil.test/x#", "a.b"])
def test_an_azure_resource_is_one_plain_word(setting, resource):
    setting(AZURE_OPENAI_API_KEY="k", AZURE_OPENAI_RESOURCE_NAME=resource, AZURE_OPENAI_BASE_URL="")
    with pytest.raises(ConfigError, match="AZURE_OPENAI_RESOURCE_NAME"):
        endpoints.endpoint(catalogue.find("azure-openai-responses"))


def test_the_default_model_is_the_chosen_one(setting):
    setting(DEFAULT_MODEL="scripted/x", OPENAI_API_KEY="k")
    assert registry.default_model() == "scripted/x"


def test_else_the_first_configured_providers_own(setting):
    setting(OPENAI_API_KEY="k", ANTHROPIC_API_KEY="k")
    assert registry.default_model().startswith("anthropic/")


def test_else_the_local_one_if_it_is_installed():
    assert registry.default_model() == (local.MODEL_ID if local.is_installed() else None)


def test_a_known_model_has_its_price():
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert cost_usd("openai", "gpt-4o", usage) == pytest.approx(12.5)


def test_what_comes_from_the_cache_is_cheaper():
    fresh, cached = Usage(input_tokens=1_000_000), Usage(input_tokens=1_000_000, cache_read_tokens=900_000)
    assert cost_usd("anthropic", "claude-sonnet-4-5", cached) < cost_usd("anthropic", "claude-sonnet-4-5", fresh)


@pytest.mark.parametrize("place", [("openai", "nobody-knows"), ("custom-x", "m"), ("opencode", "m"), ("nobody", "m")])
def test_an_unknown_price_is_none(place):
    assert cost_usd(*place, Usage(input_tokens=10)) is None


@pytest.mark.parametrize("provider", ["local", "scripted"])
def test_our_own_models_cost_nothing(provider):
    assert cost_usd(provider, "x", Usage(input_tokens=10)) == 0.0


def test_every_default_model_of_a_priced_provider_has_a_price():
    priced = [info for info in catalogue.catalogue() if info.prices and info.default_model]
    unknown = [info.id for info in priced if cost_usd(info.id, info.default_model, Usage(input_tokens=10)) is None]
    assert unknown == []
