"""What should run, found another way: from the journal alone, read in order once everything is over."""

from dataclasses import dataclass, field

from bus.events import (
    AnyEvent,
    DbDegraded,
    DbDown,
    DbDrainRequested,
    DbMisconfigured,
    DbUndrainRequested,
    DbUp,
    PackageReleased,
    PackageWithdrawn,
    RestartRequested,
    StartRequested,
    StopRequested,
    UserAdded,
    UserDeleted,
    UserModified,
)
from services.reactor.state import Gone, Replacing, Running, Sleeping, Stopped, Waiting
from tests.unit.services.reactor.world import DATABASES, World


@dataclass
class Truth:
    """What was said last about one tenant, and about what it shares with others."""

    wish: UserAdded | UserModified | None = None
    request: StartRequested | StopRequested | RestartRequested | None = None
    asked: int = 0
    databases: dict[str, AnyEvent] = field(default_factory=dict)
    drained: set[str] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)

    def read(self, seq: int, event: AnyEvent, name: str) -> None:
        match event:
            case UserAdded() | UserModified() if event.tenant == name:
                self.wish = event
            case UserDeleted() if event.tenant == name:
                self.wish, self.request, self.asked = None, None, 0
            case StartRequested() | StopRequested() | RestartRequested() if event.tenant == name:
                self.request = event
                self.asked = seq if isinstance(event, RestartRequested) else 0
            case DbUp() | DbDegraded() | DbDown() | DbMisconfigured():
                self.databases[event.database] = event
            case DbDrainRequested():
                self.drained.add(event.database)
            case DbUndrainRequested():
                self.drained.discard(event.database)
            case PackageReleased():
                self.releases.add(event.release)
            case PackageWithdrawn():
                self.releases.discard(event.release)
            case _:
                pass

    @property
    def wanted(self) -> bool:
        if self.wish is None or isinstance(self.request, StopRequested):
            return False
        return self.wish.settings.start != "manual" or self.request is not None

    @property
    def allowed(self) -> tuple[str, ...]:
        return (self.wish.settings.databases if self.wish else None) or DATABASES

    @property
    def can_start(self) -> bool:
        pinned = self.wish and self.wish.settings.pinned
        releases = self.releases & {f"shop-{pinned}"} if pinned else self.releases
        return bool(releases) and any(
            isinstance(self.databases[name], DbUp | DbDegraded) for name in self.allowed
        )

    def is_good(self, database: str) -> bool:
        """Tell whether there is no reason to leave a database for another one that is good, too."""
        event = self.databases[database]
        takes_writes = isinstance(event, DbUp) or (isinstance(event, DbDegraded) and event.writable)
        return takes_writes and database not in self.drained


def check(world: World, name: str) -> None:
    """Compare what runs with the truth."""
    truth = Truth()
    for seq, event in world.journal:
        truth.read(seq, event, name)
    programs, tenant = world.processes.get(name, []), world.tenants.get(name)
    assert len(programs) <= 1
    assert tenant is None or tenant.leaving is None
    program = programs[0] if programs else None
    if truth.wish is None or not truth.wanted:
        assert program is None
        assert tenant is None or isinstance(tenant.state, Stopped | Gone)
        return
    assert tenant is not None
    if isinstance(tenant.state, Sleeping):
        assert truth.wish.settings.start == "on-demand"
        assert program is None
        assert name in world.listening
        assert name not in world.visitors
        return
    if program is None:
        assert isinstance(tenant.state, Waiting)
        assert not truth.can_start
        return
    if isinstance(tenant.state, Replacing):  # it serves on what was wanted before
        assert isinstance(tenant.state.new, Waiting)
        assert tenant.state.old.run.process == program.process
        assert program.ready
        assert not truth.can_start
        return
    assert isinstance(tenant.state, Running)
    assert tenant.state.run.process == program.process
    assert program.ready
    order, settings = program.order, truth.wish.settings
    assert order.database in truth.allowed
    assert order.database == tenant.database == tenant.state.run.target.database
    used = truth.databases[order.database]
    assert not isinstance(used, DbDown)
    if isinstance(used, DbUp | DbDegraded) and not truth.is_good(order.database):
        assert not any(truth.is_good(database) for database in truth.allowed)
    assert order.settings.env == settings.env
    assert not settings.pinned or order.release == f"shop-{settings.pinned}"
    assert int(order.stamp.split("@")[1]) >= truth.asked
