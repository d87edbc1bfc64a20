"""A database is killed under three hundred tenants, and another one takes them all."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from examples.pair import SCHEMA, USER, Pair
from tests.bench.product import Product, running
from tests.bench.table import Row
from tests.harness import DEADLINE, free_ports, short_directory

TENANTS = 300
RATE, BURST = 50, 10
ROOM = ("--max-connections=1000",)
WITHIN = 6 * DEADLINE

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
import socket
import time
from urllib.parse import unquote, urlsplit

import pymysql
from tornado.web import Application, RequestHandler


class Database:
    connection, port = None, b""

    def __init__(self, tenant):
        self.tenant = tenant
        self.use(tenant.database_url)

    def use(self, url):
        self.port = b""
        asyncio.get_running_loop().run_in_executor(None, self.connect, urlsplit(url))

    def connect(self, url):
        self.connection = pymysql.connect(
            host=url.hostname, port=url.port, user=url.username, password=unquote(url.password),
            ssl_disabled=True,  # PyMySQL makes a TLS context each time, which is 30 ms of computing
        )
        self.port = str(url.port).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(f"{self.tenant.name} {url.port} {time.monotonic()}".encode(), "{socket}")


class Port(RequestHandler):
    def get(self):
        self.write(self.settings["database"].port)


def make_app(tenant):
    database = Database(tenant)
    {subscribe}
    return Application([("/.*", Port)], database=database)
"""

WAYS = {"told in place": "tenant.on_database_change(database.use)", "replaced": ""}


class Moved(NamedTuple):
    """What was seen of tenants that came to a database; all times are monotonic, in seconds."""

    first: float
    """When the first of them served from there."""
    last: float
    """When all of them did."""
    connected: list[float]
    """When each had connected."""

    @property
    def worst_second(self) -> int:
        """Tell how many came within a second at most."""
        times, most, begin = sorted(self.connected), 0, 0
        for end, time_ in enumerate(times, 1):
            while times[begin] < time_ - 1.0:
                begin += 1
            most = max(most, end - begin)
        return most


@contextmanager
def listener(path: Path) -> Iterator[socket.socket]:
    """Hear from the tenants themselves: asking three hundred of them all the time would slow them down."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(path))
        one.settimeout(WITHIN)
        yield one


def wait_for(product: Product, said: socket.socket, names: list[str], port: int) -> Moved:
    """Wait until all tenants serve from the database at a port."""
    first, connected = 0.0, dict[str, float]()
    while len(connected) < len(names):
        try:
            name, its, at = said.recv(256).decode().split()
        except TimeoutError:
            raise AssertionError(f"{len(names) - len(connected)} tenants do not use {port}") from None
        if int(its) == port:
            connected[name] = float(at)
            first = first or serves(product, name, port)
    last = max(serves(product, name, port) for name in names)
    return Moved(first, last, list(connected.values()))


def serves(product: Product, name: str, port: int) -> float:
    """Ask until a tenant says that it uses the database at a port; tells when that is."""
    end = time.monotonic() + WITHIN
    while product.get(name) != str(port).encode():
        assert time.monotonic() < end, f"{name} does not serve from {port}"
        time.sleep(0.001)
    return time.monotonic()


def lose(pair: Pair, way: str, home: Path) -> list[Row]:
    one, two = pair.servers["db1"], pair.servers["db2"]
    databases = DATABASES.format(
        user=USER, schema=SCHEMA, one=one.port, two=two.port, password=home / "password"
    )
    application = APPLICATION.replace("{subscribe}", WAYS[way]).replace("{socket}", str(home / "said"))
    names = [f"tenant-{number}" for number in range(TENANTS)]
    with listener(home / "said") as said, running(SETTINGS, application, databases) as product:
        for name in names:
            product.add(name)
        wait_for(product, said, names, one.port)
        killed = time.monotonic()
        one.kill()
        moved = wait_for(product, said, names, two.port)
    what = f"database killed under {TENANTS} tenants, {way}"
    limit = RATE + BURST
    return [
        Row(f"{what}: the first serves from the other", moved.first - killed, "s", "below 1"),
        Row(f"{what}: all do", moved.last - killed, "s", "below 10"),
        Row(
            f"{what}: connections to the other in the worst second",
            moved.worst_second,
            "",
            f"below {limit + 1}",
        ),
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
            return lose(pair, way, home)
