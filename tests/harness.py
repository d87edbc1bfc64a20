"""What tests share: real processes with a deadline, short directories for sockets, free ports."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar, overload

T = TypeVar("T")

DEADLINE = 20.0
"""Seconds that a test waits for what must happen; generous, since the machine is noisy."""


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose path leaves room for unix sockets, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="tb-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_ports(count: int) -> int:
    """Find so many free ports in a row, below those that outgoing connections get; gives the first."""
    while True:
        first = random.randrange(10_000, 30_000)
        with ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def eventually(check: Callable[[], T], within: float = DEADLINE, every: float = 0.01) -> T:
    """Call `check` until it gives something true; the last exception or value is the failure's reason."""
    end = time.monotonic() + within
    while True:
        try:
            value = check()
            reason: object = value
        except (AssertionError, OSError, LookupError) as error:
            value, reason = None, error
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {reason!r}")
        time.sleep(every)


@overload
async def eventually_async(
    check: Callable[[], Awaitable[T]], within: float = DEADLINE, every: float = 0.01
) -> T: ...


@overload
async def eventually_async(check: Callable[[], T], within: float = DEADLINE, every: float = 0.01) -> T: ...


async def eventually_async(
    check: Callable[[], T | Awaitable[T]], within: float = DEADLINE, every: float = 0.01
) -> T:
    """Like `eventually`, in an event loop; `check` may be a coroutine function."""
    end = time.monotonic() + within
    while True:
        result = check()
        value: T = await result if isinstance(result, Awaitable) else result
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {value!r}")
        await asyncio.sleep(every)


class Program:
    """A real process that a test started, and that is gone when the test ends."""

    def __init__(
        self, *command: str, cwd: Path, log: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.command = command
        self.log = log or Path(tempfile.mkstemp(prefix="tb-log-", dir=cwd)[1])
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @classmethod
    def module(cls, name: str, config: Path, *arguments: str) -> "Program":
        """`python -m name -c config`: one of our own services."""
        return cls(sys.executable, "-m", name, "-c", str(config), *arguments, cwd=config.parent)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait(DEADLINE)

    def stop(self) -> int:
        """Ask it to end, insist after a while; gives the exit code."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(DEADLINE)
        self.kill()
        raise AssertionError(f"{self.command} did not end on SIGTERM:\n{self.output}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
