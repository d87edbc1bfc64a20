"""dbwatch at work on real MariaDB servers: stopped, killed, frozen, refusing, and back."""

import asyncio
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import pymysql
import pytest

from bus.events import DbDown, DbEvent, DbMisconfigured, DbUp
from examples.mariadb import MariaDb
from services.dbwatch.mysql import MySql
from services.dbwatch.sense import find
from tests.harness import DEADLINE, eventually, free_port
from tests.integration.conftest import PASSWORD, Servers
from tests.integration.watching import WITHIN, Scene, frozen, restart, run, url

pytestmark = pytest.mark.usefixtures("watched")


@pytest.mark.parametrize("end", [MariaDb.stop, MariaDb.kill], ids=["stopped", "killed"])
def test_server_ends_and_is_back(servers: Servers, tmp_path: Path, end: Callable[[MariaDb], None]) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server))
        async with scene.dbwatch():
            up = await scene.said(DbUp)
            assert "MariaDB" in up.reason
            assert 0 < up.latency < WITHIN
            await asyncio.to_thread(end, server)
            down = await scene.said(DbDown)
            assert down.reason
            await scene.silence()
            await restart(server)
            await scene.said(DbUp)
            await scene.silence()

    run(scenario())


def test_frozen_server_is_down_and_seen_again_after_a_longer_outage(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server))
        async with scene.dbwatch():
            await scene.said(DbUp)
            with frozen(server):
                down = await scene.said(DbDown)
                assert down.reason == "no answer within 0.4 s"
                await asyncio.sleep(6)
                watchdogs = [t for t in threading.enumerate() if t.name == "watchdog-db1"]
                assert len(watchdogs) <= 2
            await scene.said(DbUp)
            await scene.silence()

    run(scenario())


def test_start_does_not_wait_for_a_frozen_server(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server))
        with frozen(server):
            async with scene.dbwatch():
                await scene.said(DbDown)

    run(scenario())


