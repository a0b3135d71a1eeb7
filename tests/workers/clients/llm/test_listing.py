"""Which models a provider says it has."""

from __future__ import annotations

import orjson
import pytest

from models.endpoints import Endpoint
from models.errors import DjinnBotError, Forbidden, ProviderRejected, ProviderTransient
from tests.workers.clients.double import Reply, error
from workers.clients.llm import listing

KEY = "sk-of-the-listing"


def replying(double, body, status: int = 200, **headers: str) -> None:
    double.says(Reply(status, {"Content-Type": "application/json", **headers}, [orjson.dumps(body)]))


def ask(double, wire: str = "openai", key: str = KEY) -> list[dict]:
    return listing.models(Endpoint(wire, f"{double.url}/v1/", key))


def sent(double) -> dict[str, str]:
    return {name.lower(): value for name, value in double.requests[0][2].items()}


def test_models_come_in_the_providers_order_each_once(allowed):
    replying(allowed, {"data": [{"id": "b", "owned_by": "x"}, {"id": "a"}, {"id": "b"}, {"name": "no id"}, 5]})
    assert [model["id"] for model in ask(allowed)] == ["b", "a"]
    assert (allowed.requests[0][:2], sent(allowed)["authorization"]) == (("GET", "/v1/models"), f"Bearer {KEY}")


def test_what_a_provider_says_of_a_model_is_kept(allowed):
    able = {"id": "models/g", "name": "G", "description": "Thinks", "supported_parameters": ["tools", "reasoning"]}
    replying(allowed, [able, {"id": "h", "supported_parameters": 5}])
    assert ask(allowed) == [
        {"id": "g", "name": "G", "description": "Thinks", "reasoning": True},
        {"id": "h", "name": "h", "description": None, "reasoning": False},
    ]


def test_anthropic_is_asked_in_its_own_way(allowed):
    replying(allowed, {"data": [{"id": "claude-x", "display_name": "Claude X"}]})
    assert ask(allowed, "anthropic")[0]["name"] == "Claude X"
    assert allowed.requests[0][1] == "/v1/v1/models?limit=1000"
    assert (sent(allowed)["x-api-key"], "authorization" in sent(allowed)) == (KEY, False)


def test_a_server_that_wants_no_key_gets_none(allowed):
    replying(allowed, {"data": []})
    assert ask(allowed, key="") == []
    assert "authorization" not in sent(allowed)


def test_names_are_cleaned_and_cut(allowed):
    replying(allowed, {"data": [{"id": "a\u202eb\x1b[31m", "name": "n" * 999, "description": "d" * 999}]})
    model = ask(allowed)[0]
    assert (model["id"], len(model["name"]), len(model["description"])) == ("a b [31m", 200, 500)


def test_a_long_list_is_cut(allowed):
    replying(allowed, {"data": [{"id": str(number)} for number in range(3000)]})
    assert len(ask(allowed)) == listing.MOST_MODELS


@pytest.mark.parametrize(
    ("status", "kind"), [(401, ProviderRejected), (404, ProviderRejected), (500, ProviderTransient)]
)
def test_a_refusal_says_with_which_status(allowed, status, kind):
    allowed.says(error(status, "no"))
    with pytest.raises(kind, match="no") as refusal:
        ask(allowed)
    assert refusal.value.details["http_status"] == status


@pytest.mark.parametrize("body", [{"data": {"id": "x"}}, {}, "text", 5, None])
def test_what_is_no_list_is_an_error(allowed, body):
    replying(allowed, body)
    with pytest.raises(ProviderTransient, match="shape"):
        ask(allowed)


def test_a_key_follows_no_redirect_to_another_origin(allowed):
    allowed.says(Reply(302, {"Location": "http://elsewhere.test/v1/models"}))
    with pytest.raises(Forbidden, match="another origin"):
        ask(allowed)


def test_a_private_address_must_be_let_through(double, setting):
    setting(EGRESS_ALLOW="")
    with pytest.raises(DjinnBotError, match="EGRESS_ALLOW"):
        ask(double)
    assert double.requests == []
