"""Has every database checked by a watchdog of its own and says which of them work."""

import asyncio
import signal

from msgspec import structs

from bus.api import Bus, Subscription
from bus.settings import Settings
from services.base import Service
from services.dbwatch.board import Board
from services.dbwatch.decide import begin
from services.dbwatch.master import Master
from services.dbwatch.verdict import Finding


class DbWatch(Service):
    """Knows which databases work."""

    name = "dbwatch"

    def __init__(self, settings: Settings, bus: Bus) -> None:
        super().__init__(settings, bus)
        self._masters: dict[str, Master] = {}
        self._requests: Subscription

    async def start(self) -> None:
        """Judge every database once: by its first report, or by the deadline for it."""
        self._requests = await self.bus.subscribe("DB_RECHECK_REQUESTED")
        said = {
            envelope.subject: structs.replace(envelope.event, since=envelope.event.since or envelope.time)
            for envelope in (await self.bus.latest("DB_*")).events
            if isinstance(envelope.event, Finding)
        }
        board = Board(self.bus, self.settings.databases, lambda name: self._masters[name].hurry())
        self._masters = {
            name: Master(self.settings, board, begin(name, said.get(name)))
            for name in self.settings.databases
        }
        await asyncio.gather(*(self._first(master) for master in self._masters.values()))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for master in self._masters.values():
                group.create_task(self._watch(master))
            await self._listen()

    async def stop(self, by: signal.Signals) -> None:
        del by  # either way: the databases do not know of us
        for master in self._masters.values():
            master.close()
        await self._requests.aclose()

    async def _first(self, master: Master) -> None:
        while not master.case.judged:
            await master.step()

    async def _watch(self, master: Master) -> None:
        while True:
            await master.step()

    async def _listen(self) -> None:
        """Pass on what people ask for, until cancelled; of a database that is not ours nothing is known."""
        async for envelope in self._requests:
            master = self._masters.get(envelope.subject)
            if master:
                master.ask(envelope.seq)
