"""Tenants outlive the reactor and their fork server, and are taken back."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.reactor import forks, forkservers
from services.reactor.actions import Ended, SpawnFailed
from services.reactor.tenantbus_fork import kernel
from services.score import Slot
from tests.harness import Program, eventually, eventually_async, free_ports
from tests.integration.forking import KILLED, Stage, alive, died, release, run, stage, started

ROOT = Path(__file__).parents[2]
PORT = free_ports(10)


@contextmanager
def killed_client(directory: Path, *tenants: str) -> Iterator[None]:
    """Tenants that somebody else has started, who was killed meanwhile."""
    client = Program(
        sys.executable,
        "-m",
        "tests.integration.fork_client",
        str(directory),
        str(PORT),
        *tenants,
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
    )
    with client:
        eventually(lambda: "all are ready" in client.output)
        client.kill()
        yield


def test_what_runs_is_taken_back_after_kill_9(short_dir: Path) -> None:
    async def test() -> None:
        here = Stage(short_dir, PORT)
        with killed_client(short_dir, "acme", "bolt", "core"):
            pids = {tenant: here.score(tenant, Slot.PID) for tenant in ("acme", "bolt", "core")}
            os.kill(pids["bolt"], signal.SIGKILL)
            await eventually_async(lambda: here.score("bolt", Slot.EXITED_AT) != 0)
            found = {each.tenant: each for each in await here.begin()}
            try:
                assert {tenant: each.process.pid for tenant, each in found.items()} == pids
                assert all(each.ready for each in found.values())
                assert {(each.release, each.database, each.stamp) for each in found.values()} == {
                    ("plain-1.0", "db1", "t1")
                }
                assert died(await here.told(Ended, "bolt")) == KILLED
                assert await here.get("acme") == str(pids["acme"])
                waiting = asyncio.create_task(here.get("bolt", port=found["bolt"].port))
                spawned = await here.start("bolt")
                assert spawned.port == found["bolt"].port
                assert await waiting == str(spawned.process.pid)
                os.kill(pids["core"], signal.SIGTERM)
                assert died(await here.told(Ended, "core")) == (0, "")
                assert {each.tenant for each in await here.begin_again()} == {"acme", "bolt"}
            finally:
                await here.end()

    run(test())


def test_an_exit_is_told_again_until_it_was_heard(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            spawned = await here.start("acme")
            await here.forks.close()
            os.kill(spawned.process.pid, signal.SIGKILL)
            await eventually_async(lambda: here.score("acme", Slot.EXITED_AT) != 0)
            assert [each.process for each in await here.begin()] == [spawned.process]
            assert (await here.told(Ended, "acme")).process == spawned.process
            assert await here.begin_again() == []
            await here.start("acme")

    run(test())


@pytest.mark.parametrize("adopted", [False, True], ids=["reactor stays", "reactor starts anew"])
def test_tenants_outlive_their_fork_server(short_dir: Path, adopted: bool) -> None:  # noqa: FBT001
    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            first = await here.start("acme")
            second = await here.start("bolt")
            if adopted:
                await here.forks.close()
            os.kill(here.fork_servers()[0].pid, signal.SIGKILL)
            if adopted:
                await eventually_async(lambda: not alive(here.fork_servers()[0].pid))
                found = await here.begin()
                assert {each.process for each in found} == {first.process, second.process}
                assert all(each.ready for each in found)
            else:
                await eventually_async(lambda: not here.fork_servers())
            assert await here.get("acme") == str(first.process.pid)
            os.kill(first.process.pid, signal.SIGKILL)
            assert died(await here.told(Ended, "acme")) == (None, "")
            waiting = [asyncio.create_task(here.get("acme", port=port)) for port in (0, first.port)]
            again = await here.start("acme")
            assert set(await asyncio.gather(*waiting)) == {str(again.process.pid)}
            here.forks.terminate(second.process, "bolt")
            assert (await here.told(Ended, "bolt")).process == second.process

    run(test())


@pytest.mark.parametrize("adopted", [False, True])
def test_nobody_hears_an_orphans_heartbeats(short_dir: Path, adopted: bool) -> None:  # noqa: FBT001
    """It goes on to send them, and must not count as silent."""

    async def test() -> None:
        command = ("{python}", "{release}/serve.py", "{tenant}", "notify", "beat")
        async with stage(short_dir, PORT) as here:
            await here.start("acme", release("command", command=command))
            await eventually_async(lambda: here.score("acme", Slot.BEAT_EVERY) != 0)
            if adopted:
                await here.forks.close()
                os.kill(kernel.parent(here.score("acme", Slot.PID)), signal.SIGKILL)
                await here.begin()
            else:
                os.kill(here.fork_servers()[0].pid, signal.SIGKILL)
            await eventually_async(lambda: here.score("acme", Slot.BEAT_EVERY) == 0)
            assert here.score("acme", Slot.READY_AT)

    run(test())


def test_all_that_an_orphan_left_is_found(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            spawned = await here.start("acme")
            pids = json.loads(await here.get("acme", "/daemons"))
            os.kill(here.fork_servers()[0].pid, signal.SIGKILL)
            await eventually_async(lambda: not here.fork_servers())
            await here.begin_again()
            here.forks.kill(spawned.process, "acme")
            await here.told(Ended, "acme")
            assert not [pid for pid in pids if alive(pid)]

    run(test())


def test_a_stranger_in_the_files_is_left_alone(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            spawned = await here.start("acme")
            (file,) = (short_dir / "tenants/acme/run").glob("process~*.json")
            told = json.loads(file.read_text())
            here.forks.kill(spawned.process, "acme")
            await here.told(Ended, "acme")
            with Program("sleep", "600", cwd=short_dir) as stranger:
                lies = (
                    {"pid": stranger.pid},  # recycled: the start time is another's
                    {"pid": stranger.pid, "started": started(stranger.pid), "boot": "another"},
                    {
                        "pid": stranger.pid,
                        "started": started(stranger.pid),
                    },  # a forged file: right, but no tenant's process
                    {"pid": "many"},
                )
                for lie in lies:
                    file.write_text(json.dumps({**told, **lie}))
                    file.with_name("pid").write_text(f"{stranger.pid}\n")
                    assert await here.begin_again() == []
                file.write_bytes(b"\xff\n")
                assert await here.begin_again() == []
                await here.start("acme")
                assert stranger.process.poll() is None

    run(test())


def test_a_fork_server_that_does_not_answer_the_next_reactor_is_ended(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forkservers, "LISTING", 0.5)

    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            here.ask("acme", release("endless", entry="endless_app:make_app"))
            running = await here.start("bolt")
            parents = {parent.release: parent.process for parent in here.forks._parents}
            importing, forking = parents["endless-1.0"], parents["plain-1.0"]
            assert importing
            assert forking
            os.kill(forking.pid, signal.SIGSTOP)
            found = await here.begin_again()
            assert [each.process for each in found] == [running.process]
            ended = {importing.pid, forking.pid}  # or acme would be started one day
            await eventually_async(lambda: not any(map(alive, ended)))
            spawned = await here.start("acme")
            assert await here.get("acme") == str(spawned.process.pid)
            assert await here.get("bolt") == str(running.process.pid)

    run(test())


def test_a_fork_server_that_had_not_begun_when_the_reactor_was_killed_does_nothing_later(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its interpreter takes long: whoever connects to it before that is told the pid of who started it."""
    monkeypatch.setattr(forkservers, "LISTING", 0.5)
    slow = short_dir / "python"
    slow.write_text(f'#!/bin/sh\nsleep 0.8\nexec {sys.executable} "$@"\n')
    slow.chmod(0o700)

    async def test() -> None:
        async with stage(short_dir, PORT) as here:
            endless = release("endless", entry="endless_app:make_app", python=str(slow))
            here.ask("acme", endless)
            (parent,) = here.fork_servers()
            assert await here.begin_again() == []
            await eventually_async(lambda: not alive(parent.pid))
            spawned = await here.start("acme")
            assert await here.get("acme") == str(spawned.process.pid)

    run(test())


def test_a_fork_server_that_hangs_is_replaced_long_before_a_start_may_take(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "FORKING", 0.5)

    async def test() -> None:
        async with stage(short_dir, PORT, tenants="start_timeout = 600.0\n") as here:
            first = await here.start("acme")
            hung = here.fork_servers()[0].pid
            os.kill(hung, signal.SIGSTOP)
            here.ask("bolt")
            failed = await here.told(SpawnFailed, "bolt")
            assert "has not started bolt within 0.5 s" in failed.reason
            assert not failed.never
            second = await here.start("bolt")
            assert await here.get("acme") == str(first.process.pid)
            assert await here.get("bolt") == str(second.process.pid)
            await eventually_async(lambda: not (here.settings.run_dir / "fork" / f"n{hung}").exists())

    run(test())
