"""One tenant is broken into: what that means to the others and to us, with real users and processes."""

import asyncio
import os
import pwd
import shutil
import socket
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs

from services.reactor.actions import Ended, Process, SpawnFailed
from services.reactor.tenantbus_fork import kernel
from tests.harness import Program, eventually
from tests.integration.forking import KILLED, Stage, alive, died, release, run
from tests.integration.isolating import (
    PRYING,
    UIDS,
    about,
    guarded,
    is_in_memory,
    need_root,
    own_interpreter,
    python,
    tries,
)
from tests.integration.test_fork_pairs import start_beside

NOBODY = 64001
SECRET = "hunter2-of-other"


@pytest.fixture(autouse=True)
def _root() -> None:
    need_root()


async def start_two(here: Stage, directory: Path) -> tuple[Process, Process]:
    """Tenant `other`, which has something to lose, and `acme`, which was broken into."""
    home = directory / "tenants/other"
    home.mkdir()
    (home / "tenant.toml").write_text('package = "prying"\n')
    (home / "secrets.env").write_text(f"SECRET={SECRET}\n")
    (home / "secrets.env").chmod(0o600)
    other = await here.start("other", PRYING)
    assert set((await tries(here, "other", [("make", home / "data/books")])).values()) <= {"ok", "EACCES"}
    (home / "data/books").touch()
    acme = await here.start("acme", PRYING)
    return acme.process, other.process


def deeds(here: Stage, directory: Path, other: Process) -> Sequence[tuple[str, object]]:
    """Everything of others' that a tenant must keep its hands off."""
    home, run_dir = directory / "tenants/other", here.settings.run_dir
    return [
        ("list", home),
        *(("read", home / name) for name in ("tenant.toml", "secrets.env", "run/pid")),
        *(("read", file) for file in home.glob("run/process~*.json")),
        *(("write", home / name) for name in ("tenant.toml", "data/books", "log/output.log")),
        ("read", home / "log/output.log"),
        ("read", home / "data/books"),
        ("make", home / "data/mine"),
        ("connect", here.settings.http_socket("other")),
        *((how, here.settings.score_page("other")) for how in ("read", "write")),
        ("connect", here.settings.fork_socket("prying-1.0")),
        *(("connect", run_dir / name) for name in ("bus.router", "bus.pub")),
        ("read", here.settings.journal),
        ("list", run_dir),
        *(("read", f"/proc/{other.pid}/{name}") for name in ("environ", "maps")),
        ("write", f"/proc/{other.pid}/mem"),
        ("list", f"/proc/{other.pid}/fd"),
        ("signal", other.pid),
        ("signal", here.fork_servers()[0].pid),
        ("send_as", other.pid),
    ]


@pytest.mark.parametrize(("tenants", "expected"), [(UIDS, {"EACCES", "EPERM"}), ("", {"ok"})])
def test_a_tenant_gets_at_nothing_of_others_or_ours(
    short_dir: Path, tenants: str, expected: set[str]
) -> None:
    """And without users of their own it does: so the attempts are real."""

    async def test() -> None:
        async with guarded(short_dir, tenants) as here:
            with Program.module("bus", short_dir / "tenantbus.toml"):
                await asyncio.to_thread(eventually, (here.settings.run_dir / "bus.pub").exists)
                _, other = await start_two(here, short_dir)
                came_of_it = await tries(here, "acme", deeds(here, short_dir, other))
                assert {deed: answer for deed, answer in came_of_it.items() if answer not in expected} == {}

    run(test())


def test_a_tenant_has_its_own_user_and_no_rights(short_dir: Path) -> None:
    async def test() -> None:
        async with guarded(short_dir) as here:
            await here.start("acme", PRYING)
            await here.start("other", PRYING)
            acme, other = await about(here, "acme"), await about(here, "other")
            uid = acme["ids"][0]
            assert 200000 <= uid <= 299999
            assert acme["ids"] == [uid] * 6
            assert other["ids"][0] != uid
            assert acme["groups"] == []
            assert (acme["NoNewPrivs"], acme["Umask"]) == ("1", "0077")
            assert int(acme["CapEff"], 16) == int(acme["CapPrm"], 16) == 0
            assert acme["home"] == str(short_dir / "tenants/acme/data")
            assert (short_dir / "tenants/acme/run/uid").read_text() == f"{uid}\n"

    run(test())


