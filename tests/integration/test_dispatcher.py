"""The dispatcher at work on real processes: blocked, spinning, stopped, deaf, idle."""

import asyncio
import mmap
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bus.api import Subscription
from bus.events import BrakeOff, BrakeOn, Envelope, PackageReleased, ProcReady, ProcRecovered, ProcStuck
from bus.memory import MemoryBus
from bus.model import PackageSettings
from bus.sections import CheckSettings, PathSettings
from bus.settings import Settings
from services.base import serve
from services.dispatcher.brake import Position
from services.dispatcher.sense import Pages
from services.dispatcher.service import Dispatcher
from services.score import PAGE_SIZE, Slot
from tests.harness import DEADLINE, Program, eventually
from tests.integration.pages import say

STUCK_AFTER = 0.5
LATE = 1.0
"""Seconds that a verdict may come late on a busy machine; the bench shows what it is."""


class Scene:
    """A run directory with a tenant, a dispatcher that watches it, and an ear on the bus."""

    def __init__(self, root: Path, **checks: Any) -> None:
        values: dict[str, Any] = {
            "stuck_after": STUCK_AFTER,
            "interval": 0.05,
            "http_every": 3600.0,
            **checks,
        }
        self.settings = Settings(
            paths=PathSettings(), checks=CheckSettings(**values), file=str(root / "tenantbus.toml")
        )
        self.settings.prepare()
        self.bus = MemoryBus("test")
        self.page = self.settings.score_page("acme")
        self.events: Subscription

    @contextmanager
    def tenant(self) -> Iterator[Program]:
        program = Program(
            sys.executable,
            "-m",
            "tests.integration.scored_tenant",
            str(self.page),
            str(self.settings.http_socket("acme")),
            cwd=Path(__file__).parents[2],
            log=self.settings.state_dir / "log" / "acme",
        )
        with program:
            eventually(lambda: self.serves(program.pid))
            self.bus.publish(ProcReady(tenant="acme", pid=program.pid, release="shop-1.0"))
            yield program
            program.kill()

    def serves(self, pid: int) -> bool:
        pages = Pages(self.page.parent)
        pages.refresh("acme")
        sight = pages.read("acme")
        pages.close()
        return sight is not None and sight.serving and sight.pid == pid

    @asynccontextmanager
    async def dispatcher(self) -> AsyncIterator[Dispatcher]:
        self.events = await self.bus.subscribe("PROC_STUCK", "PROC_RECOVERED")
        service = Dispatcher(self.settings, self.bus.other("dispatcher"))
        stopping: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        up = await self.bus.subscribe("SERVICE_UP")
        running = asyncio.create_task(serve(service, stopping))
        await up.__anext__()
        try:
            yield service
        finally:
            if not running.done():
                stopping.set_result(signal.SIGTERM)
            await running
            await self.bus.close()

    async def heard(self, within: float = DEADLINE) -> ProcStuck | ProcRecovered:
        envelope: Envelope = await asyncio.wait_for(self.events.__anext__(), within)
        assert isinstance(envelope.event, ProcStuck | ProcRecovered)
        assert envelope.cause == 0
        return envelope.event

    async def nothing_heard(self, within: float) -> None:
        with suppress(TimeoutError):
            pytest.fail(repr(await self.heard(within)))

    def say(self, target: str) -> None:
        say(self.settings.http_socket("acme"), target)


def switches(pid: int) -> list[str]:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line for line in status if "ctxt_switches" in line]


@pytest.mark.parametrize(("verb", "state"), [("/block", "state S"), ("/spin", "state R")])
def test_a_loop_that_does_not_come_round_is_stuck(short_dir: Path, verb: str, state: str) -> None:
    async def play() -> None:
        scene = Scene(short_dir)
        with scene.tenant() as tenant:
            async with scene.dispatcher():
                scene.say(verb)
                asked = time.monotonic()
                stuck = await scene.heard()
                assert time.monotonic() - asked < STUCK_AFTER + LATE
                assert isinstance(stuck, ProcStuck)
                assert (stuck.tenant, stuck.pid, stuck.release) == ("acme", tenant.pid, "shop-1.0")
                assert stuck.started > 0
                assert stuck.stuck_for >= STUCK_AFTER
                assert stuck.reason.startswith("loop busy for ")
                assert state in stuck.reason
                await scene.nothing_heard(within=STUCK_AFTER)  # said once

    asyncio.run(play())


