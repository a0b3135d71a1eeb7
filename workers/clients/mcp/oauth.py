"""Logging in at MCP servers: OAuth 2.1 with PKCE and dynamic registration, by the SDK; its tokens are kept in SQL.

Only the supervisor holds tokens, so that one refresh at a time is a lock in one process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthMetadata, OAuthToken
from pydantic import AnyUrl

from models import config, database, mcp_logins
from models.errors import Unavailable

EARLY_SECONDS = 60  # before its end a token is refreshed
CALLBACK = "/v1/mcp/oauth/callback"
PERSON_SECONDS = 600  # that a person may take


@dataclass
class Kept:
    """The SDK's storage, over our table."""

    server_id: str
    url: str
    found: dict[str, Any] = field(default_factory=dict)

    async def get_tokens(self) -> OAuthToken | None:
        return OAuthToken(**self.found["tokens"]) if "tokens" in self.found else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        expires_at = time.time() + tokens.expires_in if tokens.expires_in else None
        await self._keep(tokens=tokens.model_dump(mode="json", exclude_none=True), expires_at=expires_at)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return OAuthClientInformationFull(**self.found["client"]) if "client" in self.found else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        await self._keep(client=client_info.model_dump(mode="json", exclude_none=True))

    async def keep_metadata(self, metadata: OAuthMetadata | None) -> None:
        if metadata is not None:
            await self._keep(metadata=metadata.model_dump(mode="json", exclude_none=True))

    async def _keep(self, **changes: Any) -> None:
        self.found |= changes
        await asyncio.to_thread(self._save)

    def _save(self) -> None:
        with database.transaction():
            mcp_logins.save(self.server_id, self.url, self.found)


class Login(OAuthClientProvider):
    """An `httpx2.Auth` that refreshes early. Without a `Person` a server that wants one fails."""

    def __init__(self, kept: Kept, redirect_uri: str, person: Person | None = None) -> None:
        about = OAuthClientMetadata(client_name="DjinnBot", redirect_uris=[AnyUrl(redirect_uri)])
        asks = person or Nobody()
        super().__init__(kept.url, about, kept, asks.send, asks.answer)
        self._kept = kept

    async def _initialize(self) -> None:
        await super()._initialize()
        self.context.token_expiry_time = self._kept.found.get("expires_at")
        if "metadata" in self._kept.found:  # else a refresh would go to the server itself
            self.context.oauth_metadata = OAuthMetadata(**self._kept.found["metadata"])

    def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        ends = self.context.token_expiry_time
        if ends and ends - time.time() < EARLY_SECONDS and self.context.can_refresh_token():
            self.context.token_expiry_time = 1.0  # long ago
        return super().async_auth_flow(request)

    async def _handle_token_response(self, response: httpx2.Response) -> None:
        await super()._handle_token_response(response)
        await self._kept.keep_metadata(self.context.oauth_metadata)


class Person:
    """Somebody who is sent to the server's page and comes back with a code."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.url: asyncio.Future[str] = loop.create_future()
        self.result: asyncio.Future[AuthorizationCodeResult] = loop.create_future()

    async def send(self, url: str) -> None:
        self.url.set_result(url)

    async def answer(self) -> AuthorizationCodeResult:
        async with asyncio.timeout(PERSON_SECONDS):
            return await self.result

    @property
    def state(self) -> str:
        """What the person will come back with."""
        return parse_qs(urlsplit(self.url.result()).query)["state"][0]


class Nobody:
    async def send(self, _: str) -> None:
        raise Unavailable("the server wants a login: POST /v1/mcp/{id}/oauth/start")

    async def answer(self) -> AuthorizationCodeResult:
        raise Unavailable("nobody was asked")


def login(server_id: str, url: str) -> Login | None:
    """The login that is kept, None if there is none. Raises Unreadable."""
    with database.connection():
        found = mcp_logins.load(server_id, url)
    return Login(Kept(server_id, url, found), f"{config.get().base_url}{CALLBACK}") if found else None
