"""Clients of a broker that a test has started."""

import asyncio
from collections.abc import Awaitable, Callable

from bus.api import Bus
from bus.client import connect
from bus.events import DbUp, Envelope
from bus.settings import Settings
from tests.harness import DEADLINE


def act(settings: Settings, body: Callable[[Bus], Awaitable[None]]) -> None:
    """Run a body with a client of its own."""

    async def main() -> None:
        async with asyncio.timeout(DEADLINE):
            bus = await connect(settings, "test", within=DEADLINE)
            try:
                await body(bus)
            finally:
                await bus.close()

    asyncio.run(main())


def up(database: str, reason: str = "answers") -> DbUp:
    return DbUp(database=database, reason=reason)


def replay_all(settings: Settings, *patterns: str) -> list[Envelope]:
    found: list[Envelope] = []

    async def body(bus: Bus) -> None:
        found.extend(await bus.replay(*patterns, limit=1_000_000))

    act(settings, body)
    return found
