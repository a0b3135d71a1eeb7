"""GitHub's REST API through PyGithub, whose every byte goes through our egress rules."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx2
from github import Auth, Github, GithubException
from github.Requester import Requester

from models import config, github_apps, redaction
from models.errors import DjinnBotError, OutsideError
from models.github_apps import APP, PAT
from workers.clients import http

TIMEOUT_SECONDS = 10
JWT_SECONDS = 540  # GitHub takes at most ten minutes
FRESH_SECONDS = 300  # a token that ends sooner is replaced
PAUSES = (0.3, 1.0)  # seconds before a read is repeated that GitHub itself has failed
PER_PAGE = 100
MOST_PAGES = 1000
MOST_BYTES = 20 << 20  # of an answer
CODE = "github_error"


# --- the wire ---


class Wire:
    """What PyGithub takes for a connection: one request, one answer."""

    scheme = "https"

    def __init__(self, host: str, port: int | None = None, timeout: int | None = None, **_: Any) -> None:
        self.host = host
        self._origin = f"{self.scheme}://{host}" + (f":{port}" if port else "")
        self._timeout = timeout or TIMEOUT_SECONDS

    def request(self, verb: str, url: str, input: Any, headers: dict[str, str], stream: bool = False) -> None:
        content = input.encode() if isinstance(input, str) else input
        self._sent = (verb, self._origin + url, headers, content)

    def getresponse(self) -> Answer:
        verb, url, headers, content = self._sent
        options = {"headers": headers, "content": content, "max_bytes": MOST_BYTES, "timeout": self._timeout}
        return Answer(http.request(verb, url, **options))

    def close(self) -> None:
        """Nothing is kept open."""


class PlainWire(Wire):
    scheme = "http"


class Answer:
    def __init__(self, answer: httpx2.Response) -> None:
        self.status, self.headers, self._text = answer.status_code, answer.headers, answer.text

    def getheaders(self) -> list[tuple[str, str]]:
        return list(self.headers.items())

    def read(self) -> str:
        return self._text


Requester.injectConnectionClasses(PlainWire, Wire)


# --- who calls ---


class Client:
    """Calls as somebody. Every method raises OutsideError; `rate`: {remaining, limit, reset_at} of the last answer."""

    def __init__(self, auth: Auth.Auth | None) -> None:
        options = {"retry": None, "seconds_between_requests": None, "seconds_between_writes": None}
        self._auth = auth
        address = config.get().github_api_url.rstrip("/")
        self._github = Github(auth=auth, base_url=address, timeout=TIMEOUT_SECONDS, per_page=PER_PAGE, **options)
        self.rate: dict[str, int] | None = None

    def get(self, path: str, **params: Any) -> Any:
        return self._read(path, params)[1]

    def pages(self, path: str, key: str | None = None, **params: Any) -> Iterator[Any]:
        """The items of all pages; `key` is where an answer holds them."""
        query: dict[str, Any] | None = {"per_page": PER_PAGE, **params}
        for _ in range(MOST_PAGES):
            headers, data = self._read(path, query)
            items = data.get(key) if key and isinstance(data, dict) else data
            if not isinstance(items, list):
                raise OutsideError("GitHub has answered with something else than a list", CODE, status=599)
            yield from items
            query = _next_page(headers.get("link", ""))
            if query is None:
                return

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, None, body)[1]

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PATCH", path, None, body)[1]

    def _read(self, path: str, params: dict[str, Any]) -> tuple[dict[str, str], Any]:
        for pause in PAUSES:
            try:
                return self._call("GET", path, params)
            except OutsideError as error:
                if error.details.get("status", 0) < 500 or error.retry_after:
                    raise
                time.sleep(pause)
        return self._call("GET", path, params)

    def _call(self, verb: str, path: str, params: Any, body: Any = None) -> tuple[dict[str, str], Any]:
        try:
            headers, data = self._github.requester.requestJsonAndCheck(verb, path, parameters=params, input=body)
        except GithubException as error:
            self._note_rate(error.headers or {})
            if error.status == 401 and self._auth is not None:
                _forget(self._auth.token)
            raise _refusal(error) from error
        except (DjinnBotError, ValueError, AssertionError) as error:  # no answer, or none that is GitHub's
            raise OutsideError(f"GitHub cannot be asked: {error}", CODE, status=599) from error
        self._note_rate(headers)
        return headers, data

    def _note_rate(self, headers: dict[str, Any]) -> None:
        found = {name: headers.get(f"x-ratelimit-{name}") for name in ("remaining", "limit", "reset")}
        if all(str(value).isdigit() for value in found.values()):
            remaining, limit, reset = map(int, found.values())
            self.rate = {"remaining": remaining, "limit": limit, "reset_at": reset * 1000}


def _next_page(link: str) -> dict[str, str] | None:
    """The query of the page that a Link header calls the next one."""
    for part in link.split(","):
        address, _, attributes = part.partition(";")
        if 'rel="next"' in attributes:
            return dict(parse_qsl(urlsplit(address.strip().strip("<>")).query))
    return None


def _refusal(error: GithubException) -> OutsideError:
    headers = error.headers or {}
    said = error.data.get("message") if isinstance(error.data, dict) else None
    text = redaction.server().clean(f"GitHub answered {error.status}: {said or 'nothing more'}")
    if error.status in (403, 429) and (wait := _wait(headers)):
        return OutsideError(text, "github_rate_limited", retry_after=wait, status=error.status)
    return OutsideError(text, CODE, status=error.status)


def _wait(headers: dict[str, Any]) -> int | None:
    """Seconds until GitHub lets us ask again, if it says so."""
    after, reset = str(headers.get("retry-after", "")), str(headers.get("x-ratelimit-reset", ""))
    if after.isdigit():
        return max(int(after), 1)
    if str(headers.get("x-ratelimit-remaining")) == "0" and reset.isdigit():
        return max(int(reset) - int(time.time()), 1)
    return None


# --- tokens ---

_tokens: dict[tuple[Any, ...], tuple[str, float]] = {}  # (origin, app, installation, repository) -> (token, its end)
_lock = threading.Lock()


def app() -> Client:
    """The App itself. Raises OutsideError if there is none."""
    us = github_apps.identity()
    if us.mode != APP:
        raise OutsideError("No GitHub App is configured", "github_not_configured", status=0)
    redaction.learn(github_apps.secret_values())
    try:
        return Client(Auth.AppAuth(us.app_id, us.private_key, jwt_expiry=JWT_SECONDS))
    except ValueError as error:
        raise OutsideError("The App's private key cannot be read", CODE, status=0) from error


def user() -> Client:
    """The owner of the personal token."""
    return Client(Auth.Token(github_apps.identity().token))


def installation(installation_id: int) -> Client:
    """The App where it is installed."""
    return Client(Auth.Token(installation_token(installation_id)))


def installation_token(installation_id: int, repository: str | None = None) -> str:
    """A token of the installation, kept until shortly before its end; with `repository` (a bare name) only for that."""
    key = (config.get().github_api_url, github_apps.identity().app_id, installation_id, repository)
    with _lock:
        token, end = _tokens.get(key, ("", 0.0))
    if time.time() > end - FRESH_SECONDS:
        token, end = _new_token(installation_id, repository)
        with _lock:
            _tokens[key] = (token, end)
    return token


def _forget(refused: str) -> None:
    """A token that GitHub does not take any more is not kept."""
    with _lock:
        for key in [key for key, (token, _) in _tokens.items() if token == refused]:
            del _tokens[key]


def _new_token(installation_id: int, repository: str | None) -> tuple[str, float]:
    narrow = {"repositories": [repository], "permissions": {"contents": "write", "pull_requests": "write"}}
    made = app().post(f"/app/installations/{installation_id}/access_tokens", narrow if repository else {})
    redaction.learn({f"GITHUB_INSTALLATION_TOKEN {made['token'][-4:]}": made["token"]})
    return made["token"], datetime.fromisoformat(made["expires_at"]).timestamp()


def for_repository(full_name: str, installation_id: int | None = None) -> Client:
    """Whoever of us may work with the repository; nobody in particular if nothing is configured."""
    mode = github_apps.identity().mode
    if mode == APP:
        return installation(installation_id or find_installation(full_name))
    return user() if mode == PAT else Client(None)


def find_installation(full_name: str) -> int:
    """Asks where the App is installed for the repository."""
    return app().get(f"/repos/{path(full_name)}/installation")["id"]


def path(full_name: str) -> str:
    return quote(full_name, safe="/")
