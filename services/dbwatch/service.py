"""Has every database checked by a watchdog of its own and says which of them work."""

import asyncio
import logging
import signal

from bus.api import Bus
from bus.events import DbDown, DbMisconfigured, DbUp
from bus.settings import Settings
from services.base import Service
from services.dbwatch.decide import (
    Case,
    Finding,
    HandOut,
    Input,
    Replace,
    Reported,
    Rules,
    Say,
    TimeCame,
    decide,
)
from services.dbwatch.sense import Kennel, Watchdog, open_probe

log = logging.getLogger(__name__)


class Master:
    """Hands tasks to the watchdog of one database and holds their deadlines; never waits for a thread."""

    def __init__(self, settings: Settings, bus: Bus, case: Case) -> None:
        self.case = case
        self._bus = bus
        self._rules = Rules(every=settings.checks.database_every, timeout=settings.checks.database_timeout)
        self._loop = asyncio.get_running_loop()
        self._reports: asyncio.Queue[tuple[int, Finding]] = asyncio.Queue()
        self._kennel = Kennel(
            case.database, lambda: Watchdog(case.database, open_probe(settings, case.database), self._report)
        )

    async def step(self) -> None:
        """Wait for a report or until one is due, and act on it."""
        self.case, actions = decide(self.case, await self._next(), self._rules)
        for action in actions:
            match action:
                case HandOut(task):
                    self._kennel.hand_out(task)
                case Replace():
                    self._kennel.replace()
                case Say(event):
                    log.info("database=%s %s %s", event.database, event.type, event.reason)
                    self._bus.publish(event)

    def close(self) -> None:
        self._kennel.replace()

    async def _next(self) -> Input:
        try:
            async with asyncio.timeout_at(self.case.due):
                task, finding = await self._reports.get()
        except TimeoutError:
            return TimeCame(self._loop.time())
        return Reported(self._loop.time(), task, finding)

    def _report(self, task: int, finding: Finding) -> None:
        self._loop.call_soon_threadsafe(self._reports.put_nowait, (task, finding))


class DbWatch(Service):
    """Knows which databases work."""

    name = "dbwatch"

    def __init__(self, settings: Settings, bus: Bus) -> None:
        super().__init__(settings, bus)
        self._masters: list[Master] = []

    async def start(self) -> None:
        """Judge every database once: by its first report, or by the deadline for it."""
        snapshot = await self.bus.latest("DB_*")
        said = {
            envelope.subject: envelope.event
            for envelope in snapshot.events
            if isinstance(envelope.event, DbUp | DbDown | DbMisconfigured)
        }
        self._masters = [
            Master(self.settings, self.bus, Case(database=name, said=said.get(name)))
            for name in self.settings.databases
        ]
        await asyncio.gather(*(self._first(master) for master in self._masters))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for master in self._masters:
                group.create_task(self._watch(master))
            await asyncio.Event().wait()  # also without databases: until cancelled

    async def stop(self, by: signal.Signals) -> None:
        del by  # either way: the databases do not know of us
        for master in self._masters:
            master.close()

    async def _first(self, master: Master) -> None:
        while not master.case.judged:
            await master.step()

    async def _watch(self, master: Master) -> None:
        while True:
            await master.step()
