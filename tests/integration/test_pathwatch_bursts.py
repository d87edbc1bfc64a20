"""A thousand changes by script, with the kernel's limits as they are and forced low (which takes root)."""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.harness import eventually_async
from tests.integration.watched import World, kernel_limits, repeats, script

LIMITS = Path("/proc/sys/fs/inotify")
MANY = 1_000
SOON = 2.0
"""Seconds after the last write until everything must be said."""

CHANGES = {
    "add": ("t", "free", 'os.mkdir(f"t{n}"); open(f"t{n}/tenant.toml", "w").write(VALID)'),
    "change": ("t", "paid", 'open(f"t{n}/x", "w").write(PAID); os.rename(f"t{n}/x", f"t{n}/tenant.toml")'),
    "rename": ("u", "paid", 'os.rename(f"t{n}", f"u{n}")'),
    "remove": ("", "", 'shutil.rmtree(f"u{n}")'),
}
PROGRAM = """
import os, shutil
VALID = 'package = "invoicing"\\n'
PAID = VALID + 'plan = "paid"\\n'
for n in range({many}):
    {change}
"""


@pytest.fixture(autouse=True)
def _kernel_limits() -> Iterator[None]:
    with kernel_limits(ours=True):
        yield


@contextmanager
def limit(name: str, value: int) -> Iterator[None]:
    """Force one of the kernel's limits for a while; it holds for the whole machine."""
    file = LIMITS / name
    before = file.read_text()
    try:
        file.write_text(str(value))
    except PermissionError:
        pytest.fail(f"{file} can be set by root only: run this test as root")
    try:
        yield
    finally:
        file.write_text(before)


async def change(world: World, kind: str) -> None:
    """Change all tenants at once and wait until all of it is said, which must not take long."""
    prefix, plan, statement = CHANGES[kind]
    await script([sys.executable, "-c", PROGRAM.format(many=MANY, change=statement)], world.tenants)
    wanted = {f"{prefix}{n}": plan for n in range(MANY)} if prefix else {}

    async def right() -> bool:
        return await world.plans() == wanted

    await eventually_async(right, within=SOON, every=0.1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("", 0, ""),
        ("max_queued_events", 16, ""),
        ("max_user_watches", 20, "the kernel gives no more watches"),
        ("max_user_instances", 0, "no inotify instance"),
    ],
    ids=["as-it-is", "queue", "watches", "instances"],
)
def test_a_thousand_changes(
    name: str, value: int, said: str, short_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        world = World(short_dir)
        with limit(name, value) if name else nullcontext():
            async with world.watching():
                for kind in CHANGES:
                    await change(world, kind)
        events = world.unread()
        assert not repeats(events)
        counts = Counter(event.type for event in events)
        # Slow looks may miss what a tenant was in between, but never say more than happened.
        assert counts["USER_ADDED"] == counts["USER_DELETED"] == 2 * MANY
        assert counts["USER_MODIFIED"] == MANY
        assert counts["USER_INVALID"] == 0

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert ("max_queued_events" in caplog.text) == (name == "max_queued_events")
    complaints = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(complaints) == bool(said), complaints
    assert said in "".join(complaints)


def test_watches_that_come_back(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        world = World(short_dir)
        with limit("max_user_watches", 3):
            async with world.watching() as service:
                world.tenant("acme")
                assert ("USER_ADDED", "acme") in await world.tell()
                (LIMITS / "max_user_watches").write_text("100000")
                await eventually_async(lambda: not service.degraded)
                world.tenant("beta")
                assert await world.tell() == [("USER_ADDED", "beta")]

    asyncio.run(run())
    assert "everything is watched again" in caplog.text
