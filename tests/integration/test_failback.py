"""Real tenants go back to a database that has returned: in place, or replaced without a gap."""

import asyncio
from pathlib import Path

import pytest

from bus.events import ProcExited, ProcMoved, ProcReady
from tests.harness import eventually_async
from tests.integration.stage import Stage, stage

MORE = """
[moves]
failback_rate = 20.0
failback_after = 0.5
"""

NAMES = ("acme", "bolt", "cups", "dart")


async def used(one: Stage) -> dict[str, str]:
    return {name: (await one.ask(name))["database"][-3:] for name in NAMES}


async def begin(one: Stage, mood: str) -> dict[str, int]:
    """Have all on db2, one of them paid, and db1 down; gives their pids."""
    one.release()
    one.up("db2")
    one.down("db1")
    for name in NAMES:
        one.add(name, mood=mood, plan="paid" if name == "acme" else "free")
    for name in NAMES:
        await one.said(ProcReady, name, database="db2")
    return {name: (await one.ask(name))["pid"] for name in NAMES}


@pytest.mark.parametrize("mood", ["", "switch"])
def test_half_of_them_go_back_and_free_ones_first(short_dir: Path, mood: str) -> None:
    async def scene() -> None:
        async with stage(short_dir, MORE) as one:
            pids = await begin(one, mood)
            seq = await one.head()
            one.up("db1")
            _, first = await one.said(ProcMoved, "bolt", seq)
            await one.said(ProcReady, "bolt", seq, database="db1")
            await one.said(ProcReady, "cups", seq, database="db1")
            assert (first.source, first.target, first.serving) == ("db2", "db1", pids["bolt"])
            words = first.reason.split(", ")
            assert words[0].startswith("goes back: db1 is up since ")
            assert words[1:] == ["0 tenants there", "4 here"]
            if not mood:
                for name in ("bolt", "cups"):
                    await one.said(ProcExited, name, seq, pid=pids[name], expected=True)
            assert await used(one) == {"acme": "db2", "bolt": "db1", "cups": "db1", "dart": "db2"}
            assert len(await one.bus.replay("PROC_MOVED", after=seq)) == 2
            stayed = [name for name in NAMES if (await one.ask(name))["pid"] == pids[name]]
            assert stayed == (list(NAMES) if mood else ["acme", "dart"])

    asyncio.run(scene())


def test_nobody_goes_back_to_one_that_flaps_until_it_is_stable(short_dir: Path) -> None:
    async def scene() -> None:
        async with stage(short_dir, MORE) as one:
            await begin(one, "switch")
            for _ in range(20):  # it is never up for long enough
                one.up("db1")
                one.down("db1")
            assert set((await used(one)).values()) == {"db2"}
            assert not await one.bus.replay("PROC_MOVED")
            one.up("db1")

            async def even() -> bool:
                return sorted((await used(one)).values()) == ["db1", "db1", "db2", "db2"]

            await eventually_async(even)
            assert len(await one.bus.replay("PROC_MOVED")) == 2

    asyncio.run(scene())
