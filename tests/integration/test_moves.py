"""Tenants move to another database: told in place, or replaced; nobody waits for more than a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bus.events import ProcExited, ProcMoved, ProcReady, ProcStarted
from tests.integration.stage import Stage, stage


def play(directory: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with stage(directory) as one:
            await scene(one)

    asyncio.run(main())


async def begin(one: Stage, mood: str) -> int:
    """Have acme on db1, with db2 to go to; gives its pid."""
    one.release()
    one.down("db2")
    one.up("db1")
    one.add("acme", mood=mood)
    await one.said(ProcReady, "acme")
    one.up("db2")
    return int((await one.ask("acme"))["pid"])


async def ask_until(over: asyncio.Event, one: Stage) -> int:
    """Ask as fast as it answers; a refused or broken connection is an error."""
    count = 0
    while not over.is_set():
        await one.ask("acme")
        count += 1
    return count


def test_one_that_takes_another_database_keeps_its_process(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        pid = await begin(one, "switch")
        seq = await one.head()
        one.down("db1")
        _, moved = await one.said(ProcMoved, "acme", seq, source="db1", target="db2")
        assert (moved.pid, moved.serving, moved.reason) == (pid, pid, "database db1 is down: no answer")
        await one.said(ProcReady, "acme", seq, pid=pid, database="db2", adopted=False)
        told = await one.ask("acme")
        assert (told["pid"], told["database"][-3:]) == (pid, "db2")
        said = [e.event for e in await one.bus.replay("PROC_*", subject="acme", after=seq)]
        assert not [event for event in said if isinstance(event, ProcStarted | ProcExited)]

    play(short_dir, scene)


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("", "database db1 is down: no answer"),
        ("switch badly", "database db1 is down: no answer; it raised ZeroDivisionError, see its log"),
        ("switch never", "database db1 is down: no answer; it has not switched within 3 s"),
    ],
)
def test_one_that_does_not_is_replaced_without_a_gap(short_dir: Path, mood: str, reason: str) -> None:
    async def scene(one: Stage) -> None:
        pid = await begin(one, mood)
        over = asyncio.Event()
        asking = asyncio.create_task(ask_until(over, one))
        seq = await one.head()
        one.down("db1")
        _, started = await one.said(ProcStarted, "acme", seq, serving=pid)
        assert (started.database, started.reason) == ("db2", reason)
        await one.said(ProcReady, "acme", seq, pid=started.pid, database="db2")
        await one.said(ProcExited, "acme", seq, pid=pid, expected=True)
        over.set()
        assert await asking > 1
        told = await one.ask("acme")
        assert (told["pid"], told["database"][-3:]) == (started.pid, "db2")
        assert len(await one.bus.replay("PROC_MOVED")) == 1

    play(short_dir, scene)


@pytest.mark.parametrize(("caught_up", "answer"), [(True, "yes"), (False, "no"), (None, "unknown")])
def test_a_move_says_whether_anything_may_be_missing(
    short_dir: Path, *, caught_up: bool | None, answer: str
) -> None:
    async def scene(one: Stage) -> None:
        await begin(one, "switch")
        seq = await one.head()
        one.down("db1", caught_up=caught_up)
        _, moved = await one.said(ProcMoved, "acme", seq)
        assert (moved.caught_up, moved.waited >= 2.0) == (answer, caught_up is False)
        await one.said(ProcReady, "acme", seq, database="db2")

    play(short_dir, scene)


def test_when_all_begin_at_once_not_all_go_to_the_database_that_is_heard_of_first(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        names = [f"tenant-{number}" for number in range(8)]
        one.release()
        one.up("db2")
        for name in names:
            one.add(name)
        one.add("db2s", databases=("db2",))
        await one.said(ProcReady, "db2s")
        one.up("db1")
        used = [(await one.said(ProcReady, name))[1].database for name in names]
        assert used.count("db1") in {4, 5}

    play(short_dir, scene)