def test_what_a_tenant_may_do_at_home(short_dir: Path) -> None:
    home = short_dir / "tenants/acme"

    async def test() -> None:
        async with guarded(short_dir) as here:
            home.mkdir()
            (home / "tenant.toml").write_text("")
            (home / "secrets.env").write_text("A=1\n")
            (home / "secrets.env").chmod(0o600)
            await here.start("acme", PRYING)
            allowed = [
                ("make", home / "data/mine"),
                ("make", "data/relative"),
                ("list", home),
                ("read", home / "tenant.toml"),
                ("write", home / "log/output.log"),
                ("write", "/proc/self/fd/1"),
            ]
            assert set((await tries(here, "acme", allowed)).values()) == {"ok"}
            forbidden = [
                ("make", home / "mine"),
                ("make", home / "log/mine"),
                ("write", home / "tenant.toml"),
                ("read", home / "secrets.env"),
                ("list", home / "run"),
            ]
            assert set((await tries(here, "acme", forbidden)).values()) == {"EACCES"}

    run(test())


def test_secrets_stay_out_of_the_memory_that_tenants_share(short_dir: Path) -> None:
    async def test() -> None:
        async with guarded(short_dir) as here:
            acme, other = await start_two(here, short_dir)
            assert (await about(here, "other"))["secret"] == SECRET
            assert is_in_memory(other.pid, SECRET.encode())
            assert not is_in_memory(here.fork_servers()[0].pid, SECRET.encode())
            assert not is_in_memory(acme.pid, SECRET.encode())

    run(test())


def test_a_number_is_kept_and_never_shared(short_dir: Path) -> None:
    async def test() -> None:
        async with guarded(short_dir) as here:
            first = await here.start("acme", PRYING)
            uid = (await about(here, "acme"))["ids"][0]
            here.forks.kill(first.process, "acme")
            await here.told(Ended, "acme")
            shutil.copytree(short_dir / "tenants/acme", short_dir / "tenants/copy")
            (short_dir / "tenants/copy/run/port").unlink()  # two that claim a port are not started at all
            await here.begin_again()
            await here.start("copy", PRYING)
            await here.start("acme", PRYING)
            assert (await about(here, "acme"))["ids"][0] == uid
            copy = (await about(here, "copy"))["ids"][0]
            assert copy != uid
            assert (short_dir / "tenants/copy/data").stat().st_uid == copy

    run(test())


def test_data_go_to_a_new_user_but_not_by_links(short_dir: Path) -> None:
    data, treasure = short_dir / "tenants/acme/data", short_dir / "treasure"

    async def test() -> None:
        async with guarded(short_dir) as here:
            (data / "deep").mkdir(parents=True)
            (data / "deep/file").touch()
            treasure.touch()
            (data / "symlink").symlink_to(treasure)
            os.link(treasure, data / "hardlink")
            await here.start("acme", PRYING)
            uid = (await about(here, "acme"))["ids"][0]
            assert (data / "deep/file").stat().st_uid == uid
            assert treasure.stat().st_uid == 0

    run(test())


def test_a_directory_that_is_a_link_is_not_followed(short_dir: Path) -> None:
    treasure = short_dir / "treasure"

    async def test() -> None:
        async with guarded(short_dir) as here:
            (short_dir / "tenants/acme").mkdir()
            treasure.mkdir()
            (short_dir / "tenants/acme/data").symlink_to(treasure)
            here.ask("acme", PRYING)
            assert (await here.told(SpawnFailed, "acme")).reason
            assert treasure.stat().st_uid == 0

    run(test())


def test_programs_and_interpreters_are_the_tenants_user_as_well(short_dir: Path) -> None:
    interpreter = own_interpreter(short_dir)
    program = release("program", command=(python(), "{release}/serve.py"))
    threads = release("threaded", entry="threaded_app:make_app", python=interpreter)

    async def test() -> None:
        async with guarded(short_dir) as here:
            for tenant, package in (("program", program), ("threads", threads)):
                pid = (await here.start(tenant, package)).process.pid
                await here.get(tenant)
                assert 200000 <= kernel.user(pid) <= 299999

    run(test())


