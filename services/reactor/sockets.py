"""Listening sockets of tenants: opened once, and kept while the tenant is wanted, whatever serves on them."""

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from bus import ports
from bus.settings import Settings
from services.reactor.tenantbus_fork import kernel

log = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that wait while a process is replaced; a unix socket whose backlog is full refuses at once."""

MODE = 0o666
"""Of the unix sockets; who may come near them is up to the directory, which is its owner's alone."""

LISTEN_BEGIN = 3
"""Where tenants have their first socket (sd_listen_fds(3))."""

LOOPBACK = "127.0.0.1"

LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


class SocketError(Exception):
    """A socket cannot be had; says which, and who has it."""


class ClaimedError(SocketError):
    """Two tenants claim the same port: a person has to decide."""


class Held:
    """The sockets of one tenant."""

    def __init__(self, unix: socket.socket, tcp: socket.socket | None, port: int) -> None:
        self.unix, self.tcp, self.port = unix, tcp, port

    @property
    def descriptors(self) -> list[int]:
        return [held.fileno() for held in (self.unix, self.tcp) if held]

    def close(self) -> None:
        self.unix.close()
        if self.tcp:
            self.tcp.close()


class ListeningSockets:
    """What the reactor holds for all tenants."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: dict[str, Held] = {}
        self._owners: dict[int, str] = {}
        """Whose each port is, also of tenants that do not run."""

    def read_claims(self) -> None:
        """Learn the ports that tenants have had, also of those that do not run."""
        if self._settings.tenants.port_range:
            self._owners = ports.owners(self._settings.tenants_dir)

    def open(self, tenant: str, *, listen_on_port: bool, needs_port: bool) -> Held:
        """Tell the tenant's sockets, made when there are none; raises SocketError.

        A program that binds its port itself gets the number only.
        """
        held = self._held.get(tenant)
        path = self._settings.http_socket(tenant)
        if held is None:
            held = self._held[tenant] = Held(_bind_unix(path), None, 0)
        elif not path.exists():  # somebody has cleaned up
            held.unix.close()
            held.unix = _bind_unix(path)
        if self._settings.tenants.port_range is None:
            if needs_port:
                raise SocketError("command: has {port}, and tenants.port_range is not set")
            return held
        if not listen_on_port and held.tcp:
            held.tcp.close()
            held.tcp = None
        if not held.port or (listen_on_port and not held.tcp):
            self._take_port(tenant, held, listen=listen_on_port)
        return held

    def of(self, tenant: str) -> Held:
        """Give the sockets that are held for a tenant; raises KeyError when there are none."""
        return self._held[tenant]

    def take_back(self, tenant: str, port: int, descriptors: Iterable[int]) -> bool:
        """Hold sockets that somebody has kept for us, and tell whether they are good; others are closed."""
        ours: dict[socket.AddressFamily, socket.socket] = {}
        for descriptor in descriptors:
            given = socket.socket(fileno=descriptor)
            if tenant in self._held or given.family in ours or not _listens(given):
                given.close()
            else:
                ours[given.family] = given
        unix, tcp = ours.get(socket.AF_UNIX), ours.get(socket.AF_INET)
        if unix and unix.getsockname() == str(_draft(self._settings.http_socket(tenant))):
            self._held[tenant] = Held(unix, tcp, port)
            if port:
                self._owners[port] = tenant
            return True
        if tenant not in self._held:
            for held in ours.values():
                held.close()
        return False

    def port(self, tenant: str) -> int:
        """Tell a tenant's TCP port, 0 if none."""
        held = self._held.get(tenant)
        return held.port if held else 0

    def place(self, tenant: str) -> Path | int:
        """Tell where a tenant answers: its unix socket, or the port that its program binds itself."""
        held = self._held.get(tenant)
        return held.port if held and held.port and not held.tcp else self._settings.http_socket(tenant)

    def kernel_name(self, tenant: str) -> str:
        """Tell what the kernel calls the tenant's unix socket."""
        return str(_draft(self._settings.http_socket(tenant)))

    def turn_away(self, tenant: str) -> None:
        """Close the connections that wait for a tenant that has no process, and will get none soon."""
        held = self._held.get(tenant)
        for listener in (held.unix, held.tcp) if held else ():
            if listener:
                _turn_away(listener)

    def forget(self, tenant: str) -> None:
        """Close a tenant's sockets and give its port to whoever comes."""
        held = self._held.pop(tenant, None)
        if held:
            held.close()
        self._disown(tenant)
        self._settings.http_socket(tenant).unlink(missing_ok=True)
        self._port_file(tenant).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of our copies; those of others stay open."""
        for held in self._held.values():
            held.close()
        self._held.clear()

    def remove(self) -> None:
        """Let go of our copies, and remove the files of all sockets at which nobody listens any more."""
        self.close()
        for path in (self._settings.run_dir / "http").glob("*.sock"):
            if not _is_served(path):
                path.unlink(missing_ok=True)

    def _disown(self, tenant: str) -> None:
        for port in [port for port, owner in self._owners.items() if owner == tenant]:
            del self._owners[port]

    def _port_file(self, tenant: str) -> Path:
        return ports.file(self._settings.tenants_dir, tenant)

    def _take_port(self, tenant: str, held: Held, *, listen: bool) -> None:
        first, last = self._settings.tenants.port_range or (0, 0)
        kept = self._kept_port(tenant, first, last)
        if kept:
            try:
                held.tcp = _bind_tcp(kept, listen=listen)
            except SocketError as error:
                file = self._port_file(tenant)
                advice = f"it gets another port when {file} is removed"
                raise SocketError(f"{error}{_held_by(kept)}; {advice}") from error
            held.port = kept
            return
        self._disown(tenant)
        for port in range(first, last + 1):
            if port in self._owners:
                continue
            try:
                held.tcp = _bind_tcp(port, listen=listen)
            except SocketError:  # a stranger's: this tenant may as well have the next one
                continue
            held.port = port
            self._owners[port] = tenant
            self._port_file(tenant).parent.mkdir(mode=0o700, exist_ok=True)  # it may never have run
            _write(self._port_file(tenant), f"{port}\n")
            return
        raise SocketError(f"no port is free in tenants.port_range, {first} to {last}")

    def _kept_port(self, tenant: str, first: int, last: int) -> int:
        """Tell the port that the tenant has had, 0 if it needs a new one; raises ClaimedError."""
        file = self._port_file(tenant)
        kept = ports.read(file)
        if not first <= kept <= last:
            if file.exists():
                log.warning("%s: is no port from %d to %d: %s gets a new one", file, first, last, tenant)
            return 0
        owner = self._owners.setdefault(kept, tenant)
        if owner != tenant:
            raise ClaimedError(
                f"{file}: port {kept} is that of {owner}, whose file is older; remove one of the two files"
            )
        return kept


def take_from(pidfd: int) -> list[int]:
    """Copy the listening sockets of a tenant whose parent has died; none where that is not allowed."""
    copies = [kernel.copy_descriptor(pidfd, number) for number in (LISTEN_BEGIN, LISTEN_BEGIN + 1)]
    kept = []
    for copy in filter(None, copies):
        if stat.S_ISSOCK(os.fstat(copy).st_mode):
            kept.append(copy)
        else:
            os.close(copy)
    return kept


def _listens(given: socket.socket) -> bool:
    try:
        return bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _turn_away(listener: socket.socket) -> None:
    """Accept and close all that wait; whether calls on it wait is a property that all its holders share."""
    waits = listener.getblocking()
    listener.setblocking(False)
    try:
        for _ in range(BACKLOG + 1):
            listener.accept()[0].close()
    except OSError as error:
        if error.errno != errno.EAGAIN:
            log.warning("%s: %s", listener.getsockname(), error.strerror)
    finally:
        listener.setblocking(waits)


def _bind_unix(path: Path) -> socket.socket:
    """Bind at another name and rename, so that there is no moment without a socket at `path`."""
    if _is_served(path):
        raise SocketError(f"{path}: another process listens on it")
    draft = _draft(path)
    draft.unlink(missing_ok=True)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        unix.bind(str(draft))
        draft.chmod(MODE)
        unix.listen(BACKLOG)
        draft.rename(path)
    except OSError as error:
        unix.close()
        raise SocketError(f"{path}: {error.strerror or error}") from error
    return unix


def _draft(path: Path) -> Path:
    """Tell the name at which a tenant's socket is bound; the kernel goes on to call it so."""
    return path.with_name(f".{path.name[:-5]}")


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) in {0, errno.EAGAIN}


