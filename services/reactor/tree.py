"""Everything that a tenant's process has started, also what has left its session and lost its parents."""

import os
import signal
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from services.reactor import identity
from services.reactor.actions import Process
from services.reactor.tenantbus_fork import kernel

TRIES = 3
"""Times that the children of a process are read while its threads, who have them, come and go."""


LOOKS = 100
"""Times that a process is looked at while it execs, which takes a millisecond."""


class Marks(NamedTuple):
    """How a process is known for a tenant's when its parents are gone: what it has inherited."""

    tenant: str
    run: Path
    page: Path
    pid: int = 0
    """Of the process; another one of the same tenant may run beside it."""
    uid: int = 0
    """Its user, if no other tenant has it, and no other process of this one."""

    def are_on(self, pid: int) -> bool:
        """Look for the tenant's user, environment (kept over exec) and score page (kept over fork)."""
        try:
            if self.uid and kernel.user(pid) == self.uid:
                return True
            for _ in range(LOOKS):
                environment = Path(f"/proc/{pid}/environ").read_bytes()
                maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
                if self._are_in(environment) or any(map(self._writes_page, maps.splitlines())):
                    return True
                again = Path(f"/proc/{pid}/environ").read_bytes()
                if (
                    not maps or environment == again != b""
                ):  # there was no exec, in which neither tells a thing
                    return False
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass
        return False

    def _are_in(self, environment: bytes) -> bool:
        variables = environment.split(b"\0")
        ours = {f"TENANT={self.tenant}".encode(), f"TENANT_PID={self.pid}".encode()}
        notify = f"NOTIFY_SOCKET=@{self.run}/fork/".encode()
        return ours <= set(variables) and any(value.startswith(notify) for value in variables)

    def _writes_page(self, line: str) -> bool:
        """Tell of a line of proc_pid_maps(5); who only reads the page, as the dispatcher does, is no kin."""
        permissions = line.split(" ", 2)[1]
        return "w" in permissions and line.removesuffix(" (deleted)").endswith(f" {self.page}")


class Kin(NamedTuple):
    parent: int
    session: int
    started: int


class Snapshot:
    """The processes there are, each looked at once, when somebody first asks for it.

    `known` are the pids of all tenants and fork servers. It is for a moment only: for all who ask in it.
    """

    def __init__(self, known: Collection[int]) -> None:
        self.known = frozenset(known)
        self._kin: dict[int, Kin | None] = {}
        self._children: dict[int, set[int] | None] = {}
        self._all: dict[int, Kin] | None = None

    def kin(self, pid: int) -> Kin | None:
        """Tell of one process; None when it has ended."""
        if pid not in self._kin:
            fields = kernel.stat(pid)
            if not fields or kernel.has_ended(fields):
                self._kin[pid] = None
            else:
                self._kin[pid] = Kin(int(fields[1]), int(fields[3]), int(fields[19]))
        return self._kin[pid]

    def all(self) -> dict[int, Kin]:
        """Tell of all processes that have not ended: ten thousand take a third of a second."""
        if self._all is None:
            pids = map(int, filter(str.isdigit, os.listdir("/proc")))  # noqa: PTH208  # Paths are slow
            self._all = {pid: kin for pid in pids if (kin := self.kin(pid))}
        return self._all

    def near(self, roots: Iterable[int], fork_server: int) -> dict[int, Kin] | None:
        """Tell of some processes, what is below them, and what nobody known has left to their fork server.

        Whatever a tenant leaves behind becomes its fork server's child (PR_SET_CHILD_SUBREAPER, prctl(2)), so
        that nobody else need be looked at. None where that cannot be told.
        """
        found: dict[int, Kin] = {}
        waiting, seen = set(roots), set[int]()
        while True:
            while waiting:
                pid = waiting.pop()
                seen.add(pid)
                kin, below = self.kin(pid), self.children(pid)
                if kin:
                    found[pid] = kin
                if below is None and kernel.started(pid):
                    return None
                waiting |= (below or set()) - seen
            left = self.children(fork_server)  # last, since who loses its parent meanwhile comes here
            if left is None:
                return None
            waiting = left - self.known - seen
            if not waiting:
                return found

    def children(self, pid: int) -> set[int] | None:
        """Tell the children of all threads of a process; None when it is gone, or that cannot be told."""
        if pid not in self._children:
            self._children[pid] = _children(pid)
        return self._children[pid]


def members(
    snapshot: Snapshot, main: Process, fork_server: int, marks: Marks, held: Collection[int] = ()
) -> list[Process]:
    """Tell what lives of a tenant.

    `fork_server` is the pid of its parent, 0 if that is gone; `held` are those that the kernel counts as this
    tenant's. Once the main process is gone, its session's number alone proves nothing: it may be somebody
    else's.
    """
    others = snapshot.known - {main.pid}
    itself = snapshot.kin(main.pid)
    alive = itself is not None and itself.started == main.started
    found = {main.pid} if alive else set()
    table = snapshot.near({*found, *held}, fork_server) if fork_server else None
    if table is None:
        table = snapshot.all()
    found |= {
        pid
        for pid, kin in table.items()
        if kin.session == main.pid and (alive or kin.parent == fork_server != 0)
    }
    found |= table.keys() & set(held)
    found |= set(_below(found, table))
    strangers = table.keys() - found - others - {os.getpid()}
    found |= {pid for pid in strangers if marks.are_on(pid)}
    found |= set(_below(found, table))
    return [Process(pid=pid, started=table[pid].started, boot=identity.boot_id()) for pid in found - others]


def _below(roots: Collection[int], table: dict[int, Kin]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, kin in table.items():
        children.setdefault(kin.parent, []).append(pid)
    waiting = list(roots)
    while waiting:
        below = children.pop(waiting.pop(), [])
        yield from below
        waiting += below


def _children(pid: int) -> set[int] | None:
    for _ in range(TRIES):
        found: set[int] = set()
        try:
            threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
            for thread in threads:
                text = Path(f"/proc/{pid}/task/{thread}/children").read_text(encoding="ascii")
                found.update(map(int, text.split()))
            if os.listdir(f"/proc/{pid}/task") == threads:  # noqa: PTH208
                return found
        except (FileNotFoundError, ProcessLookupError):
            continue
    return None


def kill(processes: Collection[Process]) -> None:
    """End them at once; who is gone already, or somebody else by now, is left alone."""
    for process in processes:
        identity.send(process, signal.SIGKILL)
