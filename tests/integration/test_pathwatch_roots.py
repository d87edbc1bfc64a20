"""What pathwatch says when it comes back, and when the directories that it watches go away."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bus.events import UserInvalid
from tests.harness import eventually_async
from tests.integration.watched import PAID, World, kernel_limits, watch


@pytest.fixture(autouse=True)
def _kernel_limits() -> Iterator[None]:
    with kernel_limits(ours=False):
        yield


def test_a_restart_says_what_changed_meanwhile_and_nothing_else(short_dir: Path) -> None:
    async def run() -> None:
        world = World(short_dir)
        for name in ("same", "modified", "deleted", "spoilt", "mended-new"):
            world.tenant(name)
        world.tenant("mended", "")
        world.release("shop-front", "1.0")
        world.release("shop-front", "2.0", "")
        async with world.watching():
            assert len(await world.news()) == 9  # and the settings
        world.tenant("spoilt", "")
        world.tenant("mended-new", "")
        async with world.watching():
            assert await world.tell(2) == [("USER_INVALID", "mended-new"), ("USER_INVALID", "spoilt")]
        world.tenant("added")
        world.tenant("modified", PAID)
        world.tenant("mended")
        world.tenant("mended-new")
        shutil.rmtree(world.tenants / "deleted")
        shutil.rmtree(world.packages / "shop-front")
        world.file.write_text("[checks]\nstuck_after = 9.0\n")
        async with world.watching():
            pass  # start() alone says everything
        assert sorted([(e.type, e.subject) for e in world.unread()]) == [
            ("PACKAGE_WITHDRAWN", "shop-front-1.0"),
            ("PACKAGE_WITHDRAWN", "shop-front-2.0"),
            ("SETTINGS_CHANGED", str(world.file)),
            ("USER_ADDED", "added"),
            ("USER_ADDED", "mended"),
            ("USER_DELETED", "deleted"),
            ("USER_MODIFIED", "mended-new"),
            ("USER_MODIFIED", "modified"),
        ]
        async with world.watching():
            assert await world.tell() == []

    asyncio.run(run())


def test_a_lost_root_deletes_nobody(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: World) -> None:
        world.tenant("acme")
        world.tenant("beta")
        await world.news(2)
        away = world.root / "unmounted"
        world.tenants.rename(away)
        await asyncio.sleep(1.2)
        assert world.unread() == []  # longer than bad news waits, and than a tick
        assert f"{world.tenants} (paths.tenants): No such file" in caplog.text
        shutil.rmtree(away / "beta")
        away.rename(world.tenants)
        assert await world.tell(1) == [("USER_DELETED", "beta")]
        assert "is there again" in caplog.text
        for directory in world.tenants.iterdir():
            shutil.rmtree(directory)
        assert await world.tell(1) == [("USER_DELETED", "acme")]

    watch(short_dir, story)


def test_an_empty_directory_in_place_of_a_mounted_disk_deletes_nobody(
    short_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run(other_disk: Path) -> None:
        world = World(short_dir)
        world.tenants.rename(world.root / "disk")
        world.tenants.symlink_to("disk")
        async with world.watching():
            world.tenant("acme")
            assert await world.tell(2) == [("SETTINGS_CHANGED", str(world.file)), ("USER_ADDED", "acme")]
            world.tenants.unlink()
            world.tenants.symlink_to(other_disk)
            await eventually_async(lambda: "is a disk not mounted?" in caplog.text)
            await asyncio.sleep(0.5)  # longer than bad news waits
            assert world.unread() == []
            world.tenant("beta")
            assert await world.tell(2) == [("USER_ADDED", "beta"), ("USER_DELETED", "acme")]

    assert Path("/dev/shm").stat().st_dev != short_dir.stat().st_dev
    with TemporaryDirectory(dir="/dev/shm") as other_disk:
        asyncio.run(run(Path(other_disk)))


def test_a_missing_root_is_waited_for(short_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        world = World(short_dir)
        world.tenants.rmdir()
        async with world.watching():
            assert "(paths.tenants): No such file or directory" in caplog.text
            assert not world.tenants.exists()
            world.tenants.mkdir()
            world.tenant("acme")
            assert await world.tell(2) == [("SETTINGS_CHANGED", str(world.file)), ("USER_ADDED", "acme")]
            world.tenant("acme", PAID)
            assert await world.tell(1) == [("USER_MODIFIED", "acme")]

    asyncio.run(run())


def test_what_may_not_be_read_is_not_deleted(short_dir: Path) -> None:
    owner = os.getuid()
    reader = owner or 65534  # root may read everything

    async def story(world: World) -> None:
        acme = world.tenant("acme")
        for path in (short_dir, world.tenants, acme, acme / "tenant.toml"):
            path.chmod(0o755)
        os.chown(acme, reader, -1)
        os.seteuid(reader)
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        for path, mode in ((acme, 0o755), (acme / "tenant.toml", 0o644)):
            with_rights(path, 0)
            [invalid] = await world.news(1)
            assert isinstance(invalid, UserInvalid)
            assert invalid.reason == "cannot be read: permission denied"
            with_rights(path, mode)
            assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        for mode in (0, 0o444):  # the latter: its names can be listed, and nothing else
            with_rights(world.tenants, mode)
            await asyncio.sleep(1.2)  # longer than bad news waits, and than a tick
            assert world.unread() == []
            with_rights(world.tenants, 0o755)
        os.seteuid(owner)

    def with_rights(path: Path, mode: int) -> None:
        os.seteuid(owner)
        path.chmod(mode)
        os.seteuid(reader)

    try:
        watch(short_dir, story)
    finally:
        os.seteuid(owner)
