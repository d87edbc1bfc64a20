"""dbwatch on a bus of its own, watching real databases: what the tests of its verdicts share."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from msgspec import structs

from bus.api import Subscription
from bus.events import AnyEvent, DbCaughtUp, DbDegraded, DbEvent
from bus.memory import MemoryBus
from bus.sections import CheckSettings, DatabaseSettings
from bus.settings import Settings
from examples.mariadb import MariaDb
from services.dbwatch.service import DbWatch
from tests.harness import DEADLINE
from tests.integration.conftest import PASSWORD

EVERY, TIMEOUT = 0.2, 0.4
WITHIN = 2.0
"""Seconds that the begin and the end of an outage may stay unseen, as promised for the default settings: with
the faster ones here, a busy machine has more than a second to spare."""

QUIET = 1.5
"""Seconds without a word after which nothing more is expected: several checks."""

STATES = ("DB_UP", "DB_DEGRADED", "DB_DOWN", "DB_MISCONFIGURED")

E = TypeVar("E", bound=DbEvent)

log = logging.getLogger(__name__)


class Scene:
    """Settings for some databases, a bus, and an ear on it."""

    def __init__(self, root: Path, **databases: str) -> None:
        self.password_file = root / "password"
        self.password_file.write_text(f"{PASSWORD}\n")
        self.settings = Settings(
            databases={
                name: DatabaseSettings(url=url, password_file="password" if url.startswith("mysql") else "")
                for name, url in databases.items()
            },
            checks=CheckSettings(database_every=EVERY, database_timeout=TIMEOUT),
            file=str(root / "tenantbus.toml"),
        )
        self.bus = MemoryBus("test")
        self.events: Subscription
        self._marked = time.monotonic()

    def at_ease(self, **checks: Any) -> Self:
        """Check as is the default, and call nothing slow: this machine has other work as well."""
        settings = CheckSettings(database_slow=60.0, database_write_every=0.5)
        self.settings = structs.replace(self.settings, checks=structs.replace(settings, **checks))
        return self

    def having(self, **settings: Any) -> Self:
        """Change what is set for each database."""
        databases = {name: structs.replace(one, **settings) for name, one in self.settings.databases.items()}
        self.settings = structs.replace(self.settings, databases=databases)
        return self

    @asynccontextmanager
    async def dbwatch(self) -> AsyncIterator[None]:
        self.events = await self.bus.subscribe(*STATES)
        service = DbWatch(self.settings, self.bus.other("dbwatch"))
        await asyncio.wait_for(service.start(), WITHIN)
        work = asyncio.create_task(service.run())
        try:
            yield
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await service.stop(signal.SIGTERM)
            await self.events.aclose()

    async def said(self, event_type: type[E], database: str = "db1", within: float = WITHIN) -> E:
        """The next event, which must be this one."""
        envelope = await asyncio.wait_for(anext(self.events), within)
        assert isinstance(envelope.event, event_type), envelope
        assert envelope.subject == database
        return envelope.event

    def mark(self) -> None:
        """Something begins or ends now; the log of `verdict` tells how long it took to be seen."""
        self._marked = time.monotonic()

    async def verdict(
        self, event_type: type[E], *kinds: str, database: str = "db1", within: float = DEADLINE
    ) -> E:
        """Wait until this is said of a database, with everything of `kinds` that may be wrong with it."""
        async with asyncio.timeout(within):
            while True:
                event = (await anext(self.events)).event
                if not isinstance(event, event_type) or event.database != database:
                    continue
                if isinstance(event, DbDegraded) and not {*kinds} <= {*event.kinds}:
                    continue
                seen = time.monotonic() - self._marked
                log.info("seen after %.2f s: %s %s %s", seen, database, event.type, event.reason)
                return event

    async def told(self) -> list[AnyEvent]:
        """All verdicts so far."""
        return [each.event for each in await self.bus.replay(*STATES)]

    async def caught_up(self, source: str, target: str) -> list[bool | None]:
        """All that was said of the target having what the source had."""
        events = [each.event for each in await self.bus.replay("DB_CAUGHT_UP")]
        return [
            each.caught_up
            for each in events
            if isinstance(each, DbCaughtUp) and (each.source, each.target) == (source, target)
        ]

    async def silence(self) -> None:
        with pytest.raises(TimeoutError):
            print(await asyncio.wait_for(anext(self.events), QUIET))


def url(server: MariaDb, user: str = "shop", schema: str = "shop") -> str:
    return f"mysql://{user}@127.0.0.1:{server.port}/{schema}"


@contextmanager
def frozen(server: MariaDb) -> Iterator[None]:
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def run(test: Coroutine[None, None, None], within: float = 2 * DEADLINE) -> None:
    asyncio.run(asyncio.wait_for(test, within))


async def restart(server: MariaDb) -> None:
    server.launch()  # not in another thread: the server ends with the thread that starts it
    await asyncio.to_thread(server.wait_ready)
