"""What the bench asks of a process manager, and the tenant that all of them keep."""

import subprocess
import sys
import venv
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import ClassVar

import psutil

from tests.bench.product import APPLICATION
from tests.harness import DEADLINE, Program

INSTALLING = 300.0
"""Seconds that a package manager may take."""

TENANT = f"""{APPLICATION}
import asyncio
import socket
import sys

from tornado.httpserver import HTTPServer


def say(message):
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message, name.replace("@", "\\0", 1))


def beat():
    say(b"WATCHDOG=1")
    if beats:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"%d;%d" % (os.getpid(), time.time()), ("127.0.0.1", int(beats[0])))
    asyncio.get_running_loop().call_later(0.25, beat)


async def main():
    server = HTTPServer(make_app(None))
    if where == "port":
        server.listen(int(number), "127.0.0.1")
    else:
        listener = socket.socket(fileno=int(number))
        listener.setblocking(False)
        server.add_socket(listener)
    say(b"READY=1")
    if beats or "WATCHDOG_USEC" in os.environ:
        beat()
    await asyncio.Event().wait()


where, number, *beats = sys.argv[1:]
asyncio.run(main())
"""
"""The application of all benches as a program: `port NUMBER` or `descriptor NUMBER`, and a port for beats."""


class NotMeasuredError(Exception):
    """This manager cannot be measured here; says why."""


class Mode(Enum):
    """How a manager is set."""

    BEST = auto()
    """As good as it can be at keeping tenants up."""
    CHECKED = auto()
    """The same, and blocked event loops are looked for."""
    DEFAULT = auto()
    """As it is when nothing is set."""


class Peer(ABC):
    """One process manager in a private directory, and its tenants, each on a loopback port of its own."""

    name: ClassVar[str]
    best: ClassVar[str]
    """What Mode.BEST sets, for people."""
    checks: ClassVar[str]
    """What Mode.CHECKED adds; "" when it has nothing that finds a blocked loop."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = directory / "tenant.py"

    def tenant(self, *arguments: object) -> list[str]:
        """Give the command of a tenant."""
        self.program.write_text(TENANT)
        return [sys.executable, str(self.program), *map(str, arguments)]

    @abstractmethod
    def install(self) -> str:
        """Put it into the directory; gives its version. Raises NotMeasuredError."""

    @abstractmethod
    def running(self, ports: Sequence[int], mode: Mode) -> AbstractContextManager[list[int]]:
        """Keep a tenant on each port as long as the block runs; gives the processes that are the manager."""


@contextmanager
def daemon(directory: Path, *command: str, env: dict[str, str] | None = None) -> Iterator[Program]:
    """Run a manager until the block ends; it and all that it leaves are killed, since some stop slowly."""
    program = Program(*command, cwd=directory, env=env)
    try:
        yield program
    finally:
        program.kill()
        end_leftovers(directory)


def end_leftovers(directory: Path) -> None:
    """Kill whatever was started out of a directory, and wait until it is gone."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(str(directory) in word for word in process.cmdline()):
                process.kill()
                found.append(process)
    psutil.wait_procs(found, timeout=DEADLINE)


def install_with(*command: str) -> None:
    """Run a package manager; raises NotMeasuredError with its last words."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALLING)
    except FileNotFoundError as error:
        raise NotMeasuredError(f"there is no {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"{command[0]} took longer than {INSTALLING:g} s") from error
    except subprocess.CalledProcessError as error:
        words = (error.stderr or error.stdout).strip().splitlines() or [f"exit code {error.returncode}"]
        raise NotMeasuredError(f"{Path(command[0]).name}: {words[-1]}") from error


def pip_install(directory: Path, *packages: str) -> Path:
    """Make a virtual environment with these packages; gives the directory of its programs."""
    venv.create(directory, with_pip=True)
    install_with(str(directory / "bin" / "pip"), "install", "--quiet", *packages)
    return directory / "bin"


def version_of(programs: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run(
        [programs / "python", "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
