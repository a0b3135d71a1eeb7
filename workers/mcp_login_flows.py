"""People who log in at MCP servers: sent away with a state, and recognised by it when they come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mcp.client.auth import AuthorizationCodeResult

from models import mcp_configs
from models.errors import Conflict, Unavailable
from models.redaction import NOTHING
from workers.clients.mcp.oauth import PERSON_SECONDS, Kept, Login, Person
from workers.clients.mcp.session import Session

FINISH_SECONDS = 30.0  # to exchange the code and connect


class Logins:
    """`load` gives a server as stored now; in memory only: who was on the way when it ended begins again."""

    def __init__(self, load: Callable[[str], Any]) -> None:
        self._load = load
        self._away: dict[str, tuple[Person, asyncio.Task, Session]] = {}  # by state

    async def authorize(self, request: dict[str, Any]) -> dict[str, Any]:
        """`{url, state, expires_in}`: where a person logs in, and comes back with what. Raises Conflict if nowhere."""
        server_id = request["server_id"]
        wanted = await asyncio.to_thread(self._load, server_id)
        if not wanted.is_far:
            raise Conflict(f"{server_id} is a program", "oauth_not_needed")
        person = Person()
        auth = Login(Kept(server_id, wanted.entry["url"]), request["redirect_uri"], person)
        session = Session(server_id, wanted.key, wanted.entry, wanted.box, NOTHING, lambda *_: None, auth)
        opening = asyncio.create_task(session.open(PERSON_SECONDS))
        seconds = mcp_configs.timeout(wanted.entry)
        await asyncio.wait({person.url, opening}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not person.url.done():
            await session.close()
            await opening  # raises why nobody was sent anywhere, if that is so
            raise Conflict(f"{server_id} wants no login", "oauth_not_needed")
        self._away[person.state] = (person, opening, session)
        opening.add_done_callback(lambda task: self._ended(person.state, task))
        return {"url": person.url.result(), "state": person.state, "expires_in": PERSON_SECONDS}

    def _ended(self, state: str, opening: asyncio.Task) -> None:
        self._away.pop(state, None)
        if not opening.cancelled():
            opening.exception()  # looked at: nobody may wait for it any more

    async def authorized(self, request: dict[str, Any]) -> dict[str, Any]:
        """`{server_id}` once the tokens are kept. Raises Unavailable, Conflict for a state that is not known."""
        person, opening, session = self._away.pop(request["state"], (None, None, None))
        if person is None:
            raise Conflict("This login is not known any more: begin again", "oauth_unknown_state")
        if request["code"]:
            person.result.set_result(
                AuthorizationCodeResult(**{name: request[name] for name in ("code", "state", "iss")})
            )
        else:
            person.result.set_exception(Unavailable(f"the login was refused: {request['error']}"))
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await opening
        finally:
            await session.close()
        return {"server_id": session.server_id}
