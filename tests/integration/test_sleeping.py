"""Tenants that run on demand: they sleep without a process, and whoever comes is served."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from msgspec import structs

from bus.events import (
    ProcExited,
    ProcFatal,
    ProcReady,
    ProcSleeping,
    ProcStopped,
    ProcStopping,
    RestartRequested,
    StartRequested,
    StopRequested,
    TenantIdle,
    UserDeleted,
)
from bus.memory import MemoryBus
from bus.sections import CheckSettings
from services.base import serve
from services.dispatcher.service import Dispatcher
from tests.harness import DEADLINE, eventually, eventually_async
from tests.integration.forking import descriptors, started
from tests.integration.stage import Stage, is_alive, stage
from tests.integration.theatre import Theatre
from tests.integration.theatre import play as play_with_processes


def play(directory: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with stage(directory) as one:
            await one.begin()
            await scene(one)

    asyncio.run(main())


async def put_to_bed(one: Stage, name: str, mood: str = "") -> int:
    """Add a tenant that runs on demand; gives the seq of what says that it sleeps."""
    one.add(name, mood, start="on-demand")
    seq, _ = await one.said(ProcSleeping, name)
    return seq


async def unused(one: Stage, name: str, pid: int) -> int:
    """Say what the dispatcher would."""
    return await one.bus.publish(
        TenantIdle(tenant=name, pid=pid, started=started(pid), idle_for=900.0, reason="idle")
    )


def keeper(one: Stage, *tenants: str, former: int = 0) -> int:
    """Wait until a fork server keeps the sockets of tenants that sleep; gives its pid."""
    control = os.fsencode(one.settings.fork_socket("shop-1.0"))
    names = {f"{one.settings.run_dir}/http/.{tenant}" for tenant in tenants}

    def found() -> int:
        table = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]  # proc_net(5)
        wanted = {f"socket:[{words[6]}]" for words in table if words[-1] in names}
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                pid = int(directory.name)
                if pid != former and control in (directory / "cmdline").read_bytes():
                    return pid if len(wanted) == len(names) and wanted <= descriptors(pid) else 0
        return 0

    return eventually(found)


@asynccontextmanager
async def dispatcher(one: Stage) -> AsyncIterator[None]:
    """A dispatcher that looks, and asks for health, all the time."""
    settings = structs.replace(one.settings, checks=CheckSettings(interval=0.02, http_every=0.1))
    stopping: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    assert isinstance(one.bus, MemoryBus)
    running = asyncio.create_task(serve(Dispatcher(settings, one.bus.other("dispatcher")), stopping))
    try:
        yield
    finally:
        stopping.set_result(signal.SIGTERM)
        await running


async def types(one: Stage, name: str, after: int = 0) -> list[str]:
    return [e.type for e in await one.bus.replay("PROC_*", subject=name, after=after)]


def test_the_first_visitor_starts_a_tenant_and_is_answered(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        seq = await put_to_bed(one, "acme")
        assert not (one.settings.tenants_dir / "acme" / "run" / "pid").exists()
        answer = await one.ask("acme")
        await one.said(ProcReady, "acme", seq, pid=answer["pid"], restarts=0)
        assert await types(one, "acme") == ["PROC_SLEEPING", "PROC_STARTED", "PROC_READY"]

    play(short_dir, scene)


def test_visitors_who_come_together_are_all_answered_by_one_process(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await put_to_bed(one, "acme")
        answers = await asyncio.gather(*(one.ask("acme") for _ in range(20)))
        assert len({answer["pid"] for answer in answers}) == 1
        assert (await types(one, "acme")).count("PROC_STARTED") == 1

    play(short_dir, scene)


def test_what_nobody_uses_goes_to_sleep_and_wakes_again(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await put_to_bed(one, "acme")
        first = (await one.ask("acme"))["pid"]
        seq = await unused(one, "acme", first)
        slept, _ = await one.said(ProcSleeping, "acme", seq)
        assert not is_alive(first)
        assert await types(one, "acme", seq) == ["PROC_STOPPING", "PROC_EXITED", "PROC_SLEEPING"]
        assert (await one.ask("acme"))["pid"] != first
        await one.said(ProcReady, "acme", slept, restarts=0)

    play(short_dir, scene)


def test_who_comes_while_a_process_goes_to_sleep_gets_the_next_one(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await put_to_bed(one, "acme")
        first = (await one.ask("acme"))["pid"]
        reader, writer = await asyncio.open_unix_connection(one.settings.http_socket("acme"))
        writer.write(b"GET /slow HTTP/1.1\r\nHost: acme\r\n\r\n")  # came when the dispatcher had looked
        await eventually_async(lambda: one.is_busy("acme"))
        seq = await unused(one, "acme", first)
        await one.said(ProcStopping, "acme", seq, pid=first)
        async with asyncio.timeout(DEADLINE):
            while (await one.ask("acme"))["pid"] == first:  # until it accepts no more
                pass
        assert is_alive(first)
        one.finish("acme")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await one.said(ProcExited, "acme", seq, pid=first, expected=True)

    play(short_dir, scene)


def test_a_crash_wakes_nobody_but_for_who_comes(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await put_to_bed(one, "acme")
        first = (await one.ask("acme"))["pid"]
        seq = await one.head()
        os.kill(first, signal.SIGKILL)
        await one.said(ProcSleeping, "acme", seq)
        assert await types(one, "acme", seq) == ["PROC_EXITED", "PROC_SLEEPING"]
        assert (await one.ask("acme"))["pid"] != first

    play(short_dir, scene)


def test_people_start_stop_and_restart_one_that_sleeps(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await put_to_bed(one, "acme")
        seq = await one.bus.publish(StartRequested(tenant="acme", by="ann"))
        _, ready = await one.said(ProcReady, "acme", seq)
        slept, _ = await one.said(ProcSleeping, "acme", await unused(one, "acme", ready.pid))
        seq = await one.bus.publish(RestartRequested(tenant="acme", by="ann"))
        _, ready = await one.said(ProcReady, "acme", slept)
        slept, _ = await one.said(ProcSleeping, "acme", await unused(one, "acme", ready.pid))
        seq = await one.bus.publish(StopRequested(tenant="acme", by="ann"))
        await one.said(ProcStopped, "acme", slept)
        visitor = asyncio.create_task(one.ask("acme"))
        seq = await one.bus.publish(StartRequested(tenant="acme", by="ann"))
        _, ready = await one.said(ProcReady, "acme", seq)
        assert (await visitor)["pid"] == ready.pid
        await one.bus.publish(UserDeleted(tenant="acme"))
        await one.said(ProcStopped, "acme", seq, reason="deleted")
        assert not one.settings.http_socket("acme").exists()

    play(short_dir, scene)


def test_a_change_of_settings_wakes_nobody_and_counts_for_the_next(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        seq = await put_to_bed(one, "acme")
        one.modify("acme", mood="new", start="on-demand")
        one.down("db1", "db2")
        one.up("db2")
        one.add("bolt")
        await one.said(ProcReady, "bolt")  # so all that was said before has been heard
        answer = await one.ask("acme")
        assert answer["mood"] == "new"
        assert answer["database"].endswith("db2")
        await one.said(ProcReady, "acme", seq)
        assert await types(one, "acme", seq) == ["PROC_STARTED", "PROC_READY"]

    play(short_dir, scene)


def test_visitors_of_one_that_cannot_start_are_turned_away(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        seq = await put_to_bed(one, "acme", mood="never")
        reader, writer = await asyncio.open_unix_connection(one.settings.http_socket("acme"))
        await one.said(ProcFatal, "acme", seq)
        assert await reader.read() == b""
        writer.close()
        assert (one.settings.run_dir / "http" / "acme.down").exists()

    play(short_dir, scene)


WEBSOCKET = (
    b"GET /open HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("use", [WEBSOCKET, SLOW])
def test_a_websocket_and_a_long_request_are_use_and_our_own_checks_are_none(
    short_dir: Path, use: bytes
) -> None:
    async def another_sleeps(one: Stage) -> None:
        """Wait for as long as somebody takes to be called idle."""
        seq = await one.head()
        await one.ask("bolt")
        await one.said(ProcSleeping, "bolt", seq)

    async def scene(one: Stage) -> None:
        for name in ("acme", "bolt"):
            one.add(name, start="on-demand", idle_stop="0.3s")
            await one.said(ProcSleeping, name)
        async with dispatcher(one):
            reader, writer = await asyncio.open_unix_connection(one.settings.http_socket("acme"))
            writer.write(use)
            seq, _ = await one.said(ProcReady, "acme")
            for _ in range(3):
                await another_sleeps(one)
            assert await types(one, "acme", seq) == []
            one.finish("acme")
            assert (await reader.readuntil(b"\r\n\r\n")).split()[1] in {b"101", b"200"}
            writer.close()
            seq, _ = await one.said(ProcSleeping, "acme", seq)
            await another_sleeps(one)
            assert await types(one, "acme", seq) == []  # nor did a check wake it

    play(short_dir, scene)


def test_who_sleeps_can_be_woken_after_the_reactor_was_killed(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin()
        for name in ("acme", "bolt"):
            await put_to_bed(stage, name)
        bolt = (await stage.ask("bolt"))["pid"]
        slept, _ = await stage.said(ProcSleeping, "bolt", await unused(stage, "bolt", bolt))
        keeper(stage, "acme", "bolt")
        one.reactor.kill()
        visitors = [asyncio.create_task(stage.ask(name)) for name in ("acme", "bolt")]
        await asyncio.sleep(0)  # both are in the queue of a socket that only a fork server has open
        await one.again()
        pids = {(await visitor)["pid"] for visitor in visitors}
        assert len(pids) == 2
        await stage.said(ProcReady, "acme", slept)
        assert await types(stage, "acme", slept) == ["PROC_STARTED", "PROC_READY"]

    play_with_processes(short_dir, scene)


def test_who_sleeps_can_be_woken_after_its_fork_server_was_killed(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin()
        await put_to_bed(stage, "acme")
        first = keeper(stage, "acme")
        os.kill(first, signal.SIGKILL)
        keeper(stage, "acme", former=first)
        one.reactor.kill()
        visitor = asyncio.create_task(stage.ask("acme"))
        await asyncio.sleep(0)
        await one.again()
        assert (await visitor)["pid"]

    play_with_processes(short_dir, scene)
