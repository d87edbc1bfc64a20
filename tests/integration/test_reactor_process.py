"""The reactor as a process of its own, with a real broker: killed, stopped, started again; tenants run on."""

import os
import signal
from pathlib import Path

from bus.events import (
    ProcExited,
    ProcReady,
    ProcStopped,
    StartRequested,
    StopRequested,
)
from tests.harness import DEADLINE, Program, eventually
from tests.integration.stage import Stage, is_alive, settings_in
from tests.integration.theatre import Theatre, play

NAMES = ("acme", "bolt", "cups")


async def pids(stage: Stage) -> dict[str, int]:
    return {name: (await stage.ask(name))["pid"] for name in NAMES}


def test_tenants_run_on_while_the_reactor_is_killed_and_are_taken_back(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin(*NAMES)
        before = await pids(stage)
        for _ in range(3):
            one.reactor.kill()
            assert await pids(stage) == before
            seq = await stage.head()
            await one.again()
            for name in NAMES:
                await stage.said(ProcReady, name, seq, pid=before[name], adopted=True, restarts=0)
        assert await pids(stage) == before
        assert len(await stage.bus.replay("PROC_STARTED")) == len(NAMES)
        seq = await stage.head()
        os.kill(before["acme"], signal.SIGKILL)
        _, exited = await stage.said(ProcExited, "acme", seq)
        assert (exited.pid, exited.signal) == (before["acme"], "SIGKILL")
        await stage.said(ProcReady, "acme", seq, restarts=1)
        after = await pids(stage)
        assert after["acme"] != before["acme"]
        assert after["bolt"] == before["bolt"]

    play(short_dir, scene)


def test_what_happened_while_the_reactor_was_away_is_made_good(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin(*NAMES)
        before = await pids(stage)
        one.reactor.stop()
        assert await pids(stage) == before
        seq = await stage.head()
        os.kill(before["acme"], signal.SIGKILL)
        stage.modify("bolt", mood="good")
        asked = await stage.bus.publish(StopRequested(tenant="cups", by="ann"))
        await one.again()
        await stage.said(ProcExited, "acme", seq, pid=before["acme"], expected=False)
        await stage.said(ProcReady, "acme", seq, restarts=1, adopted=False)
        _, ready = await stage.said(ProcReady, "bolt", seq, adopted=False)
        assert ready.pid != before["bolt"]
        await stage.said(ProcExited, "bolt", seq, pid=before["bolt"])  # until then both answer
        assert (await stage.ask("bolt"))["mood"] == "good"
        _, stopped = await stage.said(ProcStopped, "cups", asked)
        assert stopped.by == "ann"
        seq = await stage.head()
        one.reactor.kill()
        await one.again()  # a stop by hand is not forgotten, nor said again
        started = await stage.bus.publish(StartRequested(tenant="cups", by="ann"))
        assert [e for e in await stage.history("cups", seq) if e.seq < started] == []
        await stage.said(ProcReady, "cups", started)

    play(short_dir, scene)


def test_the_end_of_the_product_is_no_stop_by_hand(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin(*NAMES)
        before = await pids(stage)
        seq = await stage.head()
        one.reactor.signal(signal.SIGINT)
        assert one.reactor.process.wait(DEADLINE) == -signal.SIGINT
        for name in NAMES:
            assert not is_alive(before[name])
            await stage.said(ProcStopped, name, seq, reason="tenantbus is being stopped")
        seq = await stage.head()
        await one.again()
        for name in NAMES:
            _, ready = await stage.said(ProcReady, name, seq)
            assert (ready.restarts, ready.adopted) == (0, False)

    play(short_dir, scene)


def test_the_reactor_goes_on_while_the_broker_is_away(short_dir: Path) -> None:
    async def scene(one: Theatre, stage: Stage) -> None:
        await stage.begin(*NAMES)
        before = await pids(stage)
        one.broker.kill()
        os.kill(before["acme"], signal.SIGKILL)
        assert (await stage.ask("acme"))["pid"] != before["acme"]
        one.broker = Program.module("bus", one.config)
        seq, exited = await stage.said(ProcExited, "acme", pid=before["acme"])
        assert not exited.expected
        await stage.said(ProcReady, "acme", seq, restarts=1)

    play(short_dir, scene)


def test_a_reactor_that_waits_for_the_broker_can_be_stopped(short_dir: Path) -> None:
    settings_in(short_dir)
    with Program.module("services.reactor", short_dir / "tenantbus.toml") as reactor:
        eventually(lambda: "waiting for the broker" in reactor.output)
        assert reactor.stop() == 0
