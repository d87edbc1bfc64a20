"""What a tenant may use, with the kernel's own limits: memory, processes, cores."""

import os
import signal
from pathlib import Path

import pytest

from bus import cgroups
from bus.model import Limits
from services.reactor.actions import Ended, SpawnFailed
from services.reactor.cgroups import Cgroups, Group
from tests.harness import eventually_async
from tests.integration.forking import KILLED, Stage, alive, died, release, run, stage
from tests.integration.isolating import PRYING, guarded, need_cgroup, need_root
from tests.integration.test_fork_pairs import start_beside
from tests.unable import unable


def places(here: Stage) -> list[Path]:
    """All directories of cgroups that there are for a stage's tenants."""
    name = Cgroups(here.settings.run_dir, {})._name
    found = [place for base in set(cgroups.find().values()) for place in base.glob(f"{name}/*")]
    return [place for place in found if place.is_dir()]


async def ask(here: Stage, tenant: str, path: str) -> None:
    """Ask for what may be the end of a tenant."""
    _, writer = await here.connect(tenant)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    await writer.drain()
    writer.close()


def test_who_takes_too_much_memory_is_ended_and_it_is_said_why(short_dir: Path) -> None:
    need_cgroup("memory")

    async def test() -> None:
        async with stage(short_dir, tenants='limits = {memory = "64M"}') as here:
            await here.start("acme", PRYING)
            neighbour = await here.start("other", PRYING)
            assert await here.get("acme", "/fill?mb=20") == "20"
            await ask(here, "acme", "/fill?mb=200")
            ended = await here.told(Ended, "acme")
            assert died(ended) == KILLED
            assert ended.detail == "out of memory (limit 64M)"
            assert alive(neighbour.process.pid)
            again = await here.start("acme", PRYING)
            here.forks.kill(again.process, "acme")
            ended = await here.told(Ended, "acme")
            assert (died(ended), ended.detail) == (KILLED, "")  # that one had memory enough
        assert places(here) == []

    run(test())


def test_of_two_processes_one_may_run_out_of_memory_alone(short_dir: Path) -> None:
    need_cgroup("memory")

    async def test() -> None:
        async with stage(short_dir, tenants='limits = {memory = "64M"}') as here:
            first = await here.start("acme", PRYING)
            second = await start_beside(here, first, PRYING)
            os.kill(first.process.pid, signal.SIGSTOP)  # so that the other one answers
            await ask(here, "acme", "/fill?mb=200")
            ended = await here.told(Ended, "acme")
            os.kill(first.process.pid, signal.SIGCONT)
            assert (ended.process, ended.detail) == (second.process, "out of memory (limit 64M)")
            assert await here.get("acme", "/fill?mb=20") == "20"
            assert len(places(here)) == 1

    run(test())


def test_it_is_said_also_by_a_reactor_that_was_away(short_dir: Path) -> None:
    need_cgroup("memory")

    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme", PRYING, limits=Limits(memory="64M"))
            await here.forks.close()
            await ask(here, "acme", "/fill?mb=200")
            await eventually_async(lambda: not alive(spawned.process.pid))
            here.news.clear()
            await here.begin()
            assert (await here.told(Ended, "acme")).detail == "out of memory (limit 64M)"

    run(test())


def test_of_a_start_that_cannot_be_nothing_is_left(short_dir: Path) -> None:
    need_cgroup("memory")

    async def test() -> None:
        async with stage(short_dir, tenants='limits = {memory = "64M"}') as here:
            await here.start("other")
            before = places(here)
            (short_dir / "tenants/acme").mkdir()
            (short_dir / "tenants/acme/secrets.env").write_text("hunter2\n")
            here.ask("acme")
            assert (await here.told(SpawnFailed, "acme")).never
            (short_dir / "tenants/acme/secrets.env").unlink()
            here.ask("acme", release("unimportable", entry="unimportable_app:make_app"))
            assert (await here.told(SpawnFailed, "acme")).never
            assert places(here) == before

    run(test())


def test_processes_without_end_come_to_an_end(short_dir: Path) -> None:
    need_cgroup("pids")

    async def test() -> None:
        async with stage(short_dir) as here:
            await here.start("acme", PRYING, limits=Limits(processes=8))
            assert await here.get("acme", "/forks") == "7"

    run(test())


def test_a_share_of_a_core_is_all_there_is(short_dir: Path) -> None:
    need_cgroup("cpu")

    async def test() -> None:
        async with stage(short_dir) as here:
            await here.start("acme", PRYING, limits=Limits(cpu=0.2))
            assert (
                float(await here.get("acme", "/burn")) < 0.4
            )  # two periods may have had their share at once
            (place,) = places(here)
            throttled = (place / "cpu.stat").read_text().split("nr_throttled ")[1].split()[0]
            assert int(throttled) > 5

    run(test())


def test_who_leaves_everything_behind_is_still_known_by_its_cgroup(short_dir: Path) -> None:
    need_cgroup("pids")

    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme", PRYING, limits=Limits(processes=50))
            escaped = int(await here.get("acme", "/escape"))
            await here.begin_again()
            (place,) = places(here)
            assert Group([place]).pids() == {spawned.process.pid, escaped}
            here.forks.kill(spawned.process, "acme")
            assert died(await here.told(Ended, "acme")) == KILLED
            assert not alive(escaped)
            assert places(here) == []

    run(test())


def test_version_2_ends_all_in_one_step(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which its hierarchy can do also where the controllers are in those of version 1."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((place for names, place in cgroups.owned(lines) if not names), None)
    if own is None or not os.access(own, os.W_OK):
        unable("no cgroup of version 2 is ours to write")
    monkeypatch.setattr("bus.cgroups.find", lambda: {"pids": own})

    async def test() -> None:
        async with stage(short_dir) as here:
            spawned = await here.start("acme", PRYING, limits=Limits(processes=50))
            escaped = int(await here.get("acme", "/escape"))
            (place,) = places(here)
            group = Group([place])
            assert group.pids() == {spawned.process.pid, escaped}
            group.kill()
            assert died(await here.told(Ended, "acme")) == KILLED
            assert not alive(escaped)
            await eventually_async(lambda: places(here) == [])

    run(test())


def test_without_limits_there_is_no_cgroup(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            await here.start("acme", PRYING)
            assert places(here) == []

    run(test())


def test_without_cgroups_there_are_resource_limits(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    need_root()
    monkeypatch.setattr("bus.cgroups.find", dict)
    caplog.set_level("INFO")

    async def test() -> None:
        async with guarded(short_dir) as here:
            await here.start("acme", PRYING, limits=Limits(memory="300M", processes=8))
            assert await here.get("acme", "/forks") == "7"
            status, _ = await here.fetch("acme", "/fill?mb=400")
            assert status == 500

    run(test())
    assert caplog.messages.count(cgroups.lacking(())) >= 1
