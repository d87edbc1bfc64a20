"""What a fork server is told about a tenant that it shall start."""

import os

import msgspec

from bus.events import PackageReleased
from bus.settings import Settings
from services.reactor import environment
from services.reactor.actions import Process, Spawn
from services.reactor.isolation import Rights
from services.reactor.link import Message
from services.reactor.tenantbus_fork import page
from services.reactor.users import User

MICRO = 1_000_000


class Places:
    """Where a tenant's files are."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        self.settings = settings
        self.directory = settings.tenants_dir / tenant
        self.log = self.directory / "log" / "output.log"
        self.pid = self.directory / "run" / "pid"
        """A plain number, for people."""
        self.process = self.directory / "run" / "process.json"
        """What that process is, for us."""
        self.data = self.directory / "data"
        """What the tenant may write."""
        self.page = settings.score_page(tenant)

    def prepare(self) -> None:
        """Make what a process needs; raises FileNotFoundError when the tenant's directory is gone."""
        for directory in (self.log.parent, self.pid.parent, self.data):
            directory.mkdir(mode=0o700, exist_ok=True)
        if not self.page.exists():  # who has it mapped keeps it over all the tenant's processes
            draft = self.page.with_name(f".{self.page.name}")
            draft.write_bytes(bytes(page.SIZE))
            draft.chmod(0o600)
            draft.rename(self.page)

    def open_page(self) -> int:
        return os.open(self.page, os.O_RDWR | os.O_CLOEXEC)

    def note(self, **slots: int) -> None:
        """Write single numbers on the score page, if it is still there."""
        try:
            descriptor = self.open_page()
        except FileNotFoundError:
            return
        try:
            page.put(descriptor, **slots)
        finally:
            os.close(descriptor)

    def is_ready(self, process: Process) -> bool:
        """Tell whether the score page says that this process serves."""
        try:
            numbers = memoryview(self.page.read_bytes()).cast("Q")
        except OSError:
            return False
        return bool(
            (numbers[page.PID], numbers[page.STARTED]) == (process.pid, process.started)
            and numbers[page.READY_AT]
        )


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
        "pid_file": str(places.pid),
        "process_file": str(places.process),
    }
