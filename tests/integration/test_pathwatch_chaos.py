"""Random changes with restarts in between, a real process that is killed: each real change is said once."""

import asyncio
import random
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bus import client
from bus import settings as settings_file
from bus.events import AnyEvent, UserAdded, UserModified
from tests.harness import Program, eventually
from tests.integration.watched import PAID, VALID, World, kernel_limits, repeats

NAMES = ("acme", "beta", "gamma", "delta")
TEXTS = {VALID: "free", PAID: "paid", "package = ": "invalid"}


@pytest.fixture(autouse=True)
def _kernel_limits() -> Iterator[None]:
    with kernel_limits(ours=False):
        yield


def disturb(world: World, chance: random.Random) -> None:
    """Do one of the things that people and scripts do to a tenant."""
    directory = world.tenants / chance.choice(NAMES)
    other = world.tenants / chance.choice(NAMES)
    match chance.randrange(6):
        case 0 | 1 | 2:
            world.tenant(directory.name, chance.choice(list(TEXTS)))
        case 3:
            shutil.rmtree(directory, ignore_errors=True)
        case 4 if directory.exists() and not other.exists():
            directory.rename(other)
        case 5 if directory.exists():
            (directory / "new").write_text(chance.choice(list(TEXTS)))
            (directory / "new").replace(directory / "tenant.toml")
        case _:
            pass


def on_disk(world: World) -> dict[str, str]:
    return {file.parent.name: TEXTS[file.read_text()] for file in world.tenants.glob("[a-y]*/tenant.toml")}


@pytest.mark.parametrize("seed", range(3))
def test_what_was_said_adds_up_to_what_is_there(seed: int, short_dir: Path) -> None:
    chance = random.Random(seed)

    async def run() -> None:
        world = World(short_dir)
        events: list[AnyEvent] = []
        for _ in range(3):
            async with world.watching():
                for _ in range(60):
                    disturb(world, chance)
                    await asyncio.sleep(chance.choice((0.0, 0.0, 0.001, 0.02)))
                events += await world.news()
                plans = await world.plans()
                assert {name: plan for name, plan in plans.items() if name in NAMES} == on_disk(world)
            for _ in range(5):
                disturb(world, chance)
        assert not repeats(events)

    asyncio.run(run())


BURST = """
import os, time
for n in range(600):
    kills, last = divmod(n + 1, 100)
    while last == 0 and kills <= 5 and not os.path.exists(f"../kill{kills}"):
        time.sleep(0.001)  # the burst goes on until the last kill, however slow the machine
    os.mkdir(f"t{n}")
    open(f"t{n}/tenant.toml", "w").write('package = "invoicing"\\n')
    time.sleep(0.002)
for n in range(600):
    open(f"t{n}/tenant.toml", "w").write('package = "invoicing"\\nplan = "paid"\\n')
    time.sleep(0.001)
"""


def test_killed_in_the_middle_of_a_burst(short_dir: Path) -> None:
    world = World(short_dir)
    with Program.module("bus", world.file), Program(sys.executable, "-c", BURST, cwd=world.tenants) as burst:
        for kill in range(1, 6):
            before = count(world)
            with Program.module("services.pathwatch", world.file) as service:
                (world.tenants.parent / f"kill{kill - 1}").touch()
                eventually(partial(works, world, before))
                service.kill()
                assert burst.process.poll() is None
        (world.tenants.parent / "kill5").touch()
        with Program.module("services.pathwatch", world.file):
            assert burst.process.wait(20) == 0
            events = eventually(lambda: finished(world))
    assert not repeats(events)
    added = [event.tenant for event in events if isinstance(event, UserAdded)]
    assert sorted(added) == sorted(f"t{n}" for n in range(600))
    assert len(events) <= 1200


def finished(world: World) -> list[AnyEvent]:
    """Everything said, once all tenants are said to be paid."""
    events = asyncio.run(said(world))
    paid = {
        event.tenant
        for event in events
        if isinstance(event, UserAdded | UserModified) and event.settings.plan == "paid"
    }
    return events if len(paid) == 600 else []


def works(world: World, before: int) -> bool:
    return count(world) > before


def count(world: World) -> int:
    return len(asyncio.run(said(world)))


async def said(world: World) -> list[AnyEvent]:
    bus = await client.connect(settings_file.load(world.file), "test", within=20)
    try:
        events: list[AnyEvent] = []
        after = 0
        while page := await bus.replay("USER_*", after=after, limit=1_000):
            events += [envelope.event for envelope in page]
            after = page[-1].seq
        return events
    finally:
        await bus.close()
