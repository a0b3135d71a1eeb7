"""GitHub's REST API on loopback, with the shapes that GitHub answers with; it writes down what it was asked."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

LIMIT = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999", "X-RateLimit-Reset": "1900000000"}
OWNER = {"login": "octo", "id": 1, "type": "Organization", "avatar_url": "https://example.test/a.png"}


class GitHubDouble:
    """`journal`: (method, path, body) in order. `fail(...)` makes the next calls fail."""

    def __init__(self, app_key: str = "", per_page: int = 2) -> None:
        self.app_key, self.per_page = app_key, per_page  # the App's public key; pages are smaller than asked for
        self.journal: list[tuple[str, str, Any]] = []
        self.installations: dict[int, list[str]] = {11: ["octo/a", "octo/b", "octo/c"], 12: ["other/d"]}
        self.issues: dict[str, dict] = {}
        self.pulls: dict[str, dict] = {}
        self.comments: dict[int, dict] = {}
        self.checks: dict[int, dict] = {}
        self.deliveries: list[dict] = []
        self.redelivered: list[int] = []
        self.tokens: dict[str, dict] = {}
        self.token_seconds = 3600
        self.failures: list[tuple[re.Pattern, int, dict, Any]] = []
        self._numbers = iter(range(1000, 10**6))
        self._lock = threading.RLock()
        self._server = self._serve()

    def _serve(self) -> ThreadingHTTPServer:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                double.answer(self)

            do_POST = do_PATCH = do_GET

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return server

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.place}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- what tests say and ask ---

    def fail(self, pattern: str, status: int, times: int = 1, message: str = "Server Error", **headers: str) -> None:
        """The next calls of a path like that are answered so."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self.failures += [(re.compile(pattern), status, given, {"message": message})] * times

    def calls(self, method: str, pattern: str) -> list[Any]:
        """The bodies of the calls of that kind."""
        return [body for verb, path, body in self.journal if verb == method and re.search(pattern, path)]

    # --- answering ---

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        parts = urlsplit(handler.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with self._lock:
            data = json.loads(body) if body else None
            self.journal.append((handler.command, parts.path, data))
            status, headers, answer = self._result(handler, parts.path, query, data)
        text = json.dumps(answer).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **LIMIT, **headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def _result(self, handler, path: str, query: dict, data: Any) -> tuple[int, dict, Any]:
        for failure in self.failures:
            if failure[0].search(path):
                self.failures.remove(failure)
                return failure[1:]
        who = self._who(handler.headers.get("Authorization", ""))
        for method, pattern, allowed, view in self._routes():
            found = re.fullmatch(pattern, path)
            if found and handler.command == method:
                if allowed and who[0] not in allowed:
                    return 401, {}, {"message": "Bad credentials"}
                status, answer = view(who, query, data, *found.groups())
                return self._paged(handler, path, query, status, answer)
        return 404, {}, {"message": "Not Found"}

    def _who(self, header: str) -> tuple[str, Any]:
        kind, _, secret = header.partition(" ")
        if kind == "Bearer" and secret.count(".") == 2 and self.app_key:
            claims = jwt.decode(secret, self.app_key, algorithms=["RS256"])
            assert claims["exp"] - time.time() <= 9 * 60
            return "app", claims["iss"]
        if secret in self.tokens:
            return "installation", self.tokens[secret]
        return ("user", secret) if secret == "ghp_operator_token_0123456789" else ("nobody", None)

    def _paged(self, handler, path: str, query: dict, status: int, answer: Any) -> tuple[int, dict, Any]:
        """Lists in pages of our own size, with the Link header that says where it goes on."""
        lists = ("repositories", "check_runs")
        key = next((name for name in lists if isinstance(answer, dict) and name in answer), None)
        items = answer[key] if key else answer
        if handler.command != "GET" or not isinstance(items, list):
            return status, {}, answer
        start = int(query.get("cursor") or (int(query.get("page", 1)) - 1) * self.per_page)
        page = items[start : start + self.per_page]
        link = {}
        if start + self.per_page < len(items):
            more = f"cursor={start + self.per_page}" if "deliveries" in path else f"page={start // self.per_page + 2}"
            here = f"{self.url}{path}"
            link = {"Link": f'<{here}?{more}&per_page=100>; rel="next", <{here}?page=9>; rel="last"'}
        return status, link, answer | {key: page} if key else page

    def _routes(self) -> list[tuple[str, str, tuple, Callable]]:
        repo = r"/repos/([^/]+/[^/]+)"
        inside = ("installation", "user")
        return [
            ("GET", "/app", ("app",), lambda who, *_: (200, self._app())),
            ("GET", "/user", ("user",), lambda *_: (200, {"login": "operator", "id": 5})),
            ("GET", "/app/installations", ("app",), lambda *_: (200, [self._installed(i) for i in self.installations])),
            ("POST", r"/app/installations/(\d+)/access_tokens", ("app",), self._token),
            ("GET", "/installation/repositories", ("installation",), self._repositories),
            ("GET", "/user/repos", ("user",), lambda *_: (200, [repository("octo/a"), repository("me/own")])),
            ("GET", f"{repo}/installation", ("app",), self._of_repository),
            ("GET", f"{repo}/issues/(\\d+)", (), self._issue),
            ("POST", f"{repo}/pulls", inside, self._pull),
            ("GET", f"{repo}/pulls", inside, self._find_pulls),
            ("PATCH", f"{repo}/pulls/(\\d+)", inside, self._update_pull),
            ("GET", f"{repo}/pulls/(\\d+)", inside, lambda w, q, d, r, n: (200, self.pulls[f"{r}#{n}"])),
            ("GET", f"{repo}/issues/(\\d+)/comments", inside, lambda w, q, d, r, n: (200, self._comments(r, n))),
            ("POST", f"{repo}/issues/(\\d+)/comments", inside, self._comment),
            ("PATCH", f"{repo}/issues/comments/(\\d+)", inside, self._edit),
            ("GET", f"{repo}/commits/([^/]+)/check-runs", inside, self._checks),
            ("POST", f"{repo}/check-runs", ("installation",), self._check),
            ("PATCH", f"{repo}/check-runs/(\\d+)", ("installation",), self._update_check),
            ("GET", "/app/hook/deliveries", ("app",), lambda *_: (200, self.deliveries)),
            ("POST", r"/app/hook/deliveries/(\d+)/attempts", ("app",), self._redeliver),
            ("GET", f"{repo}/hooks/(\\d+)/deliveries", ("user",), lambda *_: (200, self.deliveries)),
            ("POST", r"/repos/[^/]+/[^/]+/hooks/\d+/deliveries/(\d+)/attempts", ("user",), self._redeliver),
            ("POST", r"/app-manifests/([^/]+)/conversions", (), self._convert),
        ]

    def _app(self) -> dict:
        return {"id": 42, "slug": "djinn", "name": "Djinn", "installations_count": len(self.installations)}

    def _installed(self, id: int) -> dict:
        facts = {"id": id, "account": OWNER, "app_id": 42, "app_slug": "djinn", "repository_selection": "all"}
        return facts | {"created_at": "2026-01-02T03:04:05Z", "suspended_at": None}

    def _token(self, who, query, data, id) -> tuple[int, dict]:
        token = f"ghs_token{next(self._numbers)}abcdefghijklmnop"
        self.tokens[token] = {"id": int(id), **(data or {})}
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.token_seconds))
        return 201, {"token": token, "expires_at": end}

    def _repositories(self, who, *_) -> tuple[int, dict]:
        names = self.installations[who[1]["id"]]
        return 200, {"total_count": len(names), "repositories": [repository(name) for name in names]}

    def _of_repository(self, who, query, data, name) -> tuple[int, dict]:
        for id, names in self.installations.items():
            if name.lower() in map(str.lower, names):
                return 200, self._installed(id)
        return 404, {"message": "Not Found"}

    def _issue(self, who, query, data, name, number) -> tuple[int, dict]:
        found = self.issues.get(f"{name}#{number}")
        return (200, found) if found else (404, {"message": "Not Found"})

    def _comments(self, name: str, number: str) -> list[dict]:
        return [comment for comment in self.comments.values() if comment["place"] == f"{name}#{number}"]

    def _comment(self, who, query, data, name, number) -> tuple[int, dict]:
        id = next(self._numbers)
        facts = {"id": id, "body": data["body"], "user": {"login": "djinn[bot]"}}
        self.comments[id] = facts | {"place": f"{name}#{number}"}
        return 201, self.comments[id]

    def _edit(self, who, query, data, name, id) -> tuple[int, dict]:
        if int(id) not in self.comments:
            return 404, {"message": "Not Found"}
        self.comments[int(id)]["body"] = data["body"]
        return 200, self.comments[int(id)]

    def _find_pulls(self, who, query, data, name) -> tuple[int, list]:
        owner, branch = query["head"].split(":")
        mine = [pull for place, pull in self.pulls.items() if place.startswith(f"{owner}/")]
        return 200, [pull for pull in mine if pull["head"]["ref"] == branch]

    def _pull(self, who, query, data, name) -> tuple[int, dict]:
        if any(pull["head"]["ref"] == data["head"] for pull in self.pulls.values()):
            return 422, {"message": "Validation Failed", "errors": [{"message": "A pull request already exists"}]}
        number = 100 + len(self.pulls)
        facts = {"number": number, "html_url": f"https://github.com/{name}/pull/{number}"}
        facts["head"] = {"ref": data["head"]}
        self.pulls[f"{name}#{number}"] = facts | {"title": data["title"], "body": data["body"], "base": data["base"]}
        return 201, self.pulls[f"{name}#{number}"]

    def _update_pull(self, who, query, data, name, number) -> tuple[int, dict]:
        self.pulls[f"{name}#{number}"] |= data
        return 200, self.pulls[f"{name}#{number}"]

    def _checks(self, who, query, data, name, sha) -> tuple[int, dict]:
        found = [check for check in self.checks.values() if check["head_sha"] == sha]
        return 200, {"total_count": len(found), "check_runs": found}

    def _check(self, who, query, data, name) -> tuple[int, dict]:
        id = next(self._numbers)
        self.checks[id] = {"id": id, "conclusion": None, **data}
        return 201, self.checks[id]

    def _update_check(self, who, query, data, name, id) -> tuple[int, dict]:
        self.checks[int(id)] |= data
        return 200, self.checks[int(id)]

    def _redeliver(self, who, query, data, id) -> tuple[int, dict]:
        self.redelivered.append(int(id))
        return 202, {}

    def _convert(self, who, query, data, code) -> tuple[int, dict]:
        if code != "good":
            return 404, {"message": "Not Found"}
        secrets = {"pem": "-----BEGIN RSA PRIVATE KEY-----", "webhook_secret": "made-secret-123"}
        secrets["client_secret"] = "c" * 40
        return 201, {**self._app(), "client_id": "Iv1.abc", "html_url": "https://github.com/apps/djinn", **secrets}


def repository(full_name: str) -> dict:
    owner, name = full_name.split("/")
    facts = {"id": 1, "full_name": full_name, "name": name, "owner": {"login": owner}, "description": None}
    more = {
        "private": False,
        "archived": False,
        "default_branch": "main",
        "html_url": f"https://github.com/{full_name}",
    }
    return facts | more


def delivery(id: int, guid: str, status: str = "OK", at: str = "2026-01-02T03:04:05Z") -> dict:
    """An entry of a hook's list of deliveries."""
    code = 200 if status == "OK" else 502
    facts = {"id": id, "guid": guid, "status": status, "status_code": code, "delivered_at": at, "redelivery": False}
    return facts | {"event": "issues", "action": "labeled", "installation_id": 11, "repository_id": 1}
