"""One process of a service, from its start to its end, and what it says about itself (sd_notify(3))."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bus.daemon import PARENT_VARIABLE

READY_WITHIN = 60.0
"""Seconds from the start until a service must be ready; so long it may wait for the broker."""

LARGEST = 4096
"""Bytes of a notice that are read; what we want to know is short."""


class Order(NamedTuple):
    """What it takes to start a service."""

    module: str
    config: str
    notices: Path
    """Where its notification socket is made."""
    watchdog: float
    """Seconds without a sign of life after which it counts as hung."""
    log: Path | None
    """Where its stderr goes; None: where ours goes."""


class Child:
    """Started when made, see `ready` and `ended`; raises OSError when it cannot be."""

    def __init__(self, order: Order) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        """The exit code, negative for a signal as with subprocess."""
        self.status = ""
        """What it said about itself last."""
        self.verdict = ""
        """Why we ended it without being asked to."""
        self._order = order
        self._loop = loop
        self._notices = _listen(order.notices)
        try:
            self._process = _spawn(order)
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            self._close_notices()
            raise
        loop.add_reader(self._notices, self._hear)
        loop.add_reader(self._pidfd, self._reap)
        self._alarm = loop.call_later(READY_WITHIN, self._condemn, f"not ready within {READY_WITHIN:g} s")

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process and to no other; harmless when it has ended."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while notice := self._notices.recv(LARGEST):
                for line in notice.decode(errors="replace").splitlines():
                    self._understand(line)

    def _understand(self, line: str) -> None:
        key, _, value = line.partition("=")
        if key == "READY" and not self.ready.done():
            self.ready.set_result(None)
        if key in {"READY", "WATCHDOG"}:
            self._alarm.cancel()
            limit = self._order.watchdog
            self._alarm = self._loop.call_later(
                limit, self._condemn, f"hung: no sign of life for {limit:g} s"
            )
        elif key == "STOPPING":
            self._alarm.cancel()  # how long that takes is not for us to say
        elif key == "STATUS":
            self.status = value

    def _condemn(self, verdict: str) -> None:
        alarm = self._alarm
        self._hear()  # it may have said something while we were stopped ourselves (Ctrl-Z)
        if self._alarm is not alarm or alarm.cancelled():
            return
        self.verdict = verdict
        self.signal(signal.SIGKILL)

    def _reap(self) -> None:
        code = self._process.poll()
        if code is None:
            return
        self._hear()  # its last words
        self._alarm.cancel()
        self._loop.remove_reader(self._notices)
        self._loop.remove_reader(self._pidfd)
        self._close_notices()
        os.close(self._pidfd)
        self.ended.set_result(code)
        if not self.ready.done():
            self.ready.cancel()

    def _close_notices(self) -> None:
        self._notices.close()
        self._order.notices.unlink(missing_ok=True)


def _listen(path: Path) -> socket.socket:
    """Make a socket of its own for each process: nothing that a former one said is taken for this one's."""
    path.unlink(missing_ok=True)
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        notices.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError:
        notices.close()
        raise
    return notices


def _spawn(order: Order) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, so that the terminal's Ctrl-C reaches `bus up` alone."""
    command = [sys.executable, "-P", "-m", order.module, "-c", order.config]
    stderr = None
    if order.log:
        stderr = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=_environment(order, os.environ),
            start_new_session=True,
        )
    finally:
        if stderr is not None:
            os.close(stderr)


def _environment(order: Order, ours: Mapping[str, str]) -> dict[str, str]:
    kept = {
        key: value for key, value in ours.items() if not key.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))
    }
    return kept | {
        "NOTIFY_SOCKET": os.fspath(order.notices),
        "WATCHDOG_USEC": str(int(order.watchdog * 1e6)),
        PARENT_VARIABLE: str(os.getpid()),
    }
