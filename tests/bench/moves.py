"""A database is killed under three hundred tenants, and another one takes them all."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from examples.mariadb import MariaDb
from examples.pair import SCHEMA, USER, Pair
from tests.bench.product import Product, running
from tests.bench.table import Row
from tests.harness import DEADLINE, free_ports, short_directory

TENANTS = 300
RATE, BURST = 50, 10
ROOM = ("--max-connections=1000",)
WITHIN = 6 * DEADLINE
ASKED = 10
"""Tenants that are asked at a time: they move in the order of their names, and asking all would take long."""

DATABASES = """
[databases.db1]
url = "mysql://{user}@127.0.0.1:{one}/{schema}"
password_file = "{password}"
weight = 1000
[databases.db2]
url = "mysql://{user}@127.0.0.1:{two}/{schema}"
password_file = "{password}"
"""
"""With these weights all tenants begin on db1."""

SETTINGS = f"""
[checks]
http_every = 1e9
[moves]
rate = {RATE}
burst = {BURST}
"""

APPLICATION = """
import asyncio
from urllib.parse import unquote, urlsplit

import pymysql
from tornado.web import Application, RequestHandler


class Database:
    connection, port = None, b""

    def use(self, url):
        self.port = b""
        asyncio.get_running_loop().run_in_executor(None, self.connect, urlsplit(url))

    def connect(self, url):
        self.connection = pymysql.connect(
            host=url.hostname, port=url.port, user=url.username, password=unquote(url.password)
        )
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT @@port")
            self.port = str(cursor.fetchone()[0]).encode()


class Port(RequestHandler):
    def get(self):
        self.write(self.settings["database"].port)


def make_app(tenant):
    database = Database()
    database.use(tenant.database_url)
    {subscribe}
    return Application([("/.*", Port)], database=database)
"""

WAYS = {"told in place": "tenant.on_database_change(database.use)", "replaced": ""}


@contextmanager
def connections_counted(server: MariaDb, counts: list[tuple[float, int]]) -> Iterator[None]:
    """Read the server's count of connections that were ever made, a hundred times a second meanwhile."""
    done = threading.Event()

    def look() -> None:
        with server.session() as cursor:
            while not done.wait(0.01):
                cursor.execute("SHOW GLOBAL STATUS LIKE 'Connections'")
                counts.append((time.monotonic(), int((cursor.fetchone() or ("", 0))[1])))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def most_within_a_second(counts: list[tuple[float, int]]) -> int:
    """Tell how many connections came in the worst second of all."""
    most, first = 0, 0
    for at, count in counts:
        while counts[first][0] < at - 1.0:
            first += 1
        most = max(most, count - counts[first][1])
    return most


def wait_for(product: Product, names: list[str], port: int) -> tuple[float, float]:
    """Ask those that come next until all use the database at a port; gives the first and the last time."""
    waiting, times = sorted(names), list[float]()
    end = time.monotonic() + WITHIN
    while waiting and time.monotonic() < end:
        for name in waiting[:ASKED]:
            if product.get(name) == str(port).encode():
                waiting.remove(name)
                times.append(time.monotonic())
        time.sleep(0.005)
    assert not waiting, f"{len(waiting)} tenants do not use the database at {port}"
    return times[0], times[-1]


def lose(pair: Pair, way: str, password: str) -> list[Row]:
    one, two = pair.servers["db1"], pair.servers["db2"]
    databases = DATABASES.format(user=USER, schema=SCHEMA, one=one.port, two=two.port, password=password)
    application = APPLICATION.replace("{subscribe}", WAYS[way])
    names = [f"tenant-{number}" for number in range(TENANTS)]
    with running(SETTINGS, application, databases) as product:
        for name in names:
            product.add(name)
        wait_for(product, names, one.port)
        counts: list[tuple[float, int]] = []
        with connections_counted(two, counts):
            killed = time.monotonic()
            one.kill()
            first, last = wait_for(product, names, two.port)
    most = most_within_a_second(counts)
    limit = RATE + BURST
    what = f"database killed under {TENANTS} tenants, {way}"
    return [
        Row(f"{what}: the first serves from the other", first - killed, "s", "below 1"),
        Row(f"{what}: all do", last - killed, "s", "below 10"),
        Row(f"{what}: connections to the other in the worst second", most, "", f"below {limit + 1}"),
    ]


def run() -> list[Row]:
    return [row for way in WAYS for row in measure(way)]


def measure(way: str) -> list[Row]:
    """Lose a database of a new pair: one that was lost before may be behind for a while."""
    first = free_ports(2)
    with short_directory() as home:
        pair = Pair(home, (first, first + 1), lambda _: None)
        for server in pair.servers.values():
            server.options = ROOM
        with pair.running():
            return lose(pair, way, str(home / "password"))
