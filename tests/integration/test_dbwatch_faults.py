"""Databases that answer and are ill, one by one: real servers, real faults, and back."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pymysql
import pytest

from bus.events import DbDegraded, DbUp
from examples.mariadb import MariaDb
from services.dbwatch.canary import TABLE
from tests.harness import eventually_async, free_port
from tests.integration.conftest import PASSWORD, Servers
from tests.integration.small_disk import disk_for_a_server, fill, mounted
from tests.integration.watching import Scene, run, url

pytestmark = pytest.mark.usefixtures("watched")


def test_read_only_switch(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server)).at_ease()
        async with scene.dbwatch():
            await scene.verdict(DbUp)
            with globally(server, "read_only", "ON"):
                scene.mark()
                ill = await scene.verdict(DbDegraded, "read-only")
                assert not ill.writable
                assert ill.reason == "read_only is on"
                scene.mark()
            await scene.verdict(DbUp)

    run(scenario())


@contextmanager
def globally(server: MariaDb, name: str, value: str) -> Iterator[None]:
    """Have a global variable of the server set for a while."""
    ((before,),) = server.sql(f"SELECT @@GLOBAL.{name}")
    server.sql(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        server.sql(f"SET GLOBAL {name} = {before}")


def test_writes_that_wait_for_a_lock(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server)).at_ease()
        async with scene.dbwatch():
            await scene.verdict(DbUp)
            with server.session() as backup:
                backup.execute("FLUSH TABLES WITH READ LOCK")
                scene.mark()
                ill = await scene.verdict(DbDegraded, "locked")
                assert not ill.writable
                assert "max_statement_time" in ill.reason
                backup.execute("UNLOCK TABLES")
                scene.mark()
                await scene.verdict(DbUp)

    run(scenario())


def test_hardly_a_connection_left(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server)).at_ease()
        with globally(server, "max_connections", "30"):
            async with scene.dbwatch():
                up = await scene.verdict(DbUp)
                assert up.headroom in {29, 30}, "one may be of whoever was here before"
                with ExitStack() as crowd:
                    for _ in range(28):
                        crowd.enter_context(
                            pymysql.connect(
                                host="127.0.0.1", port=server.port, user="shop", password=PASSWORD
                            )
                        )
                    scene.mark()
                    ill = await scene.verdict(DbDegraded, "nearly-full")
                    assert ill.writable
                    assert ill.headroom is not None
                    assert ill.headroom <= 2
                    assert ill.reason == f"{ill.headroom} of 30 connections are free"
                scene.mark()
                await scene.verdict(DbUp)

    run(scenario())


def test_check_that_takes_too_long(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = Scene(tmp_path, db1=url(servers[0])).at_ease(database_slow=1e-9)
        async with scene.dbwatch():
            ill = await scene.verdict(DbDegraded, "slow")
            assert ill.writable
            assert ill.reason.startswith("a check took 0.")

    run(scenario())


def test_canary_is_one_row_however_often_it_is_written(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        server.sql(f"DROP TABLE IF EXISTS shop.{TABLE}")
        scene = Scene(tmp_path, db1=url(server)).at_ease(database_write_every=0.01, database_every=0.05)
        async with scene.dbwatch():
            await scene.verdict(DbUp)
            first = beat(server)
            await eventually_async(lambda: beat(server) > first)
            assert server.sql(f"SELECT COUNT(*) FROM shop.{TABLE}") == [(1,)]

    run(scenario())


def beat(server: MariaDb) -> int:
    ((newest,),) = server.sql(f"SELECT MAX(beat) FROM shop.{TABLE}")
    return int(newest)


def test_canary_that_is_turned_off(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        server.sql(f"DROP TABLE IF EXISTS shop.{TABLE}")
        scene = Scene(tmp_path, db1=url(server)).at_ease().having(canary=False)
        async with scene.dbwatch():
            await scene.verdict(DbUp)
            await scene.silence()
        assert server.sql(f"SHOW TABLES FROM shop LIKE '{TABLE}'") == []

    run(scenario())


@pytest.mark.parametrize("granted", ["SELECT", "SELECT, INSERT, UPDATE, DELETE"])
def test_user_who_may_not_make_the_canarys_table(servers: Servers, tmp_path: Path, granted: str) -> None:
    async def scenario() -> None:
        server, _ = servers
        server.sql(
            f"DROP TABLE IF EXISTS shop.{TABLE}",
            f"CREATE USER frugal@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT {granted} ON shop.* TO frugal@'%'",
        )
        scene = Scene(tmp_path, db1=url(server, user="frugal")).at_ease()
        async with scene.dbwatch():
            up = await scene.verdict(DbUp)
            assert "not written to: " in up.reason
            assert "command denied to user 'frugal'" in up.reason
            assert up.replication.startswith("may not be asked")
        server.sql("DROP USER frugal@'%'")

    run(scenario())


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TABLE shop.{TABLE} (a INT)",
        f"CREATE TABLE shop.{TABLE} (watcher VARCHAR(190) PRIMARY KEY, beat BIGINT, more INT NOT NULL)",
        f"CREATE TABLE shop.{TABLE} (watcher VARCHAR(190) PRIMARY KEY, beat INT)",
        f"CREATE TABLE shop.{TABLE} (watcher VARCHAR(3) PRIMARY KEY, beat BIGINT UNSIGNED)",
        f"CREATE VIEW shop.{TABLE} AS SELECT 1 AS watcher, 2 AS beat",
    ],
)
def test_table_that_is_not_ours_says_nothing_about_writing(
    servers: Servers, tmp_path: Path, statement: str
) -> None:
    async def scenario() -> None:
        server, _ = servers
        server.sql(f"DROP TABLE IF EXISTS shop.{TABLE}", statement)
        scene = Scene(tmp_path, db1=url(server)).at_ease()
        async with scene.dbwatch():
            up = await scene.verdict(DbUp)
            assert "not written to: " in up.reason
        server.sql(f"DROP TABLE IF EXISTS shop.{TABLE}", f"DROP VIEW IF EXISTS shop.{TABLE}")

    run(scenario())


def test_replica_in_one_gtid_domain_is_not_written_to(servers: Servers, tmp_path: Path) -> None:
    """Its user may not ask whom it follows, so that nobody can tell that it follows nobody any more."""

    async def scenario() -> None:
        server, _ = servers
        server.sql(
            f"DROP TABLE IF EXISTS shop.{TABLE}",
            "SET GLOBAL gtid_slave_pos = '1-77-5'",
            "REVOKE SLAVE MONITOR ON *.* FROM shop@'%'",
        )
        try:
            scene = Scene(tmp_path, db1=url(server)).at_ease()
            async with scene.dbwatch():
                up = await scene.verdict(DbUp)
                assert up.reason.endswith("not written to: it follows another server in its own GTID domain")
            assert server.sql(f"SHOW TABLES FROM shop LIKE '{TABLE}'") == []
            server.sql("GRANT SLAVE MONITOR ON *.* TO shop@'%'")
            scene = Scene(tmp_path, db1=url(server)).at_ease()
            async with scene.dbwatch():
                await scene.verdict(DbUp)
                await eventually_async(lambda: server.sql(f"SHOW TABLES FROM shop LIKE '{TABLE}'"))
        finally:
            server.sql("SET GLOBAL gtid_slave_pos = ''")

    run(scenario())


# ---------------------------------------------------------------- a full disk


def test_full_disk_below_a_server(tmp_path: Path) -> None:
    """The binary log finds no room. MariaDB looks for room once a minute: tests/databases waits for that."""

    async def scenario(disk: Path) -> None:
        server = MariaDb(disk / "db", free_port())
        server.start()
        try:
            server.make_schema("shop", "shop", PASSWORD)
            scene = Scene(tmp_path, db1=url(server)).at_ease(database_write_every=0.1)
            async with scene.dbwatch():
                await scene.verdict(DbUp)
                fill(disk)
                scene.mark()
                ill = await scene.verdict(DbDegraded, "disk-full")
                assert not ill.writable
                assert ill.reason.endswith("Waiting for someone to free space")
                await scene.silence()
                assert waiting(server) == 1, "nothing is sent behind a write that waits"
        finally:
            server.kill()

    with disk_for_a_server() as disk:
        run(scenario(disk))


def waiting(server: MariaDb) -> int:
    """How many connections wait in a write of the canary."""
    return sum(TABLE in str(info) for *_, info, _ in server.sql("SHOW FULL PROCESSLIST"))


def test_full_disk_below_a_file(tmp_path: Path) -> None:
    async def scenario(disk: Path) -> None:
        with closing(sqlite3.connect(disk / "x.db")) as connection:
            connection.execute("CREATE TABLE t (a)")
        scene = Scene(tmp_path, db1=f"sqlite:///{disk}/x.db").at_ease()
        async with scene.dbwatch():
            await scene.verdict(DbUp)
            fill(disk)
            scene.mark()
            ill = await scene.verdict(DbDegraded, "disk-full")
            assert not ill.writable
            assert ill.reason == "a write failed: database or disk is full"
            (disk / "filler").unlink()
            scene.mark()
            await scene.verdict(DbUp)

    with mounted(tmp_path, "1M") as disk:
        run(scenario(disk))


def test_file_whose_writer_never_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as writer:
            writer.execute("CREATE TABLE t (a)")
            scene = Scene(tmp_path, db1="sqlite:///x.db").at_ease()
            async with scene.dbwatch():
                await scene.verdict(DbUp)
                writer.execute("BEGIN EXCLUSIVE")
                scene.mark()
                ill = await scene.verdict(DbDegraded, "locked")
                assert not ill.writable
                assert ill.reason == "a write failed: database is locked"
                writer.execute("ROLLBACK")
                scene.mark()
                await scene.verdict(DbUp)

    run(scenario())
