"""The reactor on real processes, with a bus in memory."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bus.events import (
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcReady,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcStuck,
    ProcWaiting,
    RestartRequested,
    StartRequested,
    StopRequested,
    UserDeleted,
)
from tests.harness import eventually_async
from tests.integration.stage import Stage, is_alive, stage


def play(directory: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with stage(directory) as one:
            await scene(one)

    asyncio.run(main())


async def types_since(one: Stage, name: str, after: int) -> list[tuple[str, int]]:
    """What was said of a tenant, each with its cause."""
    return [
        (e.type, e.cause) for e in await one.bus.replay(subject=name, after=after) if e.source == "reactor"
    ]


def test_a_killed_tenant_serves_again(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        before = await one.ask("acme")
        seq = await one.head()
        os.kill(before["pid"], signal.SIGKILL)
        after = await one.ask("acme")
        assert after["pid"] != before["pid"]
        _, exited = await one.said(ProcExited, "acme", seq)
        assert (exited.pid, exited.signal, exited.expected) == (before["pid"], "SIGKILL", False)
        _, ready = await one.said(ProcReady, "acme", seq)
        assert (ready.pid, ready.restarts, ready.release) == (after["pid"], 1, "shop-1.0")
        said = await types_since(one, "acme", seq)
        assert said == [("PROC_EXITED", 0), ("PROC_STARTED", seq + 1), ("PROC_READY", seq + 2)]

    play(short_dir, scene)


def test_a_tenant_that_cannot_live_is_tried_with_pauses_then_rarely(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin()
        one.add("acme", mood="crash")
        _, fatal = await one.said(ProcFatal, "acme")
        assert (fatal.failures, fatal.retry_in) == (4, 600.0)
        pauses = [
            e.event.failures for e in await one.bus.replay("PROC_BACKOFF") if isinstance(e.event, ProcBackoff)
        ]
        assert pauses == [2, 3]
        seq = one.bus.publish(StartRequested(tenant="acme", by="ann"))
        await one.said(ProcFatal, "acme", await seq)
        seq = one.bus.publish(StartRequested(tenant="acme", by="ann"))
        one.modify("acme", mood="well")
        await one.said(ProcReady, "acme", await seq)

    play(short_dir, scene)


def test_exit_code_3_is_never_tried_again_until_something_changes(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin()
        one.add("acme", mood="never")
        seq, fatal = await one.said(ProcFatal, "acme")
        assert (fatal.failures, fatal.reason) == (1, "ended with exit code 3 before it was ready")
        one.modify("acme", mood="well")
        await one.said(ProcReady, "acme", seq)

    play(short_dir, scene)


def test_people_stop_start_and_restart(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        first = (await one.ask("acme"))["pid"]
        seq = await one.bus.publish(RestartRequested(tenant="acme", by="ann"))
        _, ready = await one.said(ProcReady, "acme", seq)
        assert ready.pid != first
        assert ready.restarts == 0
        await one.said(ProcExited, "acme", seq, pid=first, expected=True, serving=ready.pid)
        assert await types_since(one, "acme", seq) == [
            ("PROC_STARTED", seq),
            ("PROC_READY", seq + 1),
            ("PROC_STOPPING", seq + 2),
            ("PROC_EXITED", seq + 3),
        ]
        seq = await one.bus.publish(StartRequested(tenant="acme", by="ann"))
        answer, again = await one.said(ProcReady, "acme", seq)
        assert (again.pid, again.reason) == (ready.pid, "already running")
        assert (await types_since(one, "acme", seq)) == [("PROC_READY", seq)]
        seq = await one.bus.publish(StopRequested(tenant="acme", by="bob"))
        _, stopped = await one.said(ProcStopped, "acme", answer)
        assert stopped.by == "bob"
        assert not is_alive(ready.pid)
        seq = await one.bus.publish(StopRequested(tenant="acme", by="bob"))
        await one.said(ProcStopped, "acme", seq)
        seq = await one.bus.publish(StartRequested(tenant="acme", by="ann"))
        await one.said(ProcReady, "acme", seq)
        seq = await one.bus.publish(StartRequested(tenant="nobody", by="ann"))
        _, none = await one.said(ProcStopped, "nobody", seq)
        assert none.reason.startswith("no such tenant")

    play(short_dir, scene)


def test_a_deaf_tenant_is_killed_in_the_end(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin()
        one.add("acme", mood="deaf", stop_timeout=0.3)
        _, ready = await one.said(ProcReady, "acme")
        seq = await one.bus.publish(StopRequested(tenant="acme", by="ann"))
        _, exited = await one.said(ProcExited, "acme", seq)
        assert (exited.signal, exited.expected) == ("SIGKILL", True)
        assert not is_alive(ready.pid)

    play(short_dir, scene)


def test_a_stuck_tenant_is_replaced_and_only_that_one(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        _, ready = await one.said(ProcReady, "acme")
        os.kill(ready.pid, signal.SIGSTOP)
        one.bus.publish(ProcStuck(tenant="acme", pid=ready.pid, started=ready.started - 1, stuck_for=5.0))
        seq = await one.bus.publish(
            ProcStuck(tenant="acme", pid=ready.pid, started=ready.started, stuck_for=5.0)
        )
        _, new = await one.said(ProcReady, "acme", seq)
        assert (await one.ask("acme"))["pid"] == new.pid != ready.pid
        assert (await types_since(one, "acme", 0))[-4:] == [
            ("PROC_STOPPING", seq),
            ("PROC_EXITED", seq + 1),
            ("PROC_STARTED", seq + 2),
            ("PROC_READY", seq + 3),
        ]
        seq = await one.bus.publish(
            ProcStuck(tenant="acme", pid=ready.pid, started=ready.started, stuck_for=6.0)
        )
        await one.bus.publish(StartRequested(tenant="acme", by="ann"))
        _, same = await one.said(ProcReady, "acme", seq)
        assert same.pid == new.pid

    play(short_dir, scene)


def test_a_tenant_leaves_a_database_that_is_down(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        _, ready = await one.said(ProcReady, "acme")
        other = {"db1": "db2", "db2": "db1"}[ready.database]
        seq = await one.head()
        one.down(ready.database)
        _, moved = await one.said(ProcMoved, "acme", seq)
        assert (moved.source, moved.target) == (ready.database, other)
        seq, _ = await one.said(ProcReady, "acme", seq, database=other, restarts=0)
        await one.said(ProcExited, "acme", seq, pid=ready.pid)  # until then both answer
        assert (await one.ask("acme"))["database"].endswith(other)
        one.down(other)
        seq, waiting = await one.said(ProcWaiting, "acme", seq)
        assert "db1 is down" in waiting.reason
        assert "db2 is down" in waiting.reason
        one.up(ready.database)
        await one.said(ProcReady, "acme", seq, database=ready.database)

    play(short_dir, scene)


def test_settings_that_matter_restart_others_do_not(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        pid = (await one.ask("acme"))["pid"]
        one.modify("acme", plan="paid", stop_timeout=1.0)
        seq = await one.head()
        one.bus.publish(StartRequested(tenant="acme", by="ann"))
        _, ready = await one.said(ProcReady, "acme", seq)
        assert ready.pid == pid
        seq = await one.head()
        one.modify("acme", mood="good", plan="paid")
        _, stopping = await one.said(ProcStopping, "acme", seq)
        assert stopping.reason == "its settings changed"
        await one.said(ProcExited, "acme", seq, pid=pid)  # until then both answer
        assert (await one.ask("acme"))["mood"] == "good"

    play(short_dir, scene)


def test_a_deleted_tenant_leaves_nothing_behind(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        pid = (await one.ask("acme"))["pid"]
        one.bus.publish(UserDeleted(tenant="acme"))
        await one.said(ProcStopped, "acme")
        assert not is_alive(pid)
        await eventually_async(lambda: not one.settings.http_socket("acme").exists())

    play(short_dir, scene)


def test_one_that_hangs_at_its_start_holds_up_nobody(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        for n in range(10):  # more than may start at the same time
            one.add(f"slow{n}", mood="slow")
        await one.said(ProcStarted, "slow7")
        seq = await one.head()
        os.kill((await one.ask("acme"))["pid"], signal.SIGKILL)
        await one.said(ProcReady, "acme", seq)
        _, exited = await one.said(ProcExited, "slow0")
        assert exited.reason == "not ready within 3 s"

    play(short_dir, scene)


def test_nobody_waits_for_databases_that_were_never_judged(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        one.release()
        one.add("acme")
        _, waiting = await one.said(ProcWaiting, "acme")
        assert "nothing is known about database db1 yet" in waiting.reason
        seq = await one.head()
        one.up("db2")
        await one.said(ProcReady, "acme", seq, database="db2")
        events: list[Any] = [e.event for e in await one.history("acme")]
        assert [e.type for e in events] == ["USER_ADDED", "PROC_WAITING", "PROC_STARTED", "PROC_READY"]

    play(short_dir, scene)


def test_settings_that_change_again_and_again_while_it_starts(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        await one.begin("acme")
        for n in range(30):  # some of these come between the fork and the first step of the new process
            one.modify("acme", mood=f"mood{n}")
            await asyncio.sleep(0.0005 * n)
        one.modify("acme", mood="last")

        async def lasts() -> bool:
            return bool((await one.ask("acme"))["mood"] == "last")

        await eventually_async(lasts)
        assert "PROC_BACKOFF" not in [e.type for e in await one.history("acme")]

    play(short_dir, scene)
