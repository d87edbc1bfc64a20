"""A keeper with processes that live in memory: nothing here waits for a clock."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import wraps

from bus.daemon import EXIT_NEVER
from cli.supervise.keeper import BY_HAND, Keeper
from cli.view import ServiceRow


class FakeLife:
    """Obeys signals as it is told to."""

    def __init__(self, pid: int, *, obeys: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.status = self.verdict = ""
        self.pid = pid
        self.signals: list[signal.Signals] = []
        self._obeys = obeys

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)
        if number == signal.SIGKILL:
            self.end(-signal.SIGKILL)
        elif self._obeys:
            self.end(0)

    def end(self, code: int) -> None:
        self.ended.set_result(code)


class World:
    def __init__(self) -> None:
        self.lives: list[FakeLife] = []
        self.obeys = True
        self.fails = False
        self.states: list[str] = []
        self.crashes: list[tuple[int, str]] = []
        self.keeper = Keeper("dbwatch", self.spawn, self)
        self._changed = asyncio.Event()

    def spawn(self) -> FakeLife:
        if self.fails:
            raise OSError("no more processes")
        self.lives.append(FakeLife(len(self.lives) + 1, obeys=self.obeys))
        return self.lives[-1]

    def changed(self, row: ServiceRow) -> None:
        self.states.append(row.state)
        self._changed.set()

    def crashed(self, service: str, pid: int, reason: str) -> None:
        assert service == "dbwatch"
        self.crashes.append((pid, reason))

    async def until(self, state: str) -> None:
        async with asyncio.timeout(5):
            while not self.states or self.states[-1] != state:
                self._changed.clear()
                await self._changed.wait()

    async def running(self) -> FakeLife:
        """Have it started, and make it ready."""
        starting = asyncio.create_task(self.keeper.start())
        await self.until("STARTING")
        await asyncio.sleep(0)
        self.lives[-1].ready.set_result(None)
        assert (await starting).state == "RUNNING"
        return self.lives[-1]


def in_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        async def live() -> None:
            world = World()
            keeping = asyncio.create_task(world.keeper.keep())
            await test(world)
            keeping.cancel()

        asyncio.run(live())

    del run.__wrapped__  # pytest would ask for the argument
    return run


@in_world
async def test_start_returns_when_it_is_ready(world: World) -> None:
    life = await world.running()
    assert (world.keeper.row.pid, world.keeper.row.restarts) == (life.pid, 0)


@in_world
async def test_stop_asks_and_returns_when_it_is_gone(world: World) -> None:
    life = await world.running()
    row = await world.keeper.stop()
    assert life.signals == [signal.SIGTERM]
    assert (row.state, row.pid, row.reason) == ("STOPPED", None, BY_HAND)
    assert world.crashes == []


@in_world
async def test_an_end_by_what_it_was_asked_by_is_no_crash(world: World) -> None:
    world.obeys = False
    life = await world.running()
    stopping = asyncio.create_task(world.keeper.stop(signal.SIGINT))
    await world.until("STOPPING")
    life.end(-signal.SIGINT)
    assert (await stopping).reason == BY_HAND
    assert not world.crashes


@in_world
async def test_stop_insists(world: World) -> None:
    world.obeys = False
    life = await world.running()
    row = await world.keeper.stop(within=0.0)
    assert life.signals == [signal.SIGTERM, signal.SIGKILL]
    assert (row.state, row.reason) == ("STOPPED", "ended by SIGKILL")


@in_world
async def test_a_crash_is_told_and_it_is_started_at_once(world: World) -> None:
    life = await world.running()
    life.end(-signal.SIGSEGV)
    await world.until("EXITED")
    await world.until("STARTING")
    assert world.crashes == [(life.pid, "ended by SIGSEGV")]
    assert world.keeper.row.restarts == 1


@in_world
async def test_an_end_by_a_signal_without_a_name_is_a_crash_like_any_other(world: World) -> None:
    life = await world.running()
    life.end(-40)
    await world.until("EXITED")
    await world.until("STARTING")
    assert world.crashes == [(life.pid, "ended by SIG40")]


@in_world
async def test_a_second_crash_is_followed_by_a_pause_that_start_cuts_short(world: World) -> None:
    (await world.running()).end(1)
    await world.until("EXITED")
    await world.until("STARTING")
    await asyncio.sleep(0)
    world.lives[-1].end(1)
    await world.until("BACKOFF")
    assert "next try in 0.5 s" in world.keeper.row.reason
    assert (await world.running()).pid == 3


@in_world
async def test_stop_in_a_pause_ends_the_pause(world: World) -> None:
    world.fails = True
    assert (await world.keeper.start()).state == "BACKOFF"
    assert "no more processes" in world.keeper.row.reason
    assert (await world.keeper.stop()).state == "STOPPED"
    world.fails = False
    assert (await world.running()).pid == 1


@in_world
async def test_who_says_never_is_not_started_again_but_by_hand(world: World) -> None:
    starting = asyncio.create_task(world.keeper.start())
    await world.until("STARTING")
    await asyncio.sleep(0)
    world.lives[-1].status = "the settings are wrong"
    world.lives[-1].end(EXIT_NEVER)
    row = await starting
    assert (row.state, row.reason) == ("FATAL", f"the settings are wrong (ended with exit code {EXIT_NEVER})")
    assert len(world.lives) == 1
    await world.running()


@in_world
async def test_why_it_was_ended_is_the_reason(world: World) -> None:
    life = await world.running()
    life.verdict = "hung: no sign of life for 10 s"
    life.end(-signal.SIGKILL)
    await world.until("EXITED")
    assert world.crashes == [(life.pid, life.verdict)]


@in_world
async def test_an_end_that_nobody_asked_for_is_no_stop(world: World) -> None:
    (await world.running()).end(0)
    await world.until("EXITED")
    await world.until("STARTING")
    assert world.crashes == []  # it said so itself


@in_world
async def test_ready_after_stop_is_no_news(world: World) -> None:
    world.obeys = False
    starting = asyncio.create_task(world.keeper.start())
    await world.until("STARTING")
    await asyncio.sleep(0)
    stopping = asyncio.create_task(world.keeper.stop())
    await world.until("STOPPING")
    world.lives[-1].ready.set_result(None)
    await asyncio.sleep(0)
    assert world.keeper.row.state == "STOPPING"
    world.lives[-1].end(0)
    assert (await stopping).state == (await starting).state == "STOPPED"