def test_one_that_hangs_delays_no_verdict_on_another(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        one, two = servers
        scene = Scene(tmp_path, db1=url(one), db2=url(two))
        async with scene.dbwatch():
            assert {(await anext(scene.events)).subject for _ in range(2)} == {"db1", "db2"}
            with frozen(one):
                await scene.said(DbDown, "db1")
                await asyncio.to_thread(two.kill)
                await scene.said(DbDown, "db2")
                await restart(two)
                await scene.said(DbUp, "db2")
            await scene.said(DbUp, "db1")

    run(scenario())


def test_wrong_password_is_no_outage(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = Scene(tmp_path, db1=url(servers[0]))
        scene.password_file.write_text("another\n")
        async with scene.dbwatch():
            wrong = await scene.said(DbMisconfigured)
            assert wrong.key == "databases.db1.password_file"
            assert "Access denied for user 'shop'" in wrong.reason
            await scene.silence()
            scene.password_file.write_text(f"{PASSWORD}\n")
            await scene.said(DbUp)
            scene.password_file.unlink()
            gone = await scene.said(DbMisconfigured)
            assert "No such file" in gone.reason

    run(scenario())


def test_schema_that_the_user_may_not_see(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = Scene(tmp_path, db1=url(servers[0], schema="mysql"))
        async with scene.dbwatch():
            wrong = await scene.said(DbMisconfigured)
            assert wrong.key == "databases.db1.url"
            assert "Access denied" in wrong.reason

    run(scenario())


def test_schema_that_is_not_there(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        servers[0].sql("GRANT ALL ON nowhere.* TO shop@'%'")
        scene = Scene(tmp_path, db1=url(servers[0], schema="nowhere"))
        async with scene.dbwatch():
            wrong = await scene.said(DbMisconfigured)
            assert wrong.key == "databases.db1.url"
            assert "Unknown database 'nowhere'" in wrong.reason
        servers[0].sql("REVOKE ALL ON nowhere.* FROM shop@'%'")

    run(scenario())


@pytest.mark.parametrize(
    "statement",
    [
        "DROP USER shop@'%'",
        "REVOKE ALL ON shop.* FROM shop@'%'",
        "ALTER USER shop@'%' IDENTIFIED BY 'changed'",
        "ALTER USER shop@'%' ACCOUNT LOCK",
        "ALTER USER shop@'%' PASSWORD EXPIRE",
    ],
)
def test_user_who_is_refused_while_all_is_well(servers: Servers, tmp_path: Path, statement: str) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server))
        async with scene.dbwatch():
            await scene.said(DbUp)
            server.sql("SET GLOBAL disconnect_on_expired_password = ON", statement)
            await scene.said(DbMisconfigured)
            server.sql("DROP USER IF EXISTS shop@'%'")
            server.make_schema("shop", "shop", PASSWORD)
            while isinstance(await scene.said(DbEvent), DbMisconfigured):
                pass  # on the way back there was no user for a moment: another reason

    run(scenario())


def test_too_many_connections_is_an_outage(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server))
        async with scene.dbwatch():
            await scene.said(DbUp)
            with crowded(server):
                down = await scene.said(DbDown)
                assert "Too many connections" in down.reason
            await scene.said(DbUp)

    run(scenario())


@contextmanager
def crowded(server: MariaDb) -> Iterator[None]:
    """Take every connection that there is; the administrator has a place of his own beyond the limit."""
    (_, before), *_ = server.sql("SHOW GLOBAL VARIABLES LIKE 'max_connections'")
    server.sql("SET GLOBAL max_connections = 10")
    with ExitStack() as crowd:
        with pytest.raises(pymysql.err.OperationalError, match="Too many connections"):
            fill(crowd, server.port)
        yield
    server.sql(f"SET GLOBAL max_connections = {before}")


def fill(crowd: ExitStack, port: int) -> NoReturn:
    while True:
        crowd.enter_context(pymysql.connect(host="127.0.0.1", port=port, user="shop", password=PASSWORD))


def test_check_that_waits_to_be_connected_ends_when_it_is_cut() -> None:
    """The host may have many addresses, of which each one keeps us waiting."""
    with socket.socket() as crowded, ExitStack() as waiting:
        crowded.bind(("127.0.0.1", 0))
        crowded.listen(0)
        for _ in range(4):  # so many that it takes no more
            visitor = waiting.enter_context(socket.socket())
            visitor.setblocking(False)
            visitor.connect_ex(crowded.getsockname())
        url = f"mysql://shop@127.0.0.1:{crowded.getsockname()[1]}/shop"
        probe = MySql(lambda: url, "url", 10 * DEADLINE, None)
        check = threading.Thread(target=find, args=("db1", probe, lambda _: None), daemon=True)
        check.start()
        eventually(lambda: probe._line._handle)
        probe.cut()
        check.join(DEADLINE)
        assert not check.is_alive()


def test_port_where_nobody_or_somebody_else_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as chatty:
            thread = threading.Thread(target=chatter, args=(chatty,))
            thread.start()
            scene = Scene(
                tmp_path,
                db1=f"mysql://shop@127.0.0.1:{free_port()}/shop",
                db2=f"mysql://shop@127.0.0.1:{chatty.getsockname()[1]}/shop",
            )
            async with scene.dbwatch():
                reasons = {}
                for _ in range(2):
                    event = (await anext(scene.events)).event
                    assert isinstance(event, DbDown)
                    reasons[event.database] = event.reason
                assert reasons["db1"] == "Connection refused"
                assert reasons["db2"]
                await scene.silence()
            chatty.shutdown(socket.SHUT_RDWR)
            thread.join()

    run(scenario())


def chatter(server: socket.socket) -> None:
    """Answer everybody with what is not MySQL's protocol."""
    greetings = [
        b"HTTP/1.0 400 Bad Request\r\n\r\n",
        b"\x05\0\0\0\x0a1\0",
        b"\xff" * 64,
        b"\x01\0\0\0\xff",
        b"",
    ]
    with suppress(OSError):
        for turn in range(10_000):
            connection, _ = server.accept()
            with connection:
                connection.sendall(greetings[turn % len(greetings)])


def test_restart_says_only_what_has_changed(servers: Servers, tmp_path: Path) -> None:
    async def scenario() -> None:
        server, _ = servers
        scene = Scene(tmp_path, db1=url(server), small="sqlite:///small.db")
        async with scene.dbwatch():
            assert {(await anext(scene.events)).subject for _ in range(2)} == {"db1", "small"}
        async with scene.dbwatch():
            await scene.silence()
        await asyncio.to_thread(server.kill)
        async with scene.dbwatch():
            await scene.said(DbDown)
        async with scene.dbwatch():
            await scene.silence()

    run(scenario())


def test_sqlite_whose_directory_goes_and_comes(tmp_path: Path) -> None:
    async def scenario() -> None:
        directory = tmp_path / "data"
        directory.mkdir()
        scene = Scene(tmp_path, db1="sqlite:///data/x.db")
        async with scene.dbwatch():
            await scene.said(DbUp)
            directory.rmdir()
            down = await scene.said(DbDown)
            assert down.reason == f"{directory}: no such directory"
            directory.mkdir()
            await scene.said(DbUp)

    run(scenario())


def test_without_databases_there_is_nothing_to_say(tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = Scene(tmp_path)
        async with scene.dbwatch():
            await scene.silence()

    run(scenario())


def test_user_who_must_encrypt(encrypting: MariaDb, tmp_path: Path) -> None:
    async def scenario() -> None:
        scene = Scene(tmp_path, db1=url(encrypting))
        async with scene.dbwatch():
            await scene.said(DbUp)
            with frozen(encrypting):
                await scene.said(DbDown)
            await scene.said(DbUp)

    run(scenario())


@pytest.fixture
def encrypting(short_dir: Path) -> Iterator[MariaDb]:
    """A server whose user `shop` may come by TLS only."""
    key, certificate = short_dir / "key.pem", short_dir / "cert.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=db"]
    subprocess.run([*request, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    key.chmod(0o644)
    short_dir.chmod(0o711)
    server = MariaDb(short_dir / "db", free_port(), 1, [f"--ssl-key={key}", f"--ssl-cert={certificate}"])
    server.start()
    try:
        server.make_schema("shop", "shop", PASSWORD)
        server.sql("ALTER USER shop@'%' REQUIRE SSL")
        yield server
    finally:
        server.stop()
