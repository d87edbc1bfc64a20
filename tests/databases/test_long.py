"""What takes minutes: `make test-databases`."""

import asyncio
from pathlib import Path

import pytest

from bus.events import DbDegraded, DbDown, DbUp
from examples.mariadb import MariaDb
from services.dbwatch.hold import LONGEST
from tests.harness import eventually_async, free_port, short_directory
from tests.integration.conftest import PASSWORD
from tests.integration.small_disk import disk_for_a_server, fill
from tests.integration.watching import Scene, frozen, run, url

pytestmark = pytest.mark.timeout(300)

FLAPS = 20
HALF = 3.0
"""Seconds up, and seconds down."""

LOOK_FOR_ROOM = 60.0
"""Seconds between two tries of MariaDB to write to a disk that was full."""


def test_database_that_flaps_for_minutes(tmp_path: Path) -> None:
    """Twenty outages of 3 s each, a longer one, and calm."""

    async def scenario(server: MariaDb) -> None:
        scene = Scene(tmp_path, db1=url(server)).at_ease()
        async with scene.dbwatch():
            await scene.verdict(DbUp)
            for _ in range(FLAPS):
                with frozen(server):
                    await asyncio.sleep(HALF)
                await asyncio.sleep(HALF)
            assert isinstance((await scene.told())[-1], DbDown)
            await eventually_async(lambda: is_up(scene), LONGEST + 10)
            said = await scene.told()
            ups = [event for event in said if isinstance(event, DbUp)]
            assert len(ups) <= 1 + 3, "at the start, two or three times in between, in the end"
            assert len(said) <= 16

    with short_directory() as directory:
        directory.chmod(0o711)
        server = MariaDb(directory / "db", free_port())
        server.start()
        try:
            server.make_schema("shop", "shop", PASSWORD)
            run(scenario(server), within=280)
        finally:
            server.stop()


async def is_up(scene: Scene) -> bool:
    return isinstance((await scene.told())[-1], DbUp)


def test_full_disk_that_gets_room_again(tmp_path: Path) -> None:
    async def scenario(disk: Path) -> None:
        server = MariaDb(disk / "db", free_port())
        server.start()
        try:
            server.make_schema("shop", "shop", PASSWORD)
            scene = Scene(tmp_path, db1=url(server)).at_ease()
            async with scene.dbwatch():
                await scene.verdict(DbUp)
                fill(disk)
                scene.mark()
                await scene.verdict(DbDegraded, "disk-full")
                (disk / "filler").unlink()
                scene.mark()
                await scene.verdict(DbUp, within=LOOK_FOR_ROOM + 20)
        finally:
            server.kill()

    with disk_for_a_server() as disk:
        run(scenario(disk), within=200)
