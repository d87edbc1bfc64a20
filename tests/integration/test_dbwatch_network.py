"""dbwatch and a server at the other end of a network in which packets are dropped and rejected."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.events import DbDown, DbUp
from examples.mariadb import MariaDb
from tests.harness import free_port, short_directory
from tests.integration.conftest import PASSWORD, Servers
from tests.integration.netns import Namespace, namespace
from tests.integration.watching import Scene, run, url

pytestmark = pytest.mark.usefixtures("watched")


@pytest.fixture(scope="module")
def network() -> Iterator[Namespace]:
    if not MariaDb.available() and "CI" not in os.environ:
        pytest.skip("no mariadbd on this machine")
    with namespace() as one:
        yield one


@pytest.fixture(scope="module")
def distant(network: Namespace) -> Iterator[MariaDb]:
    with short_directory() as directory:
        directory.chmod(0o711)
        server = MariaDb(
            directory / "db", free_port(), 3, ["--bind-address=0.0.0.0"], through=network.through
        )
        try:
            server.start()
            server.make_schema("shop", "shop", PASSWORD)
            yield server
        finally:
            server.stop()


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [("drop", "no answer within 1 s"), ("reject with tcp reset", "Connection refused")],
)
def test_packets_that_do_not_arrive(
    network: Namespace, distant: MariaDb, servers: Servers, tmp_path: Path, *, verdict: str, reason: str
) -> None:
    async def scenario() -> None:
        far = f"mysql://shop@{network.address}:{distant.port}/shop"
        scene = Scene(tmp_path, db1=far, db2=url(servers[0])).at_ease()
        async with scene.dbwatch():
            for _ in range(2):
                assert isinstance((await anext(scene.events)).event, DbUp)
            with network.filtered(verdict):
                scene.mark()
                down = await scene.verdict(DbDown)
                assert down.reason == reason
                await scene.silence()
                servers[0].kill()
                scene.mark()
                await scene.verdict(DbDown, database="db2")
            scene.mark()
            await scene.verdict(DbUp)

    run(scenario())
