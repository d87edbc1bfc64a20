"""A service in memory: started, stopped, ended by its own work."""

import asyncio
import signal
from collections.abc import Coroutine

import pytest

from bus.events import JournalReset
from bus.memory import MemoryBus
from bus.settings import Settings
from services.base import JournalLostError, Service, serve


class Probe(Service):
    """Notes what is done with it."""

    name = "probe"

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(Settings(), bus)
        self.done: list[str] = []
        self.may_start = asyncio.Event()
        self.came_to = asyncio.Event()
        """Set when it waits: in its start or in its work."""

    async def start(self) -> None:
        self.came_to.set()
        await self.may_start.wait()
        self.done.append("start")

    async def run(self) -> None:
        self.done.append("run")
        self.came_to.set()
        await asyncio.Event().wait()

    async def stop(self, by: signal.Signals) -> None:
        self.done.append(by.name)


class Scene:
    def __init__(self) -> None:
        self.bus = MemoryBus("probe")
        self.service = Probe(self.bus)
        self.stopping: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        self.serving = asyncio.create_task(serve(self.service, self.stopping))

    async def running(self) -> None:
        self.service.may_start.set()
        while "run" not in self.service.done:
            self.service.came_to.clear()
            await self.service.came_to.wait()

    @property
    def said(self) -> list[str]:
        return [record.type for record in self.bus.journal.records]


def play(scene: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 10))


def test_it_is_started_works_and_is_stopped() -> None:
    async def body() -> None:
        scene = Scene()
        await scene.running()
        scene.stopping.set_result(signal.SIGINT)
        await scene.serving
        assert scene.service.done == ["start", "run", "SIGINT"]
        assert scene.said == ["SERVICE_UP", "SERVICE_DOWN"]

    play(body())


def test_it_can_be_stopped_while_it_starts() -> None:
    async def body() -> None:
        scene = Scene()
        await scene.service.came_to.wait()
        scene.stopping.set_result(signal.SIGTERM)
        await scene.serving
        assert scene.service.done == []  # who has not begun has nothing to let go of
        assert scene.said == []

    play(body())


def test_a_callback_that_raises_ends_it() -> None:
    async def body() -> None:
        scene = Scene()
        await scene.running()
        asyncio.get_running_loop().call_soon(divmod, 1, 0)
        with pytest.raises(ZeroDivisionError):
            await scene.serving
        assert scene.service.done == ["start", "run", "SIGTERM"]

    play(body())


def test_a_new_journal_ends_it() -> None:
    async def body() -> None:
        scene = Scene()
        await scene.running()
        scene.bus.publish(JournalReset(journal="journal.db", reason="spoilt"))
        with pytest.raises(JournalLostError):
            await scene.serving
        assert scene.service.done == ["start", "run", "SIGTERM"]

    play(body())