def test_who_leaves_everything_behind_is_still_known_by_its_user(short_dir: Path) -> None:
    async def test() -> None:
        async with guarded(short_dir) as here:
            spawned = await here.start("acme", PRYING)
            escaped = int(await here.get("acme", "/escape"))
            assert alive(escaped)
            here.forks.kill(spawned.process, "acme")
            assert died(await here.told(Ended, "acme")) == KILLED
            assert not alive(escaped)

    run(test())


def test_of_two_processes_with_one_user_the_end_of_one_leaves_the_other_alone(short_dir: Path) -> None:
    """The user proves nothing while both are there; it does again for the one that is left."""

    async def test() -> None:
        async with guarded(short_dir) as here:
            first = await here.start("acme", PRYING)
            escaped = int(await here.get("acme", "/escape"))
            second = await start_beside(here, first, PRYING)
            here.forks.kill(first.process, "acme")
            assert (await here.told(Ended, "acme")).process == first.process
            assert (await about(here, "acme"))["pid"] == second.process.pid
            here.forks.kill(second.process, "acme")
            assert (await here.told(Ended, "acme")).process == second.process
            assert not alive(escaped)

    run(test())


def test_an_account_may_be_named(short_dir: Path) -> None:
    accounts = pwd.getpwall()
    alone = next(
        each
        for each in accounts
        if each.pw_uid and not [other for other in accounts if other.pw_gid == each.pw_gid and other != each]
    )

    async def test() -> None:
        async with guarded(short_dir, "") as here:
            await here.start("acme", PRYING, user=alone.pw_name)
            assert (await about(here, "acme"))["ids"] == [alone.pw_uid] * 3 + [alone.pw_gid] * 3

    run(test())


def test_an_account_that_is_not_there_is_named(short_dir: Path) -> None:
    async def test() -> None:
        async with guarded(short_dir) as here:
            here.ask("acme", PRYING, user="nobody-of-this-name")
            failed = await here.told(SpawnFailed, "acme")
            assert failed.never
            assert failed.reason == "user: there is no user 'nobody-of-this-name' on this machine"

    run(test())


def test_a_release_that_the_tenant_may_not_read_is_named(short_dir: Path) -> None:
    async def test() -> None:
        async with guarded(short_dir) as here:
            copy = short_dir / "release"
            shutil.copytree(PRYING.path, copy)
            copy.chmod(0o700)
            here.ask("acme", structs.replace(PRYING, path=str(copy)))
            assert died(await here.told(Ended, "acme")) == (3, "")
            assert f"{copy}: user" in here.output("acme")

    run(test())


def give_away(directory: Path) -> None:
    for path in (directory, *directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


def test_who_is_not_root_says_that_it_cannot(short_dir: Path) -> None:
    async def test() -> None:
        async with guarded(short_dir) as here:
            for tenant in ("acme", "other"):
                here.order(tenant)
            give_away(short_dir)
            os.seteuid(NOBODY)
            try:
                here.ask("acme", user="daemon")
                here.ask("other")
                failed = [await here.told(SpawnFailed, tenant) for tenant in ("acme", "other")]
            finally:
                os.seteuid(0)
            only = "only a tenantbus that runs as root can"
            assert [each.reason for each in failed] == [
                f"user: {only} start a tenant as daemon",
                f"tenants.uid_range: {only} give tenants users",
            ]
            assert all(each.never for each in failed)

    run(test())


def test_the_web_server_reaches_the_sockets_when_its_group_may(short_dir: Path) -> None:
    """What deploy/systemd does by Group= and RuntimeDirectoryMode=0710."""
    code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"

    def connects(user: int) -> bool:
        path = str(short_dir / "var/run/http/acme.sock")
        program = subprocess.run(
            [python(), "-c", code, path],
            user=user,
            group=user,
            extra_groups=[],
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return program.returncode == 0

    async def test() -> None:
        async with guarded(short_dir) as here:
            for directory in (short_dir / "var", here.settings.run_dir, here.settings.run_dir / "http"):
                os.chown(directory, 0, NOBODY)
                directory.chmod(0o710)
            await here.start("acme", PRYING)
            assert connects(NOBODY)
            assert not connects(NOBODY + 1)
            with socket.socket(socket.AF_UNIX) as ours:
                ours.connect(str(here.settings.http_socket("acme")))
            mode = here.settings.score_page("acme").stat().st_mode
            assert stat.S_IMODE(mode) == 0o600

    run(test())
