"""The reactor's end of the connection to one fork server."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from bus.events import PackageReleased
from services.reactor import environment, identity
from services.reactor.actions import Process
from services.reactor.tenantbus_fork import wire
from services.reactor.tenantbus_fork.wire import Outbox

PROGRAM = Path(__file__).parent / "forkserver.py"
BACKLOG = 4

Message = dict[str, Any]
Heard: TypeAlias = "Callable[[Link, Message, list[int]], None]"


class Link:
    """Sends messages in order and tells what comes back; the last that comes is {"say": "lost"}."""

    def __init__(
        self,
        peer: socket.socket,
        heard: Heard,
        release: str = "",
        stamp: str = "",
        process: Process | None = None,
    ) -> None:
        self.release, self.stamp, self.process = release, stamp, process
        """Known from the start of one that we started, else when it has said hello."""
        self.socket = ""
        """Path of its control socket, as it says."""
        self.broken = ""
        """Why the release can never run."""
        self.hung = ""
        """Why it was killed."""
        self.listed = asyncio.Event()
        """Set when the fork server has told all that it had, and when it is gone."""
        self.gone = asyncio.Event()
        self.tenants: set[str] = set()
        """Whose processes or sockets it has, or is about to get."""
        self.peer = peer
        self._outbox = Outbox(peer)
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        peer.setblocking(False)
        self._loop.add_reader(peer, self._read)

    @property
    def worked(self) -> bool:
        """Tell whether it has imported what there is to import, and told us so."""
        return bool(self.socket) and not self.broken

    def ask(self, verb: str, descriptors: Sequence[int] = (), **message: Any) -> None:
        """Send a message; raises wire.MessageTooLongError. That the fork server is gone is told otherwise."""
        if self.gone.is_set():
            return
        self._note_tenants(verb, message)
        with contextlib.suppress(ConnectionError):  # which reading tells of, after all that was said before
            self._outbox.send({"ask": verb, **message}, descriptors)
        self._write()

    def close(self) -> None:
        """Let go of the fork server, which goes on; harmless when repeated."""
        if self.peer.fileno() >= 0:
            self._loop.remove_reader(self.peer)
            self._loop.remove_writer(self.peer)
            self.peer.close()
            self._outbox.close()

    def _write(self) -> None:
        with contextlib.suppress(ConnectionError):  # which reading tells of, after all that was said before
            self._outbox.flush()
            if self._outbox:
                self._loop.add_writer(self.peer, self._write)
            else:
                self._loop.remove_writer(self.peer)

    def _read(self) -> None:
        while self.peer.fileno() >= 0:
            try:
                received = wire.receive(self.peer)
            except BlockingIOError:
                return
            except ConnectionError:
                received = None
            if received is None:
                self.hang_up()
                return
            self._take(*received)

    def _take(self, message: Message, descriptors: list[int]) -> None:
        if message["say"] == "hello":
            self._greet(message)
        elif message["say"] == "all":
            self.listed.set()
        else:
            self._note_tenants(message["say"], message)
            self._heard(self, message, descriptors)

    def _note_tenants(self, what: str, message: Message) -> None:
        """Learn from what is said, on either side, whom it has from then on."""
        match what:
            case "spawn" | "have":
                self.tenants.add(message["tenant"])
            case "keep" | "kept":
                self.tenants.update(tenant for tenant, *_ in message["kept"])
            case "drop":
                self.tenants.discard(message["tenant"])
            case _:
                pass

    def _greet(self, hello: Message) -> None:
        self.release, self.stamp, self.socket = hello["release"], hello["stamp"], hello["socket"]
        self.process = Process(pid=hello["pid"], started=hello["started"], boot=hello["boot"])
        self.broken = hello.get("broken", "")
        if self.broken:
            self.hang_up()

    def hang_up(self) -> None:
        """Count the fork server as gone, which is told; harmless when repeated."""
        if self.gone.is_set():
            return
        self.close()
        self.gone.set()
        self.listed.set()
        self._heard(self, {"say": "lost"}, [])


def connect(path: Path) -> socket.socket | None:
    """Connect to a fork server; None when none is there."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    peer.setblocking(False)
    try:
        peer.connect(str(path))
    except OSError:
        peer.close()
        return None
    return peer


def listener(path: str) -> Process | None:
    """Tell who listens there, if it is a fork server that lives (SO_PEERCRED, unix(7)).

    A connection of its own tells: one from before the fork server had begun names whoever started it.
    """
    peer = connect(Path(path))
    if peer is None:
        return None
    with peer:
        pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    process = identity.identify(pid)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return process if os.fsencode(path) in words and identity.identify(pid) == process else None


def start(
    path: Path, log: Path, package: PackageReleased, environ: Mapping[str, str]
) -> tuple[int, socket.socket]:
    """Start the release's fork server; gives its pid and a connection that it will find when it is ready.

    Raises OSError when the interpreter cannot be started.
    """
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen(BACKLOG)
        pid = _spawn(path, log, package, environ, listener)
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(str(path))
    return pid, peer


def _spawn(
    path: Path, log: Path, package: PackageReleased, environ: Mapping[str, str], listener: socket.socket
) -> int:
    words = [environment.interpreter(package), "-I", str(PROGRAM)]
    words += ["--release", package.release, "--path", package.path, "--stamp", package.stamp]
    words += ["--socket", str(path)]
    if package.settings.entry:
        words += ["--entry", package.settings.entry]
    return os.posix_spawn(
        words[0],
        words,
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, listener.fileno(), 3),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[number for number in signal.Signals if number not in {signal.SIGKILL, signal.SIGSTOP}],
    )
