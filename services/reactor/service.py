"""Wires what comes in to the decisions, and the decisions to what goes out."""

import asyncio
import logging
import signal
from typing import get_args

from msgspec import structs

from bus.api import Bus, Subscription
from bus.model import Plan
from bus.settings import Settings
from services.base import Service
from services.reactor import sense
from services.reactor.act import Act
from services.reactor.actions import AnyNews
from services.reactor.adopt import in_journal
from services.reactor.forks import Forks
from services.reactor.logs import LogKeeper
from services.reactor.placing import Verdict
from services.reactor.tenants import Tenants
from services.reactor.wants import Shared

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds after the start in which dbwatch and pathwatch may not have said everything yet."""

LAST_KILLS = 10.0
"""Seconds that the end of the product waits for killed processes, on top of their time to stop."""


class Reactor(Service):
    """Keeps running what should run."""

    name = "reactor"

    def __init__(self, settings: Settings, bus: Bus) -> None:
        super().__init__(settings, bus)
        self._forks = Forks(settings, self._hear)
        self._act = Act(bus, self._forks, self._hear, settings)
        shared = Shared(
            defaults=settings.tenants,
            plans={plan: settings.defaults_of(plan) for plan in get_args(Plan)},
            restart=settings.restart,
            databases={name: Verdict() for name in settings.databases},
            weights={name: database.weight for name, database in settings.databases.items()},
            moves=settings.moves,
            surveyed=False,
            patient=True,
        )
        self.tenants = Tenants(self._act, shared)
        self._patience: asyncio.TimerHandle
        self._events: Subscription

    async def start(self) -> None:
        head, events = await sense.present(self.bus)
        for envelope in events:
            self.tenants.recall(envelope)
        self.tenants.recall_requests(head)
        found = [in_journal(each, head) for each in await self._forks.adopt()]
        for _ in range(2):  # what ended while nobody listened is looked into, and told
            await asyncio.sleep(0)
        self.tenants.begin(found)
        self._events = await self.bus.subscribe(*sense.FOLLOWED, after=head)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._lose_patience)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            logs = group.create_task(LogKeeper(self.settings).run())
            async for envelope in self._events:
                self.tenants.follow(envelope)
            logs.cancel()

    async def stop(self, by: signal.Signals) -> None:
        self._patience.cancel()
        self.tenants.close()
        if by == signal.SIGINT:
            await self._stop_tenants()
            await self._forks.shut_down()
        else:
            await self._forks.close()
        self._act.close()
        await self._events.aclose()

    async def _stop_tenants(self) -> None:
        self.tenants.end()
        shared, wishes = self.tenants.shared, [tenant.wish for tenant in self.tenants.known.values()]
        times = [shared.defaults_of(wish.settings).stop_timeout_of(wish.settings) for wish in wishes]
        within = max(times, default=0.0) + LAST_KILLS
        try:
            async with asyncio.timeout(within):
                await self.tenants.none_left.wait()
        except TimeoutError:
            log.exception("some tenants did not end within %g s", within)

    def _hear(self, news: AnyNews) -> None:
        self.tenants.hear(news)

    def _lose_patience(self) -> None:
        self.tenants.change(structs.replace(self.tenants.shared, patient=False))
