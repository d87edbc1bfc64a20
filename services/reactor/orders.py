"""What a fork server is told about a tenant that it shall start."""

import os

from bus.events import PackageReleased
from bus.settings import Settings
from services.reactor import environment
from services.reactor.actions import Process, Spawn
from services.reactor.link import Message
from services.reactor.tenantbus_fork import page

MICRO = 1_000_000


class Places:
    """Where a tenant's files are."""

    def __init__(self, settings: Settings, tenant: str) -> None:
        self.directory = settings.tenants_dir / tenant
        self.log = self.directory / "log" / "output.log"
        self.pid = self.directory / "run" / "pid"
        """A plain number, for people."""
        self.process = self.directory / "run" / "process.json"
        """What that process is, for us."""
        self.page = settings.score_page(tenant)

    def prepare(self) -> None:
        """Make what a process needs; raises FileNotFoundError when the tenant's directory is gone."""
        for directory in (self.log.parent, self.pid.parent):
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


def write(settings: Settings, order: Spawn, package: PackageReleased, port: int, places: Places) -> Message:
    """Put the order together; raises FileError for secrets and passwords that cannot be read."""
    command = environment.command(package, order.tenant, port)
    return {
        "tenant": order.tenant,
        "release": order.release,
        "plan": order.settings.plan,
        "database": order.database,
        "stamp": order.stamp,
        "port": port,
        "settings": order.settings.env,
        "env": environment.for_tenant(settings, order, port, places.directory),
        "limits": environment.limits(settings.tenants.limits, order.settings.limits),
        "command": command,
        "watchdog": int(settings.checks.stuck_after * MICRO) if command else 0,
        "directory": str(places.directory),
        "log": str(places.log),
        "pid_file": str(places.pid),
        "process_file": str(places.process),
    }
