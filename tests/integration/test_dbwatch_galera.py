"""dbwatch and a real Galera cluster of three: donors, partitions, lost nodes."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.events import DbDegraded, DbDown, DbUp
from examples.mariadb import MariaDb
from tests.harness import eventually, eventually_async
from tests.integration.galera import (
    PROVIDER,
    Cluster,
    all_up,
    are_up,
    cluster,
    is_one_of,
    launch_empty,
    receiver,
    scene_of,
    suspended,
    synced,
)
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


def test_node_that_is_lost_comes_back_and_another_one_feeds_it(nodes: list[MariaDb], tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = scene_of(nodes, tmp_path)
        lost = nodes[2]
        async with scene.dbwatch():
            await all_up(scene)
            lost.kill()
            scene.mark()
            await scene.verdict(DbDown, database="db3")
            for name in ("db1", "db2"):
                await eventually_async(lambda name=name: has_all(scene, name))  # type: ignore[misc]
            await eventually_async(lambda: all(is_one_of(node, 2) for node in nodes[:2]))
            shutil.rmtree(lost.data)
            lost.options = (*lost.options, "--wsrep-sst-donor=n1,")
            launch_empty(lost)
            transfer = await eventually_async(lambda: receiver(lost))
            assert transfer is not None
            with suspended(transfer):
                scene.mark()
                ill = await scene.verdict(DbDegraded, "donor")
                assert "Donor/Desynced" in ill.reason
            await eventually_async(lambda: are_up(scene))

    run(scenario())


async def has_all(scene: Scene, name: str) -> bool:
    """Tell whether dbwatch has said that a node has everything that db3 had."""
    return (await scene.caught_up("db3", name))[-1:] == [True]