def test_a_stopped_process_is_stuck_until_it_goes_on(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir)
        with scene.tenant() as tenant, written(scene.page) as page:
            async with scene.dispatcher():
                page[Slot.STOPPED_SINCE] = time.monotonic_ns()
                await scene.nothing_heard(within=2 * STUCK_AFTER)  # a word that the kernel denies
                tenant.signal(signal.SIGSTOP)
                stuck = await scene.heard()
                assert isinstance(stuck, ProcStuck)
                assert stuck.reason.startswith("stopped by a signal for ")
                assert "state T" in stuck.reason
                tenant.signal(signal.SIGCONT)
                page[Slot.STOPPED_SINCE] = 0
                assert isinstance(await scene.heard(), ProcRecovered)

    asyncio.run(play())


def test_a_pause_is_no_verdict_and_a_long_one_is_recovered_from(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir, stuck_after=1.0)
        with scene.tenant() as tenant:
            async with scene.dispatcher():
                scene.say("/block/0.5")
                await scene.nothing_heard(within=1.0)
                scene.say("/block/2")
                assert isinstance(await scene.heard(), ProcStuck)
                recovered = await scene.heard()
                assert isinstance(recovered, ProcRecovered)
                assert recovered.pid == tenant.pid

    asyncio.run(play())


def test_looking_never_wakes_an_idle_tenant(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir)
        with scene.tenant() as tenant:
            async with scene.dispatcher():
                await asyncio.sleep(0.2)
                before = switches(tenant.pid)
                await asyncio.sleep(3.0)
                assert switches(tenant.pid) == before

    asyncio.run(play())


def test_a_quiet_tenant_that_does_not_answer_is_stuck(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir, http_every=0.2, http_timeout=0.3)
        with scene.tenant():
            async with scene.dispatcher():
                await scene.nothing_heard(within=0.6)
                scene.say("/mute")
                stuck = await scene.heard()
                assert isinstance(stuck, ProcStuck)
                assert stuck.reason.startswith("GET /healthz: no answer within 0.3 s, twice")
                await scene.nothing_heard(within=2.0)

    asyncio.run(play())


def test_a_program_is_asked_at_the_port_that_it_binds_itself(short_dir: Path) -> None:
    """Nobody accepts what comes to its unix socket, and that is no reason to end it."""

    async def play() -> None:
        scene = Scene(short_dir, http_every=0.2, http_timeout=0.3)
        asked = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            writer.close()
            asked.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = PackageSettings(command=("program", "--port={port}"))
        scene.bus.publish(
            PackageReleased(
                release="shop-1.0", app="shop", version="1.0", path="", settings=settings, stamp="1"
            )
        )
        with scene.tenant() as tenant:
            scene.say("/mute")
            scene.bus.publish(ProcReady(tenant="acme", pid=tenant.pid, release="shop-1.0", port=port))
            async with scene.dispatcher(), server:
                await asyncio.wait_for(asked.wait(), DEADLINE)
                await scene.nothing_heard(within=2.0)

    asyncio.run(play())


def test_a_program_that_says_who_it_is_is_held_to_that(short_dir: Path) -> None:
    """As the daemon did that came before tenantbus: database|port|pid|name."""

    async def play() -> None:
        scene = Scene(short_dir, http_every=0.2, http_timeout=0.3)
        asked = asyncio.Event()
        name = "acme"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            body = f"db1|{port}|{tenant.pid}|{name}\n"
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            writer.close()
            asked.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = PackageSettings(command=("program", "--port={port}"), health="/runinfo")
        scene.bus.publish(
            PackageReleased(
                release="shop-1.0", app="shop", version="1.0", path="", settings=settings, stamp="1"
            )
        )
        with scene.tenant() as tenant:
            ready = ProcReady(tenant="acme", pid=tenant.pid, release="shop-1.0", port=port, database="db1")
            scene.bus.publish(ready)
            async with scene.dispatcher(), server:
                await asyncio.wait_for(asked.wait(), DEADLINE)
                await scene.nothing_heard(within=1.5)
                name = "globex"
                stuck = await scene.heard()
                assert isinstance(stuck, ProcStuck)
                assert stuck.kind == "answers for another tenant"
                assert stuck.reason.startswith("GET /runinfo: answers as tenant globex, twice")

    asyncio.run(play())


