"""Everything that a tenant's process has started, also what has left its session and lost its parents."""

import os
import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from services.reactor import identity
from services.reactor.actions import Process
from services.reactor.tenantbus_fork import kernel


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
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            ours = {f"TENANT={self.tenant}".encode(), f"TENANT_PID={self.pid}".encode()}
            notify = f"NOTIFY_SOCKET=@{self.run}/fork/".encode()
            if ours <= set(environment) and any(value.startswith(notify) for value in environment):
                return True
            maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        return any(map(self._writes_page, maps.splitlines()))

    def _writes_page(self, line: str) -> bool:
        """Tell of a line of proc_pid_maps(5); who only reads the page, as the dispatcher does, is no kin."""
        permissions = line.split(" ", 2)[1]
        return "w" in permissions and line.removesuffix(" (deleted)").endswith(f" {self.page}")


class Kin(NamedTuple):
    parent: int
    session: int
    started: int


def living() -> dict[int, Kin]:
    """Tell all processes that have not ended."""
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208  # ten thousand Paths are slow
        fields = kernel.stat(pid)
        if fields and not kernel.has_ended(fields):
            found[pid] = Kin(int(fields[1]), int(fields[3]), int(fields[19]))
    return found


def members(
    main: Process, parent: int, marks: Marks, others: Collection[int], held: Collection[int] = ()
) -> list[Process]:
    """Tell what lives of a tenant.

    `parent` is the pid of its fork server, 0 if that is gone; `others` are pids of processes known for
    something else: tenants and fork servers; `held` those that the kernel counts as this tenant's. Once the
    main process is gone, its session's number alone proves nothing: it may be somebody else's.
    """
    table = living()
    alive = main.pid in table and table[main.pid].started == main.started
    found = {main.pid} if alive else set()
    found |= {
        pid for pid, kin in table.items() if kin.session == main.pid and (alive or kin.parent == parent != 0)
    }
    found |= table.keys() & set(held)
    found |= set(_below(found, table))
    strangers = table.keys() - found - set(others) - {os.getpid()}
    found |= {pid for pid in strangers if marks.are_on(pid)}
    found |= set(_below(found, table))
    return [
        Process(pid=pid, started=table[pid].started, boot=identity.boot_id()) for pid in found - set(others)
    ]


def _below(roots: Collection[int], table: dict[int, Kin]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, kin in table.items():
        children.setdefault(kin.parent, []).append(pid)
    waiting = list(roots)
    while waiting:
        below = children.pop(waiting.pop(), [])
        yield from below
        waiting += below


def may_have_orphans(fork_server: int, known: Collection[int]) -> bool:
    """Tell quickly whether a fork server has children that are no tenants: only then is a search needed.

    Whatever a tenant leaves behind becomes its fork server's child (PR_SET_CHILD_SUBREAPER, prctl(2)).
    """
    try:
        children = Path(f"/proc/{fork_server}/task/{fork_server}/children").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return any(int(pid) not in known for pid in children.split())


def kill(processes: Collection[Process]) -> None:
    """End them at once; who is gone already, or somebody else by now, is left alone."""
    for process in processes:
        identity.send(process, signal.SIGKILL)
