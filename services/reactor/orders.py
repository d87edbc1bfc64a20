"""What a fork server is told about a tenant that it shall start."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from bus.events import PackageReleased
from bus.settings import Settings
from services.reactor import environment, tree
from services.reactor.actions import Process, Spawn
from services.reactor.cgroups import Group
from services.reactor.isolation import Rights
from services.reactor.link import Link, Message
from services.reactor.tenantbus_fork import page
from services.reactor.users import User

log = logging.getLogger(__name__)

MICRO = 1_000_000


class Places:
    """Where the files of a tenant are, and those of one of its processes, which has a key of its own."""

    def __init__(self, settings: Settings, tenant: str, key: str = "") -> None:
        self.settings, self.tenant, self.key = settings, tenant, key
        self.directory = settings.tenants_dir / tenant
        self.log = self.directory / "log" / "output.log"
        self.pid = self.directory / "run" / "pid"
        """A plain number, for people."""
        self.shown = settings.score_page(tenant)
        """The score page of the process that counts, for others to look at."""
        self.page = self.shown.with_name(f".{self.name}")
        """The process's own: two that run side by side never write on one page."""
        self.process = self.directory / "run" / f"process~{key}.json"
        """What that process is, for us."""
        self.data = self.directory / "data"
        """What the tenant may write."""
        self.group: Group | None = None
        """What holds the process to its limits."""

    @property
    def name(self) -> str:
        """Tell a name that no other process has: a tenant may have two of them."""
        return f"{self.tenant}~{self.key}"

    @contextlib.contextmanager
    def prepared(self) -> Iterator[None]:
        """Make the directories that a process needs; what else is made for it goes if it cannot be ordered.

        Raises FileNotFoundError when the tenant's directory is gone.
        """
        for directory in (self.log.parent, self.pid.parent, self.data):
            directory.mkdir(mode=0o700, exist_ok=True)
        try:
            yield
        except BaseException:
            self.remove()
            raise

    def make_page(self) -> int:
        """Make the process's score page; gives a descriptor of it.

        Raises OSError on a full disk: whoever wrote on a page that the disk has no room for would end by it.
        """
        descriptor = os.open(self.page, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, page.SIZE)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def show(self, pid: int) -> None:
        """Let everybody take this process for the tenant's: in one step, so that there is always a page.

        It serves also when that cannot be written down.
        """
        draft = self.shown.with_name(f".{self.shown.name}")
        try:
            if self._is_shown(pid):
                return
            draft.unlink(missing_ok=True)
            draft.hardlink_to(self.page)
            draft.replace(self.shown)
            draft.unlink(missing_ok=True)  # which stays where both names are one file already
            draft = self.pid.with_name(f"{self.pid.name}.new")
            draft.write_text(f"{pid}\n", encoding="ascii")
            draft.replace(self.pid)
        except FileNotFoundError:  # somebody has cleaned up
            return
        except OSError as error:
            log.warning("%s: %s: pid %d of %s is not shown", draft, error.strerror, pid, self.tenant)

    def _is_shown(self, pid: int) -> bool:
        try:
            return self.shown.samefile(self.page) and self.pid.read_text(encoding="ascii") == f"{pid}\n"
        except FileNotFoundError:
            return False

    def marks(self, process: Process) -> tree.Marks:
        """Tell how what the process has started is known."""
        return tree.Marks(self.tenant, self.settings.run_dir, self.page, process.pid)

    def remove(self) -> None:
        """Remove what was the process's own; the page that is shown stays to be looked at."""
        for file in (self.page, self.process):
            file.unlink(missing_ok=True)
        if self.group:
            self.group.remove()

    def ran_out(self) -> str:
        """Tell what the process had too little of, "" when that is not known."""
        return self.group.ran_out() if self.group else ""

    def remove_all(self) -> None:
        """Remove what the tenant and all its processes had."""
        for file in (
            self.shown,
            self.pid,
            *self.shown.parent.glob(f".{self.shown.name}~*"),
            *self.pid.parent.glob("process~*.json"),
        ):
            file.unlink(missing_ok=True)

    def note(self, **slots: int) -> None:
        """Write single numbers on the process's score page, if it is still there."""
        try:
            descriptor = os.open(self.page, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            page.put(descriptor, **slots)
        finally:
            os.close(descriptor)

    def read(self, process: Process, slot: int) -> int:
        """Read a number from the score page, 0 when it is not this process's."""
        try:
            numbers = memoryview(self.page.read_bytes()).cast("Q")
        except OSError:
            return 0
        ours = (numbers[page.PID], numbers[page.STARTED]) == (process.pid, process.started)
        return numbers[slot] if ours else 0

    def find(self, told: "ProcessFile") -> tuple["ProcessFile", bool]:
        """Tell what an orphan of ours runs on, and whether it serves.

        One whose socket nobody finds any more is good for nothing but to be replaced: nothing that is wanted
        has the stamp "".
        """
        if self.settings.http_socket(self.tenant).exists():
            return told, self.read(told.process, page.READY_AT) != 0
        log.warning("%s: somebody has removed the files of pid %d: it is replaced", self.tenant, told.pid)
        return msgspec.structs.replace(told, stamp=""), True


def remove_pages(settings: Settings, kept: Iterable[Places]) -> None:
    """Remove the score pages of all other processes."""
    pages = {places.page for places in kept}
    for file in (settings.run_dir / "score").glob(".*~*"):
        if file not in pages:
            file.unlink(missing_ok=True)


class ProcessFile(msgspec.Struct, frozen=True):
    """tenants/<tenant>/run/process~<key>.json, written by the fork server and never believed alone."""

    tenant: str
    pid: int
    started: int
    boot: str
    release: str
    database: str
    port: int
    stamp: str
    key: str

    @property
    def process(self) -> Process:
        return Process(pid=self.pid, started=self.started, boot=self.boot)


def read_process_file(file: Path) -> ProcessFile | None:
    """Read a process file; None when it is broken, or says that it belongs elsewhere."""
    try:
        told = msgspec.json.decode(file.read_bytes(), type=ProcessFile)
    except (OSError, msgspec.DecodeError):
        return None
    return told if told.tenant == file.parent.parent.name else None


class Asked(NamedTuple):
    """A Spawn that is not answered yet."""

    link: Link
    places: Places
    health: str | None
    """What to ask a program that may not say when it serves."""
    alarm: asyncio.TimerHandle


class RunsAlreadyError(Exception):
    """There is a process for this tenant: a second one is started only to replace it."""


def private(order: Spawn, port: int, places: Places, user: User | None) -> int:
    """Write down what nobody but the tenant may know; gives the descriptor of a file that has no name.

    Raises FileError for secrets and passwords that cannot be read.
    """
    env = environment.for_tenant(places.settings, order, port, places.directory)
    if user:
        env = {"HOME": str(places.data), "USER": user.name, "LOGNAME": user.name, **env}
    descriptor = os.memfd_create("private")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(msgspec.json.encode({"env": env, "settings": order.settings.env}))
    return descriptor


def write(order: Spawn, package: PackageReleased, port: int, places: Places, rights: Rights) -> Message:
    """Put the order together."""
    command = environment.command(package, order.tenant, port)
    return {
        "tenant": order.tenant,
        "release": order.release,
        "plan": order.settings.plan,
        "database": order.database,
        "stamp": order.stamp,
        "port": port,
        "search": order.settings.env.get("PATH", ""),
        "user": (rights.user.uid, rights.user.gid) if rights.user else None,
        "needs": (str(places.directory), package.path) if rights.user else (),
        "cgroups": [str(directory) for directory in rights.group.directories] if rights.group else [],
        "limits": rights.limits,
        "command": command,
        "watchdog": int(places.settings.checks.stuck_after * MICRO) if command else 0,
        "directory": str(places.directory),
        "log": str(places.log),
        "key": places.key,
        "beside": order.beside.pid if order.beside else 0,
        "process_file": str(places.process),
    }
