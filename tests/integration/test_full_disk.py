"""Tenants on a disk that is full: they serve on, and what cannot be written down ends nobody else."""

import os
import signal
from pathlib import Path

import pytest

from services.reactor.actions import Ended, SpawnFailed
from tests.integration.forking import Stage, alive, run, stage
from tests.integration.small_disk import fill, mounted


async def fill_and_crash(here: Stage, disk: Path) -> None:
    """Have acme end when there is no room for anything any more."""
    process = (await here.start("acme")).process
    os.kill(process.pid, signal.SIGKILL)
    await here.told(Ended, "acme")
    fill(disk)


def open_files() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


def test_who_crashes_on_a_full_disk_is_started_and_a_new_reactor_finds_it(
    short_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        with mounted(short_dir, "1M") as disk:
            (short_dir / "tenants").symlink_to(disk)
            async with stage(short_dir) as here:
                await fill_and_crash(here, disk)
                spawned = await here.start("acme")
                assert await here.get("acme") == str(spawned.process.pid)
                assert "No space left on device: pid" in caplog.text
                (found,) = await here.begin_again()
                assert (found.process, found.ready) == (spawned.process, True)
                (disk / "filler").unlink()
                await here.begin_again()
                assert (disk / "acme/run/pid").read_text() == f"{spawned.process.pid}\n"

    run(test())


def test_where_there_is_no_room_for_its_page_one_is_not_started_and_its_fork_server_lives(
    short_dir: Path,
) -> None:
    async def test() -> None:
        with mounted(short_dir, "1M") as disk:
            async with stage(disk) as here:
                other = (await here.start("other")).process
                await fill_and_crash(here, disk)
                (fork_server,) = here.fork_servers()
                before = open_files()
                here.ask("acme")
                assert open_files() == before
                failed = await here.told(SpawnFailed, "acme")
                assert (failed.reason, failed.never) == ("No space left on device", False)
                assert alive(fork_server.pid)
                assert await here.get("other") == str(other.pid)
                (disk / "filler").unlink()
                await here.start("acme")

    run(test())
