"""`make run-all`: one command, three tenants that answer, and nothing left when it ends, however it ends."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from examples import pair
from examples.front import Front
from examples.mariadb import MariaDb
from tests.harness import Program, eventually, free_port

ROOT = Path(__file__).parents[2]

BOOT = 90.0
"""Seconds for two databases, all services and three tenants on a busy machine."""

pytestmark = pytest.mark.timeout(240)

needs_mariadb = pytest.mark.skipif(
    not MariaDb.available() and "CI" not in os.environ, reason="no mariadbd on this machine"
)

needs_nginx = pytest.mark.skipif(
    not Front.available() and "CI" not in os.environ, reason="no nginx on this machine"
)


class Demo(Program):
    """The demo in a directory and on ports of its own."""

    def __init__(self, directory: Path, ports: int, *options: str) -> None:
        self.directory = directory
        self.http_port = free_port()
        chosen = ("--first-port", str(ports), "--http-port", str(self.http_port))
        arguments = (str(directory), *chosen, *options)
        super().__init__(sys.executable, "-m", "examples.demo", *arguments, cwd=ROOT, log=directory / "log")

    def urls(self) -> dict[str, int]:
        """Wait until it tells what there is; gives tenant -> port."""
        shown = eventually(
            lambda: self.shown if "Ctrl-C stops everything." in self.shown else "", within=BOOT
        )
        return {
            name: int(port)
            for name, port in re.findall(r"^  (\w+) .*http://127.0.0.1:(\d+)/$", shown, re.MULTILINE)
        }

    @property
    def shown(self) -> str:
        if self.process.poll() is not None:
            raise AssertionError(f"the demo ended with {self.process.returncode}:\n{self.output}")
        return self.output

    def bus(self, *arguments: str) -> str:
        """Run the command as a person does who stands in the demo's directory."""
        command = [str(Path(sys.executable).with_name("bus")), *arguments]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=True)
        return done.stdout

    def tenants(self) -> dict[str, dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(self.bus("ps", "--json"))
        return {str(row["tenant"]): row for row in rows}


@pytest.fixture
def ports() -> int:
    """The first of a hundred ports that nobody uses, below those that the kernel hands out."""
    return next(
        first
        for first in random.sample(range(12000, 32000, 100), 50)
        if not pair.listeners(set(range(first, first + 100)))
    )


@contextmanager
def nothing_left(directory: Path) -> Iterator[None]:
    """Run the block, then see that no process works in or on the directory any more."""
    yield
    try:
        eventually(lambda: not leftovers(directory))
    finally:
        for process in leftovers(directory):
            process.kill()


def leftovers(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            places = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(directory) in place for place in places) and process.pid != os.getpid():
            found.append(process)
    return found


def fetch(port: int, path: str = "/", body: object = None, host: str = "127.0.0.1") -> tuple[int, str]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        if body is None:
            connection.request("GET", path, headers={"Host": host})
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@needs_mariadb
def test_one_command_brings_up_everything_and_ctrl_c_ends_it(short_dir: Path, ports: int) -> None:
    with nothing_left(short_dir), Demo(short_dir, ports, "--database-port", str(ports + 99)) as demo:
        urls = demo.urls()
        assert set(urls) == {"acme", "globex", "initech"}
        assert all(port in range(ports, ports + 99) for port in urls.values())
        for name, port in urls.items():
            status, page = fetch(port)
            assert (status, f"<b>{name}</b>" in page) == (200, True)
        made = json.loads(fetch(urls["acme"], "/api/products", {"name": "Bolt", "price": "1.20"})[1])
        assert json.loads(fetch(urls["acme"], "/api/products")[1]) == [made]
        assert json.loads(fetch(urls["globex"], "/api/products")[1]) == []
        rows = demo.tenants()
        assert {row["state"] for row in rows.values()} == {"RUNNING"}
        pid = int((short_dir / "var" / "tenants" / "acme" / "run" / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        status, page = fetch(urls["acme"])  # the connection waits for the next process
        assert (status, f"<b>{pid}</b>" in page) == (200, False)
        demo.signal(signal.SIGINT)
        assert demo.process.wait(60) == 0


@needs_nginx
def test_nginx_answers_at_the_urls_that_are_told(short_dir: Path, ports: int) -> None:
    with nothing_left(short_dir), Demo(short_dir, ports, "--sqlite") as demo:
        demo.urls()
        told = re.findall(r"http://((\w+)\.localhost:\d+)/ ", demo.output)
        assert {name for _, name in told} == {"acme", "globex", "initech"}
        for host, name in told:
            status, page = fetch(demo.http_port, host=host)
            assert (status, f"<b>{name}</b>" in page) == (200, True)
        demo.bus("stop", "acme")
        host = f"acme.localhost:{demo.http_port}"
        eventually(lambda: fetch(demo.http_port, host=host)[0] == 503)
        master = short_dir / "var" / "nginx" / "pid"
        killed = master.read_text()
        os.kill(int(killed), signal.SIGKILL)
        eventually(lambda: master.read_text().strip() not in ("", killed.strip()))
        demo.signal(signal.SIGINT)
        assert demo.process.wait(60) == 0


@needs_nginx
def test_a_taken_port_leaves_the_demo_without_nginx_and_is_told(short_dir: Path, ports: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, nothing_left(short_dir):
        port = str(taken.getsockname()[1])
        with Demo(short_dir, ports, "--sqlite", "--http-port", port) as demo:
            assert {fetch(port)[0] for port in demo.urls().values()} == {200}
            assert f"127.0.0.1:{port} failed" in demo.output
            assert "on ports of their own only" in demo.output


@needs_mariadb
def test_a_tenant_moves_when_its_database_hangs(short_dir: Path, ports: int) -> None:
    with nothing_left(short_dir), Demo(short_dir, ports, "--database-port", str(ports + 99)) as demo:
        urls = demo.urls()
        before = str(demo.tenants()["acme"]["database"])
        server = int((short_dir / "var" / "mariadb" / before / "pid").read_text())
        made = json.loads(fetch(urls["acme"], "/api/products", {"name": "Bolt", "price": "1.20"})[1])
        os.kill(server, signal.SIGSTOP)
        eventually(lambda: demo.tenants()["acme"]["database"] not in ("", before), within=30)
        eventually(lambda: fetch(urls["acme"], "/api/products") == (200, json.dumps([made])), within=30)


@needs_mariadb
def test_a_killed_demo_is_simply_started_again(short_dir: Path, ports: int) -> None:
    with nothing_left(short_dir):
        with Demo(short_dir, ports, "--database-port", str(ports + 99)) as demo:
            urls = demo.urls()
            demo.kill()
        with Demo(short_dir, ports, "--database-port", str(ports + 99)) as again:
            assert again.urls() == urls


def test_the_death_of_bus_up_is_told_and_leaves_tenants_that_are_taken_back(
    short_dir: Path, ports: int
) -> None:
    with nothing_left(short_dir):
        with Demo(short_dir, ports, "--sqlite") as demo:
            before = demo.urls(), {name: row["pid"] for name, row in demo.tenants().items()}
            os.kill(int((short_dir / "var/run/up.lock").read_text()), signal.SIGKILL)
            assert demo.process.wait(30) == 1
            assert "`bus up` was ended by SIGKILL. Tenants run on" in demo.output
            demo.log.write_text("")  # which the next one goes on with
        with Demo(short_dir, ports, "--sqlite") as again:
            assert again.urls() == before[0]
            assert {name: row["pid"] for name, row in again.tenants().items()} == before[1]
            assert "is in use by" not in again.output


def test_without_mariadb_it_uses_sqlite_and_says_so(short_dir: Path, ports: int) -> None:
    with nothing_left(short_dir), Demo(short_dir, ports, "--sqlite") as demo:
        urls = demo.urls()
        assert {fetch(port)[0] for port in urls.values()} == {200}
        assert re.search(r"^No MariaDB here: .*invoicing\.db", demo.output, re.MULTILINE)


def test_settings_of_somebody_else_are_left_alone(short_dir: Path, ports: int) -> None:
    settings = short_dir / "tenantbus.toml"
    settings.write_text("# mine\n")
    with Demo(short_dir, ports, "--sqlite") as demo:
        assert demo.process.wait(30) == 1
        assert "was not written by the demo" in demo.output
    assert settings.read_text() == "# mine\n"


@needs_mariadb
def test_a_port_that_is_taken_is_named_with_its_owner(short_dir: Path, ports: int) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with Demo(short_dir, ports, "--database-port", str(port)) as demo:
            assert demo.process.wait(30) == 1
            assert re.search(rf"port {port} is meant for a database, and .*pid {os.getpid()}", demo.output)
