"""dbwatch and a real Galera cluster of three: donors, partitions, lost nodes."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.events import DbDegraded, DbDown, DbUp
from examples.mariadb import MariaDb
from tests.harness import eventually, eventually_async
from tests.integration.galera import PROVIDER, Cluster, all_up, are_up, cluster, scene_of, synced
from tests.integration.watching import Scene, frozen, run, url

pytestmark = [pytest.mark.usefixtures("watched"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    if not (MariaDb.available() and PROVIDER.exists() and shutil.which("rsync")) and "CI" not in os.environ:
        pytest.skip("no Galera on this machine")
    with cluster() as one:
        yield one


@pytest.fixture
def nodes(running: Cluster) -> list[MariaDb]:
    for node in running.nodes:
        eventually(lambda node=node: synced(node))  # type: ignore[misc]
    return running.nodes


def test_node_that_says_that_it_is_a_donor(nodes: list[MariaDb], tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = scene_of(nodes, tmp_path)
        async with scene.dbwatch():
            await all_up(scene)
            nodes[0].sql("SET GLOBAL wsrep_desync = ON")
            scene.mark()
            ill = await scene.verdict(DbDegraded, "donor")
            assert ill.writable
            assert ill.reason == "Galera: Primary, Donor/Desynced, 3 nodes"
            nodes[0].sql("SET GLOBAL wsrep_desync = OFF")
            scene.mark()
            await scene.verdict(DbUp)

    run(scenario())


def test_donors_are_what_the_settings_say(nodes: list[MariaDb], tmp_path: Path) -> None:
    async def scenario() -> None:
        nodes[0].sql("SET GLOBAL wsrep_desync = ON")
        try:
            scene = Scene(tmp_path, db1=url(nodes[0])).at_ease().having(donor="down")
            async with scene.dbwatch():
                down = await scene.verdict(DbDown)
                assert down.reason == 'Galera: Primary, Donor/Desynced, 3 nodes, and donor = "down"'
            scene = Scene(tmp_path, db1=url(nodes[0])).at_ease().having(donor="up")
            async with scene.dbwatch():
                await scene.verdict(DbUp)
        finally:
            nodes[0].sql("SET GLOBAL wsrep_desync = OFF")

    run(scenario())


def test_node_without_a_majority(nodes: list[MariaDb], tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = scene_of(nodes, tmp_path)
        async with scene.dbwatch():
            await all_up(scene)
            with frozen(nodes[1]), frozen(nodes[2]):
                scene.mark()
                await scene.verdict(DbDown, database="db3")
                down = await scene.verdict(DbDown, database="db1")
                assert down.reason.startswith("Galera refuses queries: non-Primary, ")
            await eventually_async(lambda: are_up(scene))

    run(scenario())