def _bind_tcp(port: int, *, listen: bool) -> socket.socket | None:
    """Listen on a loopback port, or only see that it is free; raises SocketError."""
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((LOOPBACK, port))
        if listen:
            tcp.listen(BACKLOG)
            return tcp
    except OSError as error:
        tcp.close()
        raise SocketError(f"port {port}: {error.strerror}") from error
    tcp.close()
    return None


def _held_by(port: int) -> str:
    """Name the process that has a port, as far as /proc tells (proc_pid_fd(5), /proc/net/tcp).

    It looks at all descriptors of all processes: 15,000 take a quarter of a second.
    """
    inodes: dict[str, bool] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            for fields in map(str.split, Path(table).read_text(encoding="ascii").splitlines()[1:]):
                if int(fields[1].rpartition(":")[2], 16) == port:
                    inodes[f"socket:[{fields[9]}]"] = fields[3] == LISTENING
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            listens = inodes.get(str(link.readlink()))
            if listens is None:
                continue
            name = (link.parents[1] / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # it ended, or is not ours to look at
            continue
        how = "has it" if listens else "has a connection from it"
        return f", pid {link.parts[2]} ({name}) {how}"
    return ""


def _write(file: Path, text: str) -> None:
    draft = file.with_name(f"{file.name}.new")
    draft.write_text(text, encoding="ascii")
    draft.replace(file)
