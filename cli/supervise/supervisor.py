"""All services together: started in order, kept, asked about, stopped in order."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress

from bus import sdnotify
from cli.supervise.control import Answer, Ask
from cli.supervise.keeper import BY_HAND, Keeper, Life, News
from cli.view import ServiceRow
from cli.world import SERVICES

PATIENCE = 10.0
"""Seconds that the stop of everything waits for a reactor that is starting: it alone can stop tenants."""


class Supervisor:
    """Runs in an event loop: `start`, then whatever is asked, then `stop` or `kill`."""

    def __init__(self, spawn: Callable[[str], Callable[[], Life]], news: News) -> None:
        self._keepers: Mapping[str, Keeper] = {name: Keeper(name, spawn(name), news) for name in SERVICES}
        self._turns = {name: asyncio.Lock() for name in SERVICES}
        self._tasks: list[asyncio.Task[None]] = []
        self.ending = False
        """Set when everything is being stopped."""

    async def start(self) -> ServiceRow:
        """Start the broker, then all others; gives the broker's row, since without it there is nothing."""
        self._tasks = [asyncio.create_task(keeper.keep()) for keeper in self._keepers.values()]
        broker, *others = self._keepers.values()
        row = await broker.start()
        if row.state != "FATAL":
            await asyncio.gather(*(keeper.start() for keeper in others))
            sdnotify.send("READY=1")
        return row

    async def try_again(self) -> None:
        """Start what cannot start as things were: they are different now."""
        fatal = [keeper for keeper in self._keepers.values() if keeper.row.state == "FATAL"]
        await asyncio.gather(*(keeper.start() for keeper in fatal))

    async def begin_again(self) -> None:
        """Start all anew, but those that somebody has stopped; tenants do not notice."""
        wanted = [name for name, keeper in self._keepers.items() if keeper.row.state != "STOPPED"]
        await asyncio.gather(*(self.answer(Ask(verb="restart", service=name)) for name in wanted))

    def rows(self) -> list[ServiceRow]:
        return [keeper.row for keeper in self._keepers.values()]

    async def answer(self, ask: Ask) -> Answer:
        """Do what somebody asks for by way of the control socket; the answer comes when it has happened."""
        if ask.verb == "list":
            return Answer(services=self.rows())
        keeper = self._keepers.get(ask.service)
        if keeper is None:
            return Answer(error=f"there is no service {ask.service!r}; there are {' '.join(SERVICES)}")
        async with self._turns[ask.service]:
            if ask.verb != "start":
                await keeper.stop()
            if self.ending:
                return Answer(error="everything is being stopped")
            if ask.verb != "stop":
                await keeper.start()
        return Answer(services=[keeper.row])

    async def stop(self) -> bool:
        """Stop all: the reactor first, which stops the tenants, the broker last; tells if the tenants are."""
        self.ending = True
        sdnotify.send("STOPPING=1")
        broker, *others, reactor = self._keepers.values()
        if reactor.row.state == "STARTING":  # it is about to find tenants that a former one has left
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await reactor.start()
        had_reactor = reactor.row.state == "RUNNING"
        row = await reactor.stop(signal.SIGINT, within=None)
        await asyncio.gather(*(keeper.stop() for keeper in others))
        await broker.stop()
        return had_reactor and row.reason == BY_HAND

    async def kill(self) -> None:
        """End all at once; tenants run on."""
        self.ending = True
        for keeper in self._keepers.values():
            keeper.kill()
        for keeper in self._keepers.values():
            await keeper.stop()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
