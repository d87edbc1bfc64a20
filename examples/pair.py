"""Two MariaDB instances that replicate one another, kept going as long as the demo runs."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from examples.mariadb import InstanceError, MariaDb, synchronize

SCHEMA = USER = "tenantbus"

REVIVE_AFTER = 10.0
"""Seconds that a database which somebody killed stays away."""

Say = Callable[[str], None]


class Pair:
    """The demo's databases, db1 and db2, below `home`."""

    def __init__(self, home: Path, ports: tuple[int, int], say: Say) -> None:
        self.servers = {
            f"db{number}": MariaDb(home / f"db{number}", port, number) for number, port in enumerate(ports, 1)
        }
        self._home = home
        self._say = say
        self._gone: dict[str, float] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run both as long as the block runs; raises InstanceError when that cannot be."""
        for server in self.servers.values():
            _end_stale(server)
        self._check_ports()
        password = self._password()
        places = ", ".join(f"{name} on 127.0.0.1:{server.port}" for name, server in self.servers.items())
        self._say(f"Starting two MariaDB instances that replicate one another: {places}.")
        try:
            for server in self.servers.values():
                server.create()
                server.launch()
            for server in self.servers.values():
                server.wait_ready()
                server.make_schema(SCHEMA, USER, password)
            synchronize(*self.servers.values())
            yield
        finally:
            for server in self.servers.values():
                server.stop()

    def revive(self) -> None:
        """Start an instance that somebody killed again, after a while in which the tenants do without."""
        for name, server in self.servers.items():
            if server.running:
                self._gone.pop(name, None)
            elif name not in self._gone:
                self._say(f"{name} is gone; the demo starts it again in {REVIVE_AFTER:g} s.")
                self._gone[name] = time.monotonic()
            elif time.monotonic() - self._gone[name] > REVIVE_AFTER:
                server.launch()

    def _check_ports(self) -> None:
        taken = listeners({server.port for server in self.servers.values()})
        for port, who in taken.items():
            raise InstanceError(f"port {port} is meant for a database, and {who} listens on it")

    def _password(self) -> str:
        """Give the password of both, made up at the first start."""
        file = self._home / "password"
        if not file.exists():
            self._home.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24) + "\n")
        return file.read_text().strip()


def _end_stale(server: MariaDb) -> None:
    """End what a killed demo left behind; it is ours only if it works on our data."""
    try:
        process = psutil.Process(int((server.directory / "pid").read_text()))
        if f"--datadir={server.data}" not in process.cmdline():
            return
        process.resume()
        process.terminate()
        process.wait(timeout=20)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    except (OSError, ValueError, psutil.NoSuchProcess):
        return


def listeners(ports: set[int]) -> dict[int, str]:
    """Tell which of the ports somebody listens on, and who: port -> "nginx (pid 1234)"."""
    found: dict[int, str] = {}
    for connection in psutil.net_connections(kind="tcp"):
        port = connection.laddr.port if connection.laddr else 0
        if connection.status == psutil.CONN_LISTEN and port in ports:
            found[port] = _who(connection.pid)
    return found


def _who(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.NoSuchProcess:
        return f"pid {pid}"
