"""A Galera node that loses everything and is fed by another one: the cluster sometimes falls apart itself."""

import shutil
from pathlib import Path

import psutil
import pytest

from bus.events import DbDegraded, DbDown
from examples.mariadb import MariaDb
from tests.harness import eventually_async
from tests.integration.galera import all_up, are_up, cluster, is_one_of, launch_empty, receiver, scene_of
from tests.integration.watching import Scene, run

pytestmark = pytest.mark.timeout(300)


def test_node_that_is_lost_comes_back_and_another_one_feeds_it(tmp_path: Path) -> None:
    async def scenario(nodes: list[MariaDb]) -> None:
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
            transfer = await eventually_async(lambda: held(lost))
            scene.mark()
            ill = await scene.verdict(DbDegraded, "donor")
            assert "Donor/Desynced" in ill.reason
            assert transfer is not None
            transfer.resume()
            await eventually_async(lambda: are_up(scene))

    with cluster() as one:
        run(scenario(one.nodes))


async def has_all(scene: Scene, name: str) -> bool:
    """Tell whether dbwatch has said that a node has everything that db3 had."""
    return (await scene.caught_up("db3", name))[-1:] == [True]


def held(node: MariaDb) -> psutil.Process | None:
    """Stop the transfer to a node before it ends."""
    try:
        process = receiver(node)
        process.suspend()
    except (LookupError, psutil.NoSuchProcess):
        return None
    return process
