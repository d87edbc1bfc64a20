"""The whole product in a directory of its own, with tenants that do little."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from bus.settings import load
from tests.harness import DEADLINE, Program, short_directory

SERVICES = ("services.dbwatch", "services.reactor", "services.pathwatch", "services.dispatcher")

APPLICATION = """
import os
import time

from tornado.web import Application, RequestHandler


class Pid(RequestHandler):
    def get(self):
        self.write(str(os.getpid()))

    post = get


class Block(RequestHandler):
    def get(self):
        time.sleep(3600)


class Spin(RequestHandler):
    def get(self):
        while True:
            pass


def make_app(tenant):
    return Application([("/", Pid), ("/healthz", Pid), ("/block", Block), ("/spin", Spin)])
"""


SQLITE = """
[databases.db1]
url = "sqlite:///var/db1.db"
"""


class Product:
    """Five services that run, and what one does to their tenants."""

    def __init__(self, directory: Path, settings: str, application: str, databases: str) -> None:
        self.config = directory / "tenantbus.toml"
        self.config.write_text(f"{databases}\n{settings}\n")
        self.settings = load(self.config)
        self.settings.tenants_dir.mkdir()
        release = self.settings.packages_dir / "tiny" / "1.0"
        release.mkdir(parents=True)
        (release / "tiny.py").write_text(application)
        (release / "package.toml").write_text('entry = "tiny:make_app"\n')
        self.services: dict[str, Program] = {}

    def add(self, tenant: str) -> None:
        directory = self.settings.tenants_dir / tenant
        directory.mkdir()
        (directory / "tenant.toml").write_text('package = "tiny"\n')

    def get(self, tenant: str, path: str = "/") -> bytes:
        """Give the body of an answer, b"" if there is none."""
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.settimeout(DEADLINE)
            connection.connect(str(self.settings.http_socket(tenant)))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {tenant}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            head, _, body = answer.partition(b"\r\n\r\n")
            return body if b" 200 " in head.partition(b"\r\n")[0] else b""
        return b""

    def pid(self, tenant: str, not_pid: int = 0) -> int:
        """Wait until the tenant serves, by another process than `not_pid`; gives the process."""
        end = time.monotonic() + 3 * DEADLINE
        while time.monotonic() < end:
            body = self.get(tenant)
            if body.isdigit() and int(body) != not_pid:
                return int(body)
            time.sleep(0.0005)
        logs = "\n".join(program.output for program in self.services.values())
        raise AssertionError(f"{tenant} does not serve:\n{logs}")

    def port(self, tenant: str) -> int:
        """Tell its TCP port, where `[tenants] port_range` is set."""
        return int((self.settings.tenants_dir / tenant / "run" / "port").read_text())

    def say(self, tenant: str, path: str) -> None:
        """Send a request and do not wait for the answer: "/block" and "/spin" never give one."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.settings.http_socket(tenant)))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {tenant}\r\n\r\n".encode())


@contextmanager
def running(settings: str = "", application: str = APPLICATION, databases: str = SQLITE) -> Iterator[Product]:
    """Run the product until the bench is done, then stop it, tenants first."""
    with short_directory() as directory, ExitStack() as stack:
        product = Product(directory, settings, application, databases)
        for name in ("bus", *SERVICES):
            product.services[name] = stack.enter_context(Program.module(name, product.config))
        try:
            yield product
        finally:
            reactor = product.services["services.reactor"]
            reactor.signal(signal.SIGINT)
            reactor.process.wait(3 * DEADLINE)


def idle_tenants(product: Product, count: int) -> list[psutil.Process]:
    """Add so many tenants; gives their processes once all serve."""
    names = [f"tenant-{number}" for number in range(count)]
    for name in names:
        product.add(name)
    return [psutil.Process(product.pid(name)) for name in names]
