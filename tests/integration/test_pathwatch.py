"""A real directory tree, real inotify, and what pathwatch says about it."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.events import (
    PackageInvalid,
    PackageReleased,
    SettingsInvalid,
    UserAdded,
    UserInvalid,
    UserModified,
)
from tests.integration.watched import PAID, RELEASE, VALID, World, kernel_limits, script, watch


@pytest.fixture(autouse=True)
def _kernel_limits() -> Iterator[None]:
    with kernel_limits(ours=False):
        yield


def watches() -> int:
    """Tell how many directories the kernel watches for us."""
    infos = [file.read_text() for file in Path("/proc/self/fdinfo").iterdir() if file.exists()]
    return sum(info.count("inotify wd:") for info in infos)


def test_added_modified_deleted(short_dir: Path) -> None:
    async def story(world: World) -> None:
        world.tenant("acme")
        [added] = await world.news(1)
        assert isinstance(added, UserAdded)
        assert added.path == str(world.tenants / "acme")
        assert added.settings.package == "invoicing"
        world.tenant("acme", PAID)
        [modified] = await world.news(1)
        assert isinstance(modified, UserModified)
        assert modified.settings.plan == "paid"
        assert modified.stamp != added.stamp
        assert modified.secrets == added.secrets
        shutil.rmtree(world.tenants / "acme")
        assert await world.tell(1) == [("USER_DELETED", "acme")]
        world.tenant("acme")
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        (world.tenants / "acme" / "tenant.toml").unlink()
        assert await world.tell(1) == [("USER_DELETED", "acme")]

    watch(short_dir, story)


def test_nothing_is_kept_of_what_is_gone(short_dir: Path) -> None:
    async def story() -> None:
        world = World(short_dir)
        async with world.watching() as service:
            await world.news(1)
            kept = set(service._signatures), set(service._tree.subjects), watches()
            for name in ("acme", "globex"):
                world.tenant(name)
            world.release("invoicing", "1.0")
            await world.news(3)
            shutil.rmtree(world.tenants / "acme")
            (world.tenants / "globex").rename(short_dir / "elsewhere")
            shutil.rmtree(world.packages / "invoicing")
            await world.news(3)
            assert (set(service._signatures), set(service._tree.subjects), watches()) == kept

    asyncio.run(story())


def test_nothing_is_said_about_what_is_no_change(short_dir: Path) -> None:
    async def story(world: World) -> None:
        acme = world.tenant("acme")
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        os.utime(acme / "tenant.toml")
        world.tenant("acme")  # saved again
        (acme / "tenant.toml").chmod(0o600)
        (acme / "run").mkdir()
        (acme / "run" / "pid").write_text("1")
        for name in (".tenant.toml.swp", "tenant.toml~", "4913", "tenant.toml.tmp"):
            (acme / name).write_text("garbage")
            (acme / name).unlink()
        (world.tenants / "README").write_text("not a tenant")
        for name in ("empty", ".git", ".trash", "copy.tmp", "old~"):
            (world.tenants / name).mkdir()
        for name in (".git", ".trash", "copy.tmp", "old~"):
            world.tenant(name)
        assert await world.tell() == []

    watch(short_dir, story)


def test_moves(short_dir: Path) -> None:
    async def story(world: World) -> None:
        outside = world.root / "outside"
        shutil.copytree(world.tenant("acme"), outside)
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        outside.rename(world.tenants / "moved-in")
        assert await world.tell(1) == [("USER_ADDED", "moved-in")]
        (world.tenants / "moved-in").rename(world.tenants / "renamed")
        assert sorted(await world.tell(2)) == [("USER_ADDED", "renamed"), ("USER_DELETED", "moved-in")]
        world.tenant("renamed", PAID)
        assert await world.tell(1) == [("USER_MODIFIED", "renamed")]
        (world.tenants / "renamed").rename(outside)
        assert await world.tell(1) == [("USER_DELETED", "renamed")]
        (outside / "tenant.toml").write_text(VALID)
        assert await world.tell() == []
        directories = [world.root, world.packages, world.tenants, *world.tenants.iterdir()]
        assert watches() == len(directories)

    watch(short_dir, story)


def test_a_directory_that_is_swapped_for_another_one_is_modified(short_dir: Path) -> None:
    async def story(world: World) -> None:
        world.tenant("acme")
        world.tenant(".new", PAID)
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        (world.tenants / "acme").rename(world.tenants / ".old")
        (world.tenants / ".new").rename(world.tenants / "acme")
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]

    watch(short_dir, story)


def test_editors(short_dir: Path) -> None:
    async def story(world: World) -> None:
        file = world.tenant("acme") / "tenant.toml"
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        replacement = file.with_name(".tenant.toml.new")  # write, then rename
        replacement.write_text(PAID)
        replacement.replace(file)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        file.rename(file.with_name("tenant.toml~"))  # back up, then write
        file.write_text(VALID)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        await script(["sed", "-i", "s/invoicing/stock/", "tenant.toml"], file.parent)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        file.with_name("hard").write_text(PAID)
        file.unlink()
        file.hardlink_to(file.with_name("hard"))
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]

    watch(short_dir, story)


def test_what_is_being_written_is_not_read(short_dir: Path) -> None:
    async def story(world: World) -> None:
        directory = world.tenants / "acme"
        directory.mkdir()
        file = directory / "tenant.toml"
        with file.open("w") as writer:
            writer.write(VALID)
            writer.flush()
            assert await world.tell() == []
            writer.write('plan = "paid"\n')
        [added] = await world.news(1)
        assert isinstance(added, UserAdded)
        assert added.settings.plan == "paid"
        with file.open("r+") as writer:
            writer.truncate()
            assert await world.tell() == []
            writer.write(VALID)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        secrets = os.open(directory / "secrets.env", os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(secrets, b"HALF=")
        assert await world.tell() == []
        os.close(secrets)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]

    watch(short_dir, story)


def test_scripts_that_work_in_steps_do_not_flash(short_dir: Path) -> None:
    async def story(world: World) -> None:
        steps = (
            "mkdir acme; : > acme/tenant.toml; sleep 0.05; echo 'package = ' > acme/tenant.toml; sleep 0.05;"
            "echo 'KEY=x' > acme/secrets.env; echo 'package = \"x\"' > acme/tenant.toml; sleep 0.05;"
            "chmod 600 acme/secrets.env"
        )
        await script(["sh", "-ec", steps], world.tenants)
        assert await world.tell(1) == [("USER_ADDED", "acme")]

    watch(short_dir, story)


def test_invalid_and_valid_again(short_dir: Path) -> None:
    async def story(world: World) -> None:
        file = world.tenant("acme", 'plan = "paid"\npackage "x"\n') / "tenant.toml"
        [invalid] = await world.news(1)
        assert isinstance(invalid, UserInvalid)
        assert (invalid.file, invalid.line) == (str(file), 2)
        assert "Expected '='" in invalid.reason
        world.tenant("acme", 'package = "x"\nplan = "gold"\n')
        [invalid] = await world.news(1)
        assert isinstance(invalid, UserInvalid)
        assert (invalid.key, invalid.line) == ("plan", 2)
        world.tenant("acme")
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        world.tenant("acme", "")
        assert await world.tell(1) == [("USER_INVALID", "acme")]
        world.tenant("acme")
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        world.tenant("acme", "")
        await world.news(1)
        shutil.rmtree(world.tenants / "acme")
        assert await world.tell(1) == [("USER_DELETED", "acme")]
        world.tenant("acme")
        assert await world.tell(1) == [("USER_ADDED", "acme")]

    watch(short_dir, story)


def test_secrets(short_dir: Path) -> None:
    async def story(world: World) -> None:
        secrets = world.tenant("acme") / "secrets.env"
        [without] = await world.news(1)
        secrets.touch(0o600)
        secrets.write_text("KEY=hunter2\n")
        [first] = await world.news(1)
        assert isinstance(without, UserAdded)
        assert isinstance(first, UserModified)
        assert len({without.stamp, first.stamp}) == len({without.secrets, first.secrets}) == 2
        secrets.write_text("KEY=hunter3\n")
        [second] = await world.news(1)
        assert isinstance(second, UserModified)
        assert second.secrets not in (without.secrets, first.secrets)
        assert second.settings == first.settings
        secrets.chmod(0o640)
        [invalid] = await world.news(1)
        assert isinstance(invalid, UserInvalid)
        assert invalid.file == str(secrets)
        assert "mode 0640" in invalid.reason
        secrets.chmod(0o600)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        secrets.unlink()
        [again] = await world.news(1)
        assert isinstance(again, UserModified)
        assert again.stamp == without.stamp

    watch(short_dir, story)


def test_names_paths_and_databases_that_cannot_be(short_dir: Path) -> None:
    run = "r" * (107 - len(f"{short_dir}//http/{'n' * 20}.sock"))

    async def story(world: World) -> None:
        reasons = {}
        world.tenant("Acme_1")
        world.tenant("n" * 20)
        world.tenant("n" * 21)
        world.tenant("lost", VALID + '[limits]\nmemory = "1G"\n')
        world.tenant("db", VALID + 'databases = ["db1", "db9"]\n')
        world.tenant(os.fsdecode(b"\xff"))
        for event in await world.news(6):
            reasons[event.subject] = (
                (event.key, event.line, event.reason) if isinstance(event, UserInvalid) else ()
            )
        assert reasons["n" * 20] == reasons["lost"] == ()
        assert "no DNS label" in str(reasons["Acme_1"])
        assert "no DNS label" in str(reasons["\udcff"])
        assert "107 bytes" in str(reasons["n" * 21])
        assert reasons["db"][:2] == ("databases", 2)
        assert "db9 is not in" in str(reasons["db"])

    settings = f'[paths]\nrun = "{run}"\n[databases.db1]\nurl = "sqlite:///x.db"\n'
    watch(short_dir, story, settings)


def test_symbolic_links(short_dir: Path) -> None:
    async def story(world: World) -> None:
        elsewhere = world.root / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "tenant.toml").write_text(VALID)
        (world.tenants / "acme").symlink_to(elsewhere)
        assert await world.tell(1) == [("USER_ADDED", "acme")]
        (elsewhere / "tenant.toml").write_text(PAID)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        (world.tenants / "twin").symlink_to(elsewhere)
        assert await world.tell(1) == [("USER_ADDED", "twin")]
        (elsewhere / "tenant.toml").write_text(VALID)
        assert sorted(await world.tell(2)) == [("USER_MODIFIED", "acme"), ("USER_MODIFIED", "twin")]
        (world.tenants / "twin").unlink()
        assert await world.tell(1) == [("USER_DELETED", "twin")]
        elsewhere.rename(world.root / "moved")
        [invalid] = await world.news(1)
        assert isinstance(invalid, UserInvalid)
        assert invalid.reason == f"is a symbolic link to {elsewhere}, which does not exist"
        (world.root / "moved").rename(elsewhere)
        assert await world.tell(1) == [("USER_MODIFIED", "acme")]
        for loop in (".", ".."):
            (world.tenants / "loop").symlink_to(loop)
            assert await world.tell() == []
            (world.tenants / "loop").unlink()
        (world.tenants / "loop").symlink_to("loop")
        assert await world.tell(1) == [("USER_INVALID", "loop")]

    watch(short_dir, story)


def test_a_linked_file_whose_target_is_replaced(short_dir: Path) -> None:
    async def story(world: World) -> None:
        target = world.root / "common.toml"
        (world.tenants / "acme").mkdir()
        (world.tenants / "acme" / "tenant.toml").symlink_to(target)
        [invalid] = await world.news(1)
        assert isinstance(invalid, UserInvalid)
        assert "which does not exist" in invalid.reason
        for text, event in ((VALID, "USER_ADDED"), (PAID, "USER_MODIFIED"), (VALID, "USER_MODIFIED")):
            target.with_suffix(".new").write_text(text)
            target.with_suffix(".new").replace(target)
            assert await world.tell(1) == [(event, "acme")]

    watch(short_dir, story)


def test_things_that_are_no_files(short_dir: Path) -> None:
    async def story(world: World) -> None:
        for name in ("pipe", "dir", "huge", "bytes"):
            (world.tenants / name).mkdir()
        os.mkfifo(world.tenants / "pipe" / "tenant.toml")
        (world.tenants / "dir" / "tenant.toml").mkdir()
        world.tenant("huge", "#" * 256 * 1024 + "\n")
        (world.tenants / "bytes" / "tenant.toml").write_bytes(b'package = "\xff"')
        reasons = {
            event.subject: event.reason for event in await world.news(4) if isinstance(event, UserInvalid)
        }
        assert reasons == {
            "pipe": "is not a regular file",
            "dir": "is not a regular file",
            "huge": "is larger than 262144 bytes",
            "bytes": "is not UTF-8: invalid start byte at byte 11",
        }

    watch(short_dir, story)


def test_packages(short_dir: Path) -> None:
    async def story(world: World) -> None:
        first = world.release("invoicing", "1.0")
        [released] = await world.news(1)
        assert isinstance(released, PackageReleased)
        assert (released.release, released.app, released.version) == ("invoicing-1.0", "invoicing", "1.0")
        assert released.path == str(first)
        shutil.copytree(world.packages / "invoicing", world.root / "new-app")
        (world.root / "new-app").rename(world.packages / "my-stock")
        (first.parent / "current").symlink_to("1.0")
        assert await world.tell(1) == [("PACKAGE_RELEASED", "my-stock-1.0")]
        world.release("invoicing", "1.0", RELEASE + 'health = "/up"\n')
        assert await world.tell(1) == [("PACKAGE_RELEASED", "invoicing-1.0")]
        world.release("invoicing", "newest")
        world.release("Bad", "1.0")
        world.release("invoicing", "2.0", "")
        said = {event.subject: event for event in await world.news(3)}
        invalid = said["invoicing-2.0"]
        assert isinstance(invalid, PackageInvalid)
        assert "exactly one of" in invalid.reason
        assert {event.type for event in said.values()} == {"PACKAGE_INVALID"}
        assert set(said) == {"invoicing-newest", "Bad-1.0", "invoicing-2.0"}
        (world.packages / "my-stock").rename(world.root / "gone")
        shutil.rmtree(first.parent / "2.0")
        assert sorted(await world.tell(2)) == [
            ("PACKAGE_WITHDRAWN", "invoicing-2.0"),
            ("PACKAGE_WITHDRAWN", "my-stock-1.0"),
        ]

    watch(short_dir, story)


def test_settings(short_dir: Path) -> None:
    async def story(world: World) -> None:
        name = str(world.file)
        world.file.write_text("# only a comment\n")
        assert await world.tell() == []
        world.file.write_text("[checks]\nstuck_after = 9.0\n")
        assert await world.tell(1) == [("SETTINGS_CHANGED", name)]
        world.file.write_text("[checks]\nstuck_after = 9\n")
        assert await world.tell() == []
        world.file.write_text("[checks]\nstuck_after = -1\n")
        [invalid] = await world.news(1)
        assert isinstance(invalid, SettingsInvalid)
        assert (invalid.key, invalid.line) == ("checks.stuck_after", 2)
        world.file.rename(world.root / "aside")
        [invalid] = await world.news(1)
        assert isinstance(invalid, SettingsInvalid)
        assert "No such file" in invalid.reason
        world.file.write_text("[checks]\nstuck_after = 9.0\n")
        assert await world.tell(1) == [("SETTINGS_CHANGED", name)]

    watch(short_dir, story)
