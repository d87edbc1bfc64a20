"""A process is told of another database: by whom, of what, and what becomes of it when it does not listen."""

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from services.reactor.actions import Ended, NotSwitched, Process, Switch, Switched
from tests.harness import eventually_async
from tests.integration.forking import Stage, release, run, stage

SWITCH = release("switch", entry="switch_app:make_app")
PASSWORD = "top:secret/word"
URL = "mysql://us@127.0.0.1:1/shop"
WITH_PASSWORD = URL.replace("us@", "us:top%3Asecret%2Fword@")
EXTRA = f"""
[databases.db2]
url = "{URL}"
password_file = "password"
[moves]
confirm_within = 0.5
"""


@pytest.fixture
def place(short_dir: Path) -> Path:
    (short_dir / "password").write_text(PASSWORD)
    return short_dir


async def start(here: Stage, how: str) -> Process:
    return (await here.start("acme", SWITCH, env={"HOW": how})).process


def tell(here: Stage, process: Process, database: str = "db2") -> None:
    settings = here.order("acme", SWITCH).settings
    here.forks.switch(Switch(tenant="acme", process=process, database=database, settings=settings))


async def used(here: Stage) -> list[str]:
    return (await here.get("acme")).splitlines()


def test_a_process_takes_another_database_and_stays(place: Path) -> None:
    async def test() -> None:
        async with stage(place, extra=EXTRA) as here:
            process = await start(here, "well")
            assert (await used(here))[1].endswith("db1.db")
            tell(here, process)
            assert (await here.told(Switched, "acme")).database == "db2"
            assert await used(here) == [str(process.pid), WITH_PASSWORD, WITH_PASSWORD]
            assert json.loads(await here.get("acme", "/-/identity"))["database"] == "db2"
            (file,) = (here.settings.tenants_dir / "acme" / "run").glob("process~*.json")
            assert json.loads(file.read_text())["database"] == "db2"
            assert b"secret" not in file.read_bytes()
            (found,) = await here.begin_again()
            assert (found.database, found.switches, found.process) == ("db2", True, process)
            tell(here, process)  # of what it uses already: somebody missed the answer
            assert (await here.told(Switched, "acme")).database == "db2"
            tell(here, process, "db1")
            assert (await here.told(Switched, "acme")).database == "db1"
            assert (await used(here))[1].endswith("db1.db")

    run(test())


def test_that_the_reactor_cannot_tell_it_is_no_end_of_the_reactor(place: Path) -> None:
    async def test() -> None:
        async with stage(place, extra=EXTRA) as here:
            process = await start(here, "well")
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            try:
                tell(here, process, "db1")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            failed = await here.told(NotSwitched, "acme")
            assert "Too many open files" in failed.reason
            tell(here, process)
            await here.told(Switched, "acme")

    run(test())


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "it raised RuntimeError, see its log"),
        ("hang", "it has not switched within 0.5 s"),
        ("none", "it cannot be told: it has not asked for that"),
    ],
)
def test_one_that_does_not_switch_is_told_of_and_stays_as_it_is(place: Path, how: str, reason: str) -> None:
    async def test() -> None:
        async with stage(place, extra=EXTRA) as here:
            process = await start(here, how)
            before = await used(here)
            tell(here, process)
            failed = await here.told(NotSwitched, "acme")
            assert (failed.process, failed.reason) == (process, reason)
            assert await used(here) == before
            assert not any(isinstance(news, Switched) for news in here.news)

    run(test())


def test_a_late_answer_counts_as_well(place: Path) -> None:
    async def test() -> None:
        async with stage(place, extra=EXTRA) as here:
            process = await start(here, "late")
            tell(here, process)
            await here.told(NotSwitched, "acme")
            assert (await here.told(Switched, "acme")).database == "db2"
            assert (await used(here))[1] == WITH_PASSWORD

    run(test())


def test_whose_fork_server_is_gone_cannot_be_told(place: Path) -> None:
    async def test() -> None:
        async with stage(place, extra=EXTRA) as here:
            process = await start(here, "hang")
            tell(here, process)
            (fork_server,) = here.fork_servers()
            os.kill(fork_server.pid, signal.SIGKILL)
            assert (await here.told(NotSwitched, "acme")).reason == "its fork server is gone"
            await eventually_async(lambda: not here.fork_servers())
            tell(here, process)
            assert (await here.told(NotSwitched, "acme")).reason == "its fork server is gone"

    run(test())


def test_one_that_ends_has_answered(place: Path) -> None:
    async def test() -> None:
        async with stage(place, extra=EXTRA) as here:
            process = await start(here, "hang")
            tell(here, process)
            here.forks.kill(process, "acme")
            await here.told(Ended, "acme")
            assert not here.forks._switches._told

    run(test())
