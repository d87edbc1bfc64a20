"""The broker and its journal's file: spoilt, old, and on a full disk."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.api import Bus
from bus.client import Client, connect
from bus.events import DbDown, JournalReset
from bus.settings import Settings
from tests.harness import DEADLINE, Program
from tests.integration.brokered import act, replay_all, up
from tests.unable import unable


def fill(settings: Settings, count: int = 2_000) -> int:
    last = 0

    async def body(bus: Bus) -> None:
        nonlocal last
        for number in range(count):
            publication = bus.publish(up(f"db{number}", "x" * 200))
        last = await publication

    act(settings, body)
    return last


def truncate(journal: Path) -> None:
    os.truncate(journal, journal.stat().st_size // 2)


def overwrite(journal: Path) -> None:
    journal.write_bytes(os.urandom(100_000))


def empty(journal: Path) -> None:
    journal.write_bytes(b"SQLite format 3\0" + bytes(50))


def another_database(journal: Path) -> None:
    journal.unlink()
    with sqlite3.connect(journal) as other:
        other.execute("CREATE TABLE customers (name)")
    other.close()


@pytest.mark.parametrize("spoil", [truncate, overwrite, empty, another_database])
def test_a_spoilt_journal_is_put_aside_and_a_new_one_begun(
    config: Path, settings: Settings, spoil: Callable[[Path], None]
) -> None:
    with Program.module("bus", config) as broker:
        last = fill(settings)
        broker.stop()
    before = time.time()
    spoil(settings.journal)

    async def scene() -> None:
        survivor = Client(settings, "survivor")  # as a service that was there all the time
        subscribed = asyncio.create_task(survivor.subscribe(after=last))
        with Program.module("bus", config) as broker:
            subscription = await subscribed
            first = await anext(subscription)
            assert isinstance(first.event, JournalReset)
            assert first.seq >= before * 1000
            assert "not complete" in broker.output
            aside = next(settings.state_dir.glob("journal.db.corrupt-*"))
            assert aside.name in first.event.reason
            assert (await anext(subscription)).type == "SERVICE_UP"
            assert await survivor.publish(up("db1")) > first.seq
            await survivor.close()

    asyncio.run(asyncio.wait_for(scene(), DEADLINE))


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_journal_that_somebody_removes_is_begun_anew_at_once(
    config: Path, settings: Settings, what: str
) -> None:
    async def scene() -> int:
        survivor = Client(settings, "survivor")
        last = await survivor.publish(up("db1"))
        resets = await survivor.subscribe("JOURNAL_RESET", after=last)
        if what == "file":
            for file in settings.state_dir.glob("journal.*"):
                file.unlink()
        else:
            shutil.rmtree(settings.state_dir)
        reset = await anext(resets)
        assert isinstance(reset.event, JournalReset)
        assert reset.event.reason == "somebody has removed it"
        seq = await survivor.publish(up("db2"))
        assert seq > reset.seq > last
        await survivor.close()
        return seq

    with Program.module("bus", config) as broker:
        seq = asyncio.run(asyncio.wait_for(scene(), DEADLINE))
        broker.kill()
    settings.prepare()
    with Program.module("bus", config):
        assert [e.seq for e in replay_all(settings, "DB_*")] == [seq]


def test_seqs_never_go_back_when_the_last_events_are_lost(config: Path, settings: Settings) -> None:
    with Program.module("bus", config) as broker:
        last = fill(settings, 100)
        broker.kill()
    os.truncate(settings.journal.with_name("journal.db-wal"), 0)
    with Program.module("bus", config):
        said = replay_all(settings)
        assert said[0].seq > last
        assert said[0].type == "JOURNAL_RESET"


def test_retention_drops_the_old_and_keeps_the_newest_of_each(config: Path, settings: Settings) -> None:
    with Program.module("bus", config) as broker:
        last = fill(settings, 50)
        broker.stop()
    with sqlite3.connect(settings.journal) as journal:
        journal.execute("UPDATE events SET time = time - 4 * 86400")
    journal.close()
    with Program.module("bus", config) as broker:
        fill(settings, 10)
        broker.stop()
    with Program.module("bus", config):
        kept = {e.subject: e.seq for e in replay_all(settings, "DB_*")}
        assert len(kept) == 50
        assert min(kept.values()) == last - 50 + 11
        assert _subjects_of_latest(settings) == {f"db{number}" for number in range(50)}


def _subjects_of_latest(settings: Settings) -> set[str]:
    found: set[str] = set()

    async def body(bus: Bus) -> None:
        found.update(e.subject for e in (await bus.latest("DB_*")).events)

    act(settings, body)
    return found


@pytest.fixture
def small_disk(short_dir: Path) -> Iterator[Path]:
    """A disk of its own that can be filled."""
    disk = short_dir / "var"
    disk.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(disk)]
    if subprocess.run(mount, check=False).returncode:
        unable("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_silences_nobody(config: Path, settings: Settings, small_disk: Path) -> None:
    with Program.module("bus", config):
        asyncio.run(asyncio.wait_for(fill_up_and_make_room(settings, small_disk / "ballast"), 2 * DEADLINE))
        said = replay_all(settings)
    with Program.module("bus", config):
        kept = replay_all(settings)
    assert kept[: len(said)] == said
    assert [e.event for e in kept if isinstance(e.event, DbDown)] == [down(number) for number in range(100)]
    assert [e.type for e in kept if e.source == "broker"] == [
        "SERVICE_UP",
        "JOURNAL_DEGRADED",
        "JOURNAL_RESTORED",
        "SERVICE_DOWN",
        "SERVICE_UP",
    ]


def down(number: int) -> DbDown:
    return DbDown(database="db1", reason=str(number))


def fill_disk(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


async def fill_up_and_make_room(settings: Settings, ballast: Path) -> None:
    bus = await connect(settings, "dbwatch", within=DEADLINE)
    subscription = await bus.subscribe()
    with pytest.raises(OSError, match="No space"):
        fill_disk(ballast)
    degraded = await bus.subscribe("JOURNAL_DEGRADED", after=0)
    noticed = asyncio.ensure_future(anext(degraded))
    while not noticed.done():
        seq = await bus.publish(up("db1", "x" * 200))
        while (heard := await anext(subscription)).seq < seq:
            assert heard.type == "JOURNAL_DEGRADED"
    spoken = [bus.publish(down(number)) for number in range(100)]
    while (await anext(subscription)).event != down(99):
        pass
    newest = (await bus.latest("DB_*", subject="db1")).events
    assert [e.seq for e in newest] == [await spoken[-1]]
    assert len(await bus.replay("DB_DOWN")) == 100
    await asyncio.to_thread(ballast.unlink)
    while (heard := await anext(subscription)).type != "JOURNAL_RESTORED":
        assert heard.type == "JOURNAL_DEGRADED"
    await bus.close()