def test_another_dispatcher_keeps_the_brake_on_until_all_are_well(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir)
        scene.bus.publish(BrakeOn(reason="many are stuck", count=9, tenants=("acme",)))
        released = await scene.bus.subscribe("BRAKE_OFF")
        with scene.tenant():
            async with scene.dispatcher() as dispatcher:
                assert dispatcher.watch.brake.position is Position.ON
                off = await asyncio.wait_for(released.__anext__(), DEADLINE)
                assert isinstance(off.event, BrakeOff)

    asyncio.run(play())


def test_a_long_pause_that_is_allowed_is_no_failed_check(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir, stuck_after=30.0, http_every=0.2, http_timeout=0.3)
        with scene.tenant():
            async with scene.dispatcher() as dispatcher:
                scene.say("/block/4")
                await scene.nothing_heard(within=3.5)
                assert (
                    "acme" in dispatcher.rounds.round.suspect or "acme" in dispatcher.rounds.round.in_flight
                )
                assert not dispatcher.watch.cases

    asyncio.run(play())


def test_answers_with_errors_are_a_verdict_until_they_end(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir, http_every=0.2)
        with scene.tenant():
            async with scene.dispatcher():
                scene.say("/sick")
                stuck = await scene.heard()
                assert isinstance(stuck, ProcStuck)
                assert "answered 500" in stuck.reason
                scene.say("/well")
                assert isinstance(await scene.heard(), ProcRecovered)

    asyncio.run(play())


def test_answered_traffic_postpones_the_question(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir, http_every=0.2)
        settings = PackageSettings(entry="shop:app", health="/sick")  # so that being asked shows
        scene.bus.publish(
            PackageReleased(
                release="shop-1.0", app="shop", version="1.0", path="", settings=settings, stamp="1"
            )
        )
        with scene.tenant():
            async with scene.dispatcher():
                for _ in range(30):
                    scene.say("/healthz")
                    await scene.nothing_heard(within=0.05)
                stuck = await scene.heard()
                assert isinstance(stuck, ProcStuck)
                assert stuck.reason.startswith("GET /sick: answered 500, twice")

    asyncio.run(play())


def test_a_starved_machine_convicts_nobody(short_dir: Path) -> None:
    """Tenant and dispatcher both stand still for a while, the tenant in the middle of its work."""

    async def play() -> None:
        scene = Scene(short_dir, stuck_after=1.0)
        with scene.tenant() as tenant:
            async with scene.dispatcher():
                scene.say("/block/0.8")
                await asyncio.sleep(0.2)
                tenant.signal(signal.SIGSTOP)
                time.sleep(2.0)  # noqa: ASYNC251 - nobody looks meanwhile
                tenant.signal(signal.SIGCONT)
                await scene.nothing_heard(within=2.0)
                scene.say("/block")
                assert isinstance(await scene.heard(), ProcStuck)  # and it can still convict

    asyncio.run(play())


def test_another_dispatcher_keeps_the_verdict(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir)
        with scene.tenant() as tenant:
            async with scene.dispatcher():
                scene.say("/block/2.5")
                assert isinstance(await scene.heard(), ProcStuck)
            async with scene.dispatcher():
                recovered = await scene.heard()
                assert isinstance(recovered, ProcRecovered)
                assert recovered.pid == tenant.pid

    asyncio.run(play())


def test_a_replaced_process_begins_without_guilt(short_dir: Path) -> None:
    async def play() -> None:
        scene = Scene(short_dir, http_every=0.2)
        async with scene.dispatcher():
            with scene.tenant():
                scene.say("/block")
                assert isinstance(await scene.heard(), ProcStuck)
            scene.settings.http_socket("acme").unlink()
            with scene.tenant() as second:
                await scene.nothing_heard(within=2.0)
                scene.say("/block")
                stuck = await scene.heard()
                assert isinstance(stuck, ProcStuck)
                assert stuck.pid == second.pid

    asyncio.run(play())


@contextmanager
def written(page: Path) -> Iterator[memoryview]:
    """A tenant's page, to write what its parent would."""
    with (
        page.open("r+b") as file,
        mmap.mmap(file.fileno(), PAGE_SIZE) as memory,
        memoryview(memory) as raw,
        raw.cast("Q") as slots,
    ):
        yield slots
