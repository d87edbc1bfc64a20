"""Tenants that are programs of their own, and applications that cannot be forked."""

import os
import signal
from pathlib import Path

import pytest

from services.reactor.actions import BecameReady, Ended, Spawned, SpawnFailed
from services.score import Slot
from tests.harness import eventually_async, free_port
from tests.integration.forking import KILLED, died, release, run, stage, threads

SERVE = ("{python}", "{release}/serve.py", "{tenant}")


def test_a_program_made_for_systemd_needs_no_change(short_dir: Path) -> None:
    async def test() -> None:
        package = release("command", command=(*SERVE, "notify", "beat"))
        async with stage(short_dir, 21140) as here:
            spawned = await here.start("acme", package)
            body = await here.get("acme")
            assert body == f"{spawned.process.pid} ['acme', 'notify', 'beat'] 5000000"
            await eventually_async(lambda: here.score("acme", Slot.BEAT_AT) != 0)
            assert here.score("acme", Slot.BEAT_EVERY) == 5_000_000_000
            os.kill(spawned.process.pid, signal.SIGKILL)
            assert died(await here.told(Ended, "acme")) == KILLED
            again = await here.start("acme", package)
            assert (await here.get("acme")).startswith(str(again.process.pid))
            here.forks.terminate(again.process, "acme")
            assert died(await here.told(Ended, "acme")) == (None, "SIGTERM")

    run(test())


@pytest.mark.parametrize(
    ("said", "every"), [("18446744073709551615", 1000 * 2**53), ("\u00b2", 5_000_000_000), ("0", 0)]
)
def test_a_program_may_change_its_watchdog_to_anything(short_dir: Path, said: str, every: int) -> None:
    async def test() -> None:
        async with stage(short_dir, 21140) as here:
            await here.start("acme", release("command", command=(*SERVE, "notify", f"WATCHDOG_USEC={said}")))
            await eventually_async(lambda: here.score("acme", Slot.BEAT_AT) != 0)
            assert here.score("acme", Slot.BEAT_EVERY) == every

    run(test())


def test_a_program_that_says_nothing_is_ready_when_it_answers(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, 21140) as here:
            await here.start("acme", release("command", command=SERVE))
            assert here.score("acme", Slot.BEAT_EVERY) == 0
            await eventually_async(lambda: here.score("acme", Slot.READY_AT) != 0)
            assert [each.ready for each in await here.begin_again()] == [True]

    run(test())


def test_a_program_that_does_not_answer_is_not_ready(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, 21140) as here:
            here.ask("acme", release("command", command=(*SERVE, "silent")))
            spawned = await here.told(Spawned, "acme")
            assert [each.ready for each in await here.begin_again()] == [False]
            here.forks.kill(spawned.process, "acme")
            assert died(await here.told(Ended, "acme")) == KILLED
            assert not [news for news in here.news if isinstance(news, BecameReady)]

    run(test())


def test_a_program_may_bind_its_port_itself(short_dir: Path) -> None:
    async def test() -> None:
        command = ("{python}", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
        async with stage(short_dir, free_port()) as here:
            spawned = await here.start("acme", release("command", command=command, health="/"))
            status, _ = await here.fetch("acme", port=spawned.port)
            assert status == 200
            assert [each.ready for each in await here.begin_again()] == [True]

    run(test())


def test_a_program_that_is_not_there(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir, 21140) as here:
            here.ask("acme", release("command", command=("no-such-program",)))
            failed = await here.told(SpawnFailed, "acme")
            assert (failed.reason, failed.never) == ("command: no-such-program: no such program", True)

    run(test())


def test_an_import_that_starts_threads_is_left_to_each_tenant(short_dir: Path) -> None:
    async def test() -> None:
        package = release("threaded", entry="threaded_app:make_app")
        async with stage(short_dir, 21140) as here:
            spawned = await here.start("acme", package)
            assert await here.get("acme") == f"{spawned.process.pid} 2"
            assert await here.get("acme", port=spawned.port) == f"{spawned.process.pid} 2"
            assert "starts threads" in here.log("fork-threaded-1.0.log")
            [fork_server] = here.fork_servers()
            assert threads(fork_server.pid) == 1
            here.forks.terminate(spawned.process, "acme")
            assert died(await here.told(Ended, "acme")) == (0, "")

    run(test())
