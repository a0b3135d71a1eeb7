"""The HTTP client behind the `djinnbot` command."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx

from models import config

RECONNECT_SECONDS = 1.0
TIMEOUT = httpx.Timeout(10.0, read=30.0)
STREAM_TIMEOUT = httpx.Timeout(10.0, read=45.0)  # keep-alives come every 15 s


class ApiError(RuntimeError):
    """An answer that is not 2xx: `status` and the problem's `detail`, or why there was no answer (`status` 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    def __init__(self, base_url: str | None = None, token: str | None = None) -> None:
        settings = config.get()
        token = token or settings.api_token or _token_of(settings)
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self.base_url = base_url or settings.base_url
        self._http = httpx.Client(base_url=self.base_url, headers=headers, timeout=TIMEOUT, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: dict | None = None) -> Any:
        return self._call("POST", path, json={} if body is None else body)

    def put(self, path: str, body: dict) -> Any:
        return self._call("PUT", path, json=body)

    def patch(self, path: str, body: dict) -> Any:
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        self._call("DELETE", path)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise ApiError(
                0, f"No answer from {self.base_url}: {error}. Is it up? Start it with `djinnbot up`."
            ) from error
        if response.is_error:
            raise ApiError(response.status_code, _problem(response))
        return response.json() if response.content else None

    def events(self, stream_id: str, after: int = 0) -> Iterator[dict]:
        """Events of a run or chat from `after` on, until its end; reconnects by itself and never repeats one."""
        while True:
            try:
                for event in self._stream(stream_id, after):
                    after = event["seq"]
                    yield event
                return
            except httpx.TransportError:
                if self._ended(stream_id, after):
                    return

    def _stream(self, stream_id: str, after: int) -> Iterator[dict]:
        query = {"session_id" if stream_id.startswith("chat_") else "run_id": stream_id}
        headers = {"Last-Event-ID": str(after)} if after else {}
        stream = self._http.stream("GET", "/v1/events/stream", params=query, headers=headers, timeout=STREAM_TIMEOUT)
        with stream as response:
            if response.is_error:
                response.read()
                raise ApiError(response.status_code, _problem(response))
            yield from _parsed(response.iter_lines())

    def _ended(self, stream_id: str, after: int) -> bool:
        time.sleep(RECONNECT_SECONDS)
        group = "chat/sessions" if stream_id.startswith("chat_") else "runs"
        found = self.get(f"/v1/{group}/{stream_id}")
        return found["completed_at"] is not None and found["last_seq"] <= after


def _token_of(settings: config.Config) -> str | None:
    try:
        return settings.token_file.read_text().strip()
    except OSError:
        return None


def _parsed(lines: Iterator[str]) -> Iterator[dict]:
    """Numbered frames as objects; a control frame has no id."""
    numbered = False
    for line in lines:
        if line.startswith("id:"):
            numbered = True
        elif line.startswith("data:") and numbered:
            yield json.loads(line[5:])
        elif not line:
            numbered = False


def _problem(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        return f"{response.status_code} {response.reason_phrase}"
    errors = "".join(f"\n  {field}: {'; '.join(map(str, why))}" for field, why in (problem.get("errors") or {}).items())
    return f"{problem.get('detail') or response.reason_phrase}{errors}"
