"""The supervisor: the one process that talks to MCP servers. `python -m workers.mcp_supervisor`.

The relay starts it once there is a server to talk to; it ends when there is none any more. A lease in the database
keeps it the only one: whoever loses it closes everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable

import orjson
import redis.asyncio
import structlog

from models import crypto, database, leases, schema, workers
from models.base import new_id
from models.errors import Unavailable
from models.logs import configure_logs
from workers import mcp_logs, mcp_wire
from workers.broker import redis_url, ringer
from workers.mcp_sessions import Sessions, wanted
from workers.publisher import FEED_DATABASE, publisher

log = structlog.get_logger(__name__)

LEASE, LEASE_MS = "mcp", 10_000
ROUND_SECONDS = 1.0  # between looks at the rows
TAKE_SECONDS = 1  # longest wait for a request, so that an end is noticed
REPLY_SECONDS = 60  # that a reply is kept for who asked
UNUSED_ROUNDS = 30  # without a server to run, until it ends
MOST_LINES = 2000  # of the log, that wait for Redis
LEAST_PAUSE = 1.0


class Supervisor:
    def __init__(self) -> None:
        self.id = f"{new_id('mcs_')} {workers.mark()}"
        self.stopping = asyncio.Event()
        self._parent = os.getppid()
        self._redis = redis.asyncio.Redis.from_url(redis_url(), db=FEED_DATABASE, socket_timeout=None)
        self._lines: asyncio.Queue[dict[str, str]] = asyncio.Queue(MOST_LINES)
        self._dropped = 0
        self._works: set[str] = set()  # requests
        self._tasks: set[asyncio.Task] = set()
        self.sessions = Sessions(self._write, self._alarm)

    async def run(self) -> None:
        """Until told to stop, the lease is lost, or there has been nothing to do for a while."""
        await self._wait_for_lease()
        if not self.stopping.is_set():
            log.info("mcp_supervisor_started", supervisor=self.id)
            loops = [
                asyncio.create_task(each()) for each in (self.stopping.wait, self._serve, self._watch, self._publish)
            ]
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for loop in loops:
                loop.cancel()
            await self.sessions.close()
            for loop in done:
                loop.result()  # what broke a loop ends the process, and the relay begins it anew
        await asyncio.to_thread(leases.release, LEASE, self.id)
        await self._redis.aclose()

    # --- the lease, and what the rows say ---

    async def _wait_for_lease(self) -> None:
        while not self.stopping.is_set() and not await self._hold():
            if os.getppid() != self._parent:
                self.stopping.set()
            await asyncio.to_thread(_bury_owner)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_SECONDS / 5):
                    await self.stopping.wait()

    async def _hold(self) -> bool:
        try:
            return await asyncio.to_thread(leases.hold, LEASE, self.id, LEASE_MS)
        except Unavailable as error:
            log.warning("mcp_supervisor_waits", error=error.message)
            return False

    async def _watch(self) -> None:
        """Renews the lease, closes what is not to be open, and stops when there is no more reason to go on."""
        renewed, unused = time.monotonic(), 0
        while not self.stopping.is_set():
            if time.monotonic() - renewed > LEASE_MS / 3000:
                if await self._hold():
                    renewed = time.monotonic()
                elif time.monotonic() - renewed > 0.7 * LEASE_MS / 1000:
                    log.error("mcp_lease_lost")
                    self.stopping.set()
            with contextlib.suppress(Unavailable):  # what is open stays until the database says otherwise
                rows = await asyncio.to_thread(wanted)
                await self.sessions.settle(rows)
                unused = 0 if rows else unused + 1
            if unused > UNUSED_ROUNDS or os.getppid() != self._parent:
                self.stopping.set()
            await self._mark(list(self._works))
            await asyncio.sleep(ROUND_SECONDS)

    # --- requests ---

    async def _serve(self) -> None:
        while True:
            try:
                taken = await self._redis.blpop([mcp_wire.REQUESTS], timeout=TAKE_SECONDS)
                if taken:
                    self._start(self._answer(taken[1].decode()))
            except (redis.RedisError, OSError) as error:
                log.warning("mcp_requests_wait", error=str(error))
                await asyncio.sleep(LEAST_PAUSE)

    def _start(self, work) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: str) -> None:
        await self._mark([number])  # before it is taken, so that it is never neither waiting nor at work
        text = await self._redis.getdel(mcp_wire.request_key(number))
        if text is None:  # nobody waits any more, or it was taken before
            return
        self._works.add(number)
        try:
            reply = await self.sessions.answer(orjson.loads(text))
        except Exception as error:
            reply = mcp_wire.failure(error)
        self._works.discard(number)
        key = mcp_wire.reply_key(number)
        with contextlib.suppress(redis.RedisError, OSError):  # who asked gives up in time
            await self._redis.pipeline().rpush(key, orjson.dumps(reply)).expire(key, REPLY_SECONDS).execute()

    async def _mark(self, numbers: Iterable[str]) -> None:
        """Shows who asked that these are being worked at."""
        pipe = self._redis.pipeline(transaction=False)
        for number in numbers:
            pipe.set(mcp_wire.work_key(number), 1, px=mcp_wire.WORK_MS)
        with contextlib.suppress(redis.RedisError, OSError):
            await pipe.execute()

    def _alarm(self, server_id: str) -> None:
        """A session has ended by itself: have a worker look now."""
        self._start(asyncio.to_thread(ringer.ring, "mcp_check", server_id))

    # --- the log ---

    def _write(self, server_id: str, level: str, stream: str, text: str) -> None:
        """Never waits: what comes faster than it can be stored is counted, not kept."""
        if self._lines.full():
            self._dropped += 1
        else:
            self._lines.put_nowait(mcp_logs.line(server_id, level, stream, text))

    async def _publish(self) -> None:
        while True:
            lines = [await self._lines.get()]
            while len(lines) < 200 and not self._lines.empty():
                lines.append(self._lines.get_nowait())
            if self._dropped:
                lines.append(mcp_logs.line("", "warn", "supervisor", f"{self._dropped} lines were left out"))
                self._dropped = 0
            pipe = self._redis.pipeline(transaction=False)
            for line in lines:
                pipe.xadd(mcp_logs.RING, line, maxlen=mcp_logs.KEPT, approximate=True)
            with contextlib.suppress(redis.RedisError, OSError):  # the log is lost with Redis
                await pipe.execute()


def _bury_owner() -> None:
    """An owner that has visibly died is not waited for."""
    owner = leases.owner(LEASE)
    if owner and workers.has_ended(owner.partition(" ")[2]):
        leases.release(LEASE, owner)


async def _main() -> None:
    supervisor = Supervisor()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stopping.set)
    await supervisor.run()


def main() -> None:
    configure_logs()
    for name in ("mcp", "client", "httpx2"):  # they would write down what servers send
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    database.init()
    schema.migrate()
    crypto.ring()
    publisher.start()
    asyncio.run(_main())


if __name__ == "__main__":
    main()
