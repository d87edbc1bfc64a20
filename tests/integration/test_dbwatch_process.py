"""dbwatch as the process that it is, with the real broker: crashes of it and of its databases."""

import asyncio
import json
import signal
from collections.abc import Coroutine
from pathlib import Path

from bus import settings as settings_file
from bus.api import Bus, Subscription
from bus.client import connect
from bus.events import Envelope, ServiceUp
from tests.commandline import run as run_bus
from tests.harness import DEADLINE, Program, eventually
from tests.integration.conftest import Servers


def run(test: Coroutine[None, None, None]) -> None:
    asyncio.run(asyncio.wait_for(test, DEADLINE * 2))


def configured(directory: Path, servers: Servers) -> Path:
    (directory / "password").write_text("s3cret\n")
    tables = [
        f'[databases.db{number}]\nurl = "mysql://shop@127.0.0.1:{server.port}/shop"\n'
        'password_file = "password"\n'
        for number, server in enumerate(servers, 1)
    ]
    config = directory / "tenantbus.toml"
    config.write_text("\n".join(tables))
    return config


async def until_ready(events: Subscription) -> list[Envelope]:
    """What is said before dbwatch says that it is ready."""
    said = []
    async for envelope in events:
        if isinstance(envelope.event, ServiceUp) and envelope.event.service == "dbwatch":
            break
        if envelope.event.family == "DB":
            said.append(envelope)
    return said


def told(said: list[Envelope]) -> set[tuple[str, str]]:
    assert len(said) == len({envelope.subject for envelope in said})
    return {(envelope.subject, envelope.type) for envelope in said}


async def journal(bus: Bus) -> list[tuple[str, str]]:
    events = await bus.replay("DB_*")
    return [(envelope.subject, envelope.type) for envelope in events if envelope.event.family == "DB"]


def test_killed_and_started_again_it_says_nothing_twice(servers: Servers, short_dir: Path) -> None:
    config = configured(short_dir, servers)

    async def scenario() -> None:
        with Program.module("bus", config) as broker:
            bus = await connect(settings_file.load(config), source="test", within=DEADLINE)
            events = await bus.subscribe("DB_*", "SERVICE_UP", after=0)
            with Program.module("services.dbwatch", config) as first:
                assert told(await until_ready(events)) == {("db1", "DB_UP"), ("db2", "DB_UP")}
                first.kill()
            for _ in range(2):
                with Program.module("services.dbwatch", config) as again:
                    assert await until_ready(events) == []
                    again.kill()
            servers[1].kill()
            with Program.module("services.dbwatch", config) as last:
                assert told(await until_ready(events)) == {("db2", "DB_DOWN")}
                assert "s3cret" not in last.output
            assert [subject for subject, _ in await journal(bus)].count("db1") == 1
            assert b"s3cret" not in b"".join(file.read_bytes() for file in files(short_dir / "var"))
            await events.aclose()
            await bus.close()
            assert broker.process.poll() is None

    run(scenario())


def files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_it_ends_at_once_also_while_a_check_hangs(servers: Servers, short_dir: Path) -> None:
    config = configured(short_dir, servers)

    async def scenario() -> None:
        with Program.module("bus", config):
            bus = await connect(settings_file.load(config), source="test", within=DEADLINE)
            events = await bus.subscribe("DB_*", "SERVICE_UP", after=0)
            servers[0].signal(signal.SIGSTOP)
            try:
                with Program.module("services.dbwatch", config) as dbwatch:
                    assert told(await until_ready(events)) == {("db1", "DB_DOWN"), ("db2", "DB_UP")}
                    assert dbwatch.stop() == 0
            finally:
                servers[0].signal(signal.SIGCONT)
            await events.aclose()
            await bus.close()

    run(scenario())


def test_recheck_is_answered_also_while_checks_hang(servers: Servers, short_dir: Path) -> None:
    config = configured(short_dir, servers)
    with Program.module("bus", config):
        nobody = run_bus("db", "recheck", "--timeout", "0", cwd=short_dir)
        assert (nobody.returncode, nobody.stderr) == (1, "bus: dbwatch does not run\n")
        assert nobody.stdout.splitlines()[0] == "db1  UNKNOWN  dbwatch gave no answer within 0 s"
        with Program.module("services.dbwatch", config):
            eventually(lambda: run_bus("db", "recheck", cwd=short_dir).returncode == 0)
            servers[0].signal(signal.SIGSTOP)
            try:
                down = run_bus("db", "recheck", cwd=short_dir)
                again = run_bus("db", "recheck", "--json", cwd=short_dir)
            finally:
                servers[0].signal(signal.SIGCONT)
            assert (down.returncode, again.returncode) == (1, 1)
            one, two = down.stdout.splitlines()
            assert one == "db1  DOWN  no answer within 1 s"
            assert two.startswith("db2  UP  10.")
            assert [row["state"] for row in json.loads(again.stdout)] == ["DOWN", "UP"]
            up = run_bus("db", "recheck", "db1", cwd=short_dir)
            assert (up.returncode, up.stdout.split()[:2]) == (0, ["db1", "UP"])
            rows = json.loads(run_bus("db", "--json", cwd=short_dir).stdout)
            assert rows[0]["headroom"] > 100
