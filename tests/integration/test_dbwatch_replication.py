"""dbwatch and two servers that replicate one another: broken, late, and who has what a lost one had."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.events import DbDegraded, DbDown, DbUp
from examples.mariadb import MariaDb, synchronize
from services.dbwatch.canary import TABLE
from tests.harness import eventually, eventually_async
from tests.integration.conftest import PASSWORD, Servers
from tests.integration.watching import Scene, restart, run, url

pytestmark = pytest.mark.usefixtures("watched")

LAG = 1.0


@pytest.fixture
def pair(servers: Servers) -> Iterator[Servers]:
    """Two that replicate one another from here on, with an empty table `t`."""
    for server in servers:
        server.sql("STOP ALL SLAVES", "RESET SLAVE ALL", "RESET MASTER", "SET GLOBAL gtid_slave_pos = ''")
        server.sql("SET sql_log_bin = 0", "DROP DATABASE shop")
        server.make_schema("shop", "shop", PASSWORD)
    synchronize(*servers)
    servers[0].sql("CREATE TABLE shop.t (a INT PRIMARY KEY)")
    for server in servers:
        eventually(lambda server=server: healthy(server))  # type: ignore[misc]
    yield servers
    for server in servers:
        if not server.running:
            server.launch()
            server.wait_ready()
        server.sql("STOP ALL SLAVES", "RESET SLAVE ALL")


def healthy(server: MariaDb) -> bool:
    """Tell whether it follows the other, and has the table."""
    with server.session() as cursor:
        cursor.execute("SHOW ALL SLAVES STATUS")
        names = [column[0] for column in cursor.description]
        (row,) = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    running = row["Slave_IO_Running"] == row["Slave_SQL_Running"] == "Yes"
    return running and bool(server.sql("SHOW TABLES FROM shop LIKE 't'"))


def scene_of(pair: Servers, tmp_path: Path) -> Scene:
    return Scene(tmp_path, db1=url(pair[0]), db2=url(pair[1])).at_ease(database_lag=LAG)


@pytest.mark.parametrize("thread", ["SQL_THREAD", "IO_THREAD"])
def test_replication_that_was_stopped(pair: Servers, tmp_path: Path, thread: str) -> None:
    async def scenario() -> None:
        scene = scene_of(pair, tmp_path)
        async with scene.dbwatch():
            up = await scene.verdict(DbUp, database="db2")
            assert up.replication == f"follows 127.0.0.1:{pair[0].port}, behind 0 s"
            pair[1].sql(f"STOP SLAVE {thread}")
            scene.mark()
            ill = await scene.verdict(DbDegraded, "replication-broken", database="db2")
            assert ill.writable
            assert ill.reason.endswith(f"127.0.0.1:{pair[0].port}{' wrote' * (thread[0] == 'S')}: stopped")
            pair[1].sql(f"START SLAVE {thread}")
            scene.mark()
            await scene.verdict(DbUp, database="db2")

    run(scenario())


def test_replication_that_met_an_error(pair: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        one, two = pair
        scene = scene_of(pair, tmp_path)
        async with scene.dbwatch():
            await scene.verdict(DbUp, database="db2")
            one.sql("SET sql_log_bin = 0", "CREATE TABLE shop.lonely (a INT PRIMARY KEY)")
            one.sql("INSERT INTO shop.lonely VALUES (1)")
            scene.mark()
            ill = await scene.verdict(DbDegraded, "replication-broken", database="db2")
            assert ill.reason.endswith("error 1146, the server's log tells more")
            two.sql("SET sql_log_bin = 0", "CREATE TABLE shop.lonely (a INT PRIMARY KEY)")
            two.sql("START SLAVE")
            scene.mark()
            await scene.verdict(DbUp, database="db2")

    run(scenario())


def test_replica_that_lags(pair: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = scene_of(pair, tmp_path)
        async with scene.dbwatch():
            await scene.verdict(DbUp, database="db2")
            delay(pair[1], 600)
            pair[0].sql("INSERT INTO shop.t VALUES (1)")
            scene.mark()
            ill = await scene.verdict(DbDegraded, "lagging", database="db2")
            assert ill.writable
            assert ill.lag is not None
            assert ill.lag > LAG
            delay(pair[1], 0)
            scene.mark()
            await scene.verdict(DbUp, database="db2")

    run(scenario())


def delay(server: MariaDb, seconds: int) -> None:
    server.sql("STOP SLAVE", f"CHANGE MASTER TO MASTER_DELAY = {seconds}", "START SLAVE")


def test_lost_source_and_who_has_what_it_had(pair: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        one, two = pair
        scene = scene_of(pair, tmp_path)
        async with scene.dbwatch():
            await scene.verdict(DbUp, database="db2")
            await eventually_async(lambda: counted(one) and counted(two))
            one.kill()
            scene.mark()
            await scene.verdict(DbDown, database="db1")
            assert (await said(scene))[-1] is True
            await scene.silence()  # that db2 does not hear of db1 any more is no fault of it
            await restart(one)
            scene.mark()
            await scene.verdict(DbUp, database="db1")

    run(scenario())


def counted(server: MariaDb) -> bool:
    """Tell whether both canaries have arrived."""
    return server.sql(f"SELECT COUNT(*) FROM shop.{TABLE}") == [(2,)]


async def said(scene: Scene) -> list[bool | None]:
    """What was said of db2 having all that db1 had, once there is something."""
    return await eventually_async(lambda: scene.caught_up("db1", "db2"))


def test_lost_source_whose_last_words_are_applied_later(pair: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        one, two = pair
        scene = scene_of(pair, tmp_path)
        async with scene.dbwatch():
            await scene.verdict(DbUp, database="db2")
            two.sql("STOP SLAVE SQL_THREAD")
            one.sql("INSERT INTO shop.t VALUES (1)")
            await scene.verdict(DbDegraded, database="db2")  # by now the insert was seen as well
            one.kill()
            await scene.verdict(DbDown, database="db1")
            assert await said(scene) == [False]
            two.sql("START SLAVE SQL_THREAD")
            await eventually_async(lambda: ended(scene))
            assert two.sql("SELECT a FROM shop.t") == [(1,)]

    run(scenario())


async def ended(scene: Scene) -> bool:
    return await said(scene) == [False, True]


def test_server_that_nobody_follows_or_may_ask_is_not_compared(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        one, two = servers
        for server in servers:
            server.sql(f"DROP TABLE IF EXISTS shop.{TABLE}")  # something in the binary log
        two.sql("REVOKE SLAVE MONITOR ON *.* FROM shop@'%'")
        scene = Scene(tmp_path, db1=url(one), db2=url(two), db3="sqlite:///x.db").at_ease()
        async with scene.dbwatch():
            await scene.verdict(DbUp, database="db2")
            one.kill()
            await scene.verdict(DbDown, database="db1")
            assert await said(scene) == [None]
            assert await eventually_async(lambda: scene.caught_up("db1", "db3")) == [None]
            await restart(one)
            await scene.verdict(DbUp, database="db1")

    run(scenario())


def test_canaries_of_a_circle_disturb_nobody(pair: Servers, tmp_path: Path) -> None:
    """Both are written to as fast as can be, by two machines, also while one cannot hear the other."""

    async def scenario() -> None:
        one, two = pair
        scene = scene_of(pair, tmp_path)
        scene.at_ease(database_lag=60.0, database_write_every=0.01, database_every=0.02)
        async with scene.dbwatch():
            await scene.verdict(DbUp, database="db2")
            two.sql("STOP SLAVE")
            before = beats(one)
            await eventually_async(lambda: all(beats(one)[name] > before[name] for name in before))
            two.sql("START SLAVE")
            before = beats(one)
            await eventually_async(lambda: all(beats(two)[name] > before[name] for name in before))
            assert counted(one)
            assert counted(two)
        for server in pair:
            assert healthy(server)

    run(scenario())


def beats(server: MariaDb) -> dict[str, int]:
    return dict(server.sql(f"SELECT watcher, beat FROM shop.{TABLE}"))
