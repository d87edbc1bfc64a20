"""Two processes of one tenant side by side: each has its page and its children, and one of them counts."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from msgspec import structs

from bus.events import PackageReleased
from services.reactor.actions import BecameReady, Ended, Spawned, SpawnFailed
from services.score import Slot
from tests.harness import eventually_async
from tests.integration.forking import PLAIN, Stage, alive, release, run, stage

COMMAND = release("command", command=("{python}", "{release}/serve.py"), health="/")


async def start_beside(here: Stage, first: Spawned, package: PackageReleased = PLAIN) -> Spawned:
    order = structs.replace(here.order("acme", package), beside=first.process)
    here.forks.spawn(order, package)
    spawned = await here.told(Spawned, "acme")
    assert (await here.told(BecameReady, "acme")).process == spawned.process
    return spawned


@pytest.mark.parametrize("which", [0, 1])
def test_the_end_of_one_leaves_the_other_and_its_children_alone(short_dir: Path, which: int) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            first = await here.start("acme")
            theirs = {first.process.pid: json.loads(await here.get("acme", "/daemons"))}
            second = await start_beside(here, first)
            os.kill(first.process.pid, signal.SIGSTOP)  # so that the other one answers
            theirs[second.process.pid] = json.loads(await here.get("acme", "/daemons"))
            os.kill(first.process.pid, signal.SIGCONT)
            killed, kept = (first, second) if which == 0 else (second, first)
            here.forks.kill(killed.process, "acme")
            assert (await here.told(Ended, "acme")).process == killed.process
            assert not [pid for pid in theirs[killed.process.pid] if alive(pid)]
            assert all(alive(pid) for pid in theirs[kept.process.pid])
            assert await here.get("acme") == str(kept.process.pid)
            assert here.score("acme", Slot.PID) == kept.process.pid
            assert (short_dir / "tenants/acme/run/pid").read_text() == f"{kept.process.pid}\n"
            left = list((short_dir / "var/run/score").iterdir())
            assert len(left) == 2  # the one that is shown, and its own name

    run(test())


def test_the_one_that_is_ready_counts_and_gives_that_back_when_it_ends(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            first = await here.start("acme")
            order = structs.replace(here.order("acme"), beside=first.process)
            here.forks.spawn(order, PLAIN)
            second = await here.told(Spawned, "acme")
            await here.told(BecameReady, "acme")
            assert here.score("acme", Slot.PID) == second.process.pid
            here.forks.spawn(order, PLAIN)
            assert "runs already" in (await here.told(SpawnFailed, "acme")).reason
            here.forks.terminate(second.process, "acme")
            await here.told(Ended, "acme")
            assert here.score("acme", Slot.PID) == first.process.pid
            assert here.score("acme", Slot.READY_AT)

    run(test())


@pytest.mark.parametrize("fork_server_too", [False, True])
def test_both_are_found_again(short_dir: Path, fork_server_too: bool) -> None:  # noqa: FBT001
    async def test() -> None:
        async with stage(short_dir) as here:
            first = await here.start("acme")
            second = await start_beside(here, first)
            await here.forks.close()
            if fork_server_too:
                (parent,) = here.fork_servers()
                os.kill(parent.pid, signal.SIGKILL)
                await eventually_async(lambda: not alive(parent.pid))
            found = {each.process: each for each in await here.begin()}
            assert found.keys() == {first.process, second.process}
            assert all(each.ready for each in found.values())
            assert here.score("acme", Slot.PID) == second.process.pid

    run(test())


def test_a_command_is_ready_when_it_answers_itself_and_not_its_predecessor(short_dir: Path) -> None:
    async def test() -> None:
        async with stage(short_dir) as here:
            here.ask("acme", COMMAND)
            first = await here.told(Spawned, "acme")
            await here.told(BecameReady, "acme")
            order = structs.replace(here.order("acme", COMMAND), beside=first.process)
            here.forks.spawn(order, COMMAND)
            second = await here.told(Spawned, "acme")
            os.kill(second.process.pid, signal.SIGSTOP)
            await asyncio.sleep(0.5)
            assert not [news for news in here.news if isinstance(news, BecameReady)]
            os.kill(second.process.pid, signal.SIGCONT)
            assert (await here.told(BecameReady, "acme")).process == second.process

    run(test())
