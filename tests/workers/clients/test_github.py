"""The client of GitHub's REST API, on the wire."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from models import redaction
from models.errors import OutsideError
from tests.github_double import GitHubDouble
from workers.clients import github

pytestmark = [pytest.mark.usefixtures("store"), pytest.mark.parametrize("store", ["sqlite"], indirect=True)]
PAT = "ghp_operator_token_0123456789"


@pytest.fixture(scope="module")
def key():
    """A private key of an App, and its public half."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode(), public.decode()


@pytest.fixture
def double(key, store, setting):
    """GitHub, and us as an App of it."""
    github._tokens.clear()
    made = GitHubDouble(key[1])
    setting(GITHUB_API_URL=made.url, EGRESS_ALLOW=made.place, GITHUB_APP_ID="42", GITHUB_APP_PRIVATE_KEY=key[0])
    yield made
    made.close()


@pytest.fixture
def as_user(double, setting):
    setting(GITHUB_APP_ID="", GITHUB_APP_PRIVATE_KEY="", GITHUB_TOKEN=PAT)
    return double


def test_the_app_calls_with_a_token_it_has_signed_itself(double) -> None:
    client = github.app()
    assert client.get("/app")["slug"] == "djinn"
    assert client.rate == {"remaining": 4999, "limit": 5000, "reset_at": 1_900_000_000_000}


def test_the_client_id_may_stand_in_for_the_number(double, setting) -> None:
    setting(GITHUB_APP_ID="", GITHUB_APP_CLIENT_ID="Iv1.abc")
    assert github.app().get("/app")["id"] == 42


def test_all_pages_are_read(double) -> None:
    found = github.installation(11).pages("/installation/repositories", "repositories")
    assert [repo["full_name"] for repo in found] == ["octo/a", "octo/b", "octo/c"]
    assert len(double.calls("GET", "/installation/repositories")) == 2


def test_a_token_of_an_installation_is_kept_until_shortly_before_its_end(double) -> None:
    assert github.installation_token(11) == github.installation_token(11) != github.installation_token(12)
    double.token_seconds = github.FRESH_SECONDS - 1
    github._tokens.clear()
    assert github.installation_token(11) != github.installation_token(11)


def test_a_token_that_is_refused_is_not_used_again(double) -> None:
    token = github.installation_token(11)
    double.fail("/installation/repositories", 401)
    with pytest.raises(OutsideError):
        github.installation(11).get("/installation/repositories")
    assert github.installation_token(11) != token


def test_a_token_for_a_repository_can_nothing_else(double) -> None:
    token = github.installation_token(11, "a")
    assert double.tokens[token]["repositories"] == ["a"] and double.tokens[token]["permissions"]["contents"] == "write"
    assert github.installation_token(11) != token


def test_tokens_are_known_to_redaction(double) -> None:
    token = github.installation_token(11)
    assert token not in redaction.server().clean(f"it is {token}!")


def test_the_installation_of_a_repository_is_found(double) -> None:
    issue = {"number": 1, "title": "x"}
    double.issues["other/d#1"] = issue
    assert github.for_repository("other/d").get("/repos/other/d/issues/1") == issue | {"url": "/repos/other/d/issues/1"}


def test_a_personal_token_is_enough(as_user) -> None:
    assert github.user().get("/user")["login"] == "operator"
    with pytest.raises(OutsideError, match="No GitHub App"):
        github.app()


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_read_that_github_fails_is_repeated(as_user, status) -> None:
    as_user.fail("/user", status, times=2)
    assert github.user().get("/user")["login"] == "operator"
    as_user.fail("/user", status, times=3)
    with pytest.raises(OutsideError) as failure:
        github.user().get("/user")
    assert (failure.value.code, failure.value.details["status"]) == ("github_error", status)


def test_a_write_is_not_repeated(as_user) -> None:
    as_user.fail("/comments", 502)
    with pytest.raises(OutsideError):
        github.user().post("/repos/octo/a/issues/1/comments", {"body": "x"})
    assert len(as_user.calls("POST", "/comments")) == 1


def test_a_rate_limit_says_how_long_to_wait(as_user) -> None:
    as_user.fail("/user", 403, message="You have exceeded a secondary rate limit", Retry_After="30")
    with pytest.raises(OutsideError) as secondary:
        github.user().get("/user")
    reset = str(int(time.time()) + 60)
    spent = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": reset}
    as_user.fail("/user", 429, message="API rate limit exceeded", **spent)
    with pytest.raises(OutsideError) as primary:
        github.user().get("/user")
    assert (secondary.value.code, secondary.value.retry_after) == ("github_rate_limited", 30)
    assert 50 < primary.value.retry_after <= 60


def test_a_refusal_says_what_github_said_without_the_token(as_user) -> None:
    as_user.fail("/user", 401, message=f"Bad credentials: {PAT}")
    with pytest.raises(OutsideError, match="GitHub answered 401: Bad credentials") as failure:
        github.user().get("/user")
    assert PAT not in failure.value.message


def test_egress_rules_hold(as_user, setting) -> None:
    setting(EGRESS_ALLOW="")
    with pytest.raises(OutsideError, match="not a public address"):
        github.user().get("/user")


def test_nobody_there_is_an_error_like_others(as_user, setting) -> None:
    as_user.close()
    as_user.close = lambda: None
    with pytest.raises(OutsideError, match="cannot be asked"):
        github.user().get("/user")


def test_what_is_not_githubs_answer_is_refused(as_user) -> None:
    as_user.fail("/user", 200, times=3)
    as_user.failures = [(*failure[:3], "{broken") for failure in as_user.failures]
    with pytest.raises(OutsideError):
        list(github.user().pages("/user", "items"))
