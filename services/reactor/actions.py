"""What goes in and out of `decide`: events from the bus, news of our own processes, what is to be done.

News and actions never cross the bus: news of processes must come in order and at once, and others hear of
it later, by events.
"""

from typing import TypeAlias

from msgspec import Struct

from bus.events import (
    AnyEvent,
    DbCaughtUp,
    DbDegraded,
    DbDown,
    DbDrainRequested,
    DbMisconfigured,
    DbUndrainRequested,
    DbUp,
    PackageReleased,
    PackageWithdrawn,
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcOversize,
    ProcReady,
    ProcRecovered,
    ProcReplaceFailed,
    ProcSleeping,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcStuck,
    ProcWaiting,
    RestartRequested,
    ServiceUp,
    StartRequested,
    StopRequested,
    TenantIdle,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from bus.model import TenantSettings


class Process(Struct, frozen=True, kw_only=True):
    """The identity of a process: a pid alone is never a reason to signal anything."""

    pid: int
    started: int
    """Kernel start time in clock ticks since boot: field 22 of proc_pid_stat(5)."""
    boot: str
    """/proc/sys/kernel/random/boot_id."""


# ---------------------------------------------------------------- heard on the bus

Request: TypeAlias = StartRequested | StopRequested | RestartRequested
OwnEvent: TypeAlias = (
    ProcStarted
    | ProcReady
    | ProcStopping
    | ProcExited
    | ProcBackoff
    | ProcFatal
    | ProcReplaceFailed
    | ProcSleeping
    | ProcStopped
    | ProcWaiting
    | ProcMoved
)
"""What the reactor itself says; it hears it after its own restart only."""
TenantEvent: TypeAlias = (
    UserAdded
    | UserModified
    | UserDeleted
    | UserInvalid
    | Request
    | ProcStuck
    | ProcRecovered
    | TenantIdle
    | ProcOversize
    | OwnEvent
)
DbVerdict: TypeAlias = DbUp | DbDegraded | DbDown | DbMisconfigured
Drain: TypeAlias = DbDrainRequested | DbUndrainRequested
SharedEvent: TypeAlias = DbVerdict | DbCaughtUp | Drain | PackageReleased | PackageWithdrawn | ServiceUp
"""What concerns all tenants."""


class Heard(Struct, frozen=True, kw_only=True):
    """An event about one tenant, and where it stands in the journal: what overtook it counts more."""

    seq: int
    event: TenantEvent


# ---------------------------------------------------------------- news: what happened to our processes


class News(Struct, frozen=True, kw_only=True):
    tenant: str


class Spawned(News, frozen=True, kw_only=True):
    """The process that a Spawn asked for exists."""

    process: Process
    port: int


class SpawnFailed(News, frozen=True, kw_only=True):
    """No process came of a Spawn."""

    reason: str
    never: bool
    """True when trying again is no use until something changes, such as an entry that does not import."""


class BecameReady(News, frozen=True, kw_only=True):
    """The process said READY=1."""

    process: Process
    switches: bool = False
    """True when it can be told to use another database."""


class Switched(News, frozen=True, kw_only=True):
    """The process uses another database now, as a Switch asked for, maybe long ago."""

    process: Process
    database: str


class NotSwitched(News, frozen=True, kw_only=True):
    """The process cannot be told to use another database, or has not confirmed it in time."""

    process: Process
    reason: str


class Ended(News, frozen=True, kw_only=True):
    """The process is gone, and so is everything that it had started."""

    process: Process
    code: int | None
    """Exit code; None when a signal ended it, or when nobody could see it (its parent was gone)."""
    signal: str
    """Name of the signal that ended it, "" if none."""
    detail: str = ""
    """What else is known of the reason, such as "out of memory (limit 256M)"."""


class Found(News, frozen=True, kw_only=True):
    """A restarted reactor found a tenant's process running."""

    process: Process
    release: str
    database: str
    port: int
    ready: bool
    stamp: str
    """What it runs on: `stamp` of its Spawn, to be kept and given back as it is."""
    stopping: bool = False
    """True when it was told to stop."""
    switches: bool = False
    """True when it can be told to use another database."""


class Knocked(News, frozen=True, kw_only=True):
    """Somebody waits at the tenant's sockets, after a Listen: said once."""


class MayGoBack(News, frozen=True, kw_only=True):
    """A database that has returned has less than its share: the tenant may leave another one for it."""

    source: str
    target: str
    reason: str


class Withdrawn(News, frozen=True, kw_only=True):
    """A Spawn or Switch was withdrawn before anybody acted on it."""


class TimeCame(News, frozen=True, kw_only=True):
    """The moment that a WakeAt asked for."""


AnyNews: TypeAlias = (
    Spawned
    | SpawnFailed
    | BecameReady
    | Switched
    | NotSwitched
    | Ended
    | Found
    | Knocked
    | MayGoBack
    | Withdrawn
    | TimeCame
)
Input: TypeAlias = Heard | AnyNews


# ---------------------------------------------------------------- actions: what is to be done


class Action(Struct, frozen=True, kw_only=True):
    tenant: str


class Spawn(Action, frozen=True, kw_only=True):
    """Start a process for the tenant; answered by Spawned, then BecameReady or Ended, or by SpawnFailed.

    It may wait for its turn, and can be withdrawn as long as it does.
    """

    release: str
    """app-version."""
    database: str
    settings: TenantSettings
    stamp: str
    again: bool = False
    """True when visitors wait, or may: it served a moment ago, or it slept. Its turn comes before others'."""
    comes: bool = False
    """True when the tenant comes to the database from another one, or has waited for it to return."""
    beside: Process | None = None
    """The tenant's process that may still run meanwhile; any other forbids the start."""


class Switch(Action, frozen=True, kw_only=True):
    """Tell the process to use another database; answered by Switched, or by NotSwitched.

    It may wait for its turn, and can be withdrawn as long as it does.
    """

    process: Process
    database: str
    settings: TenantSettings


class Withdraw(Action, frozen=True, kw_only=True):
    """Forget about the Spawn or Switch; answered by Withdrawn, or by its own answer when it was too late."""


class Terminate(Action, frozen=True, kw_only=True):
    """Ask the process to finish its requests and end (SIGTERM); answered by Ended."""

    process: Process


class Kill(Action, frozen=True, kw_only=True):
    """End the process and everything that it has started (SIGKILL); answered by Ended."""

    process: Process


class Listen(Action, frozen=True, kw_only=True):
    """Hold the tenant's sockets, and say Knocked when somebody comes, until the next Spawn."""

    release: str
    """app-version: what is likely to be spawned then."""


class WakeAt(Action, frozen=True, kw_only=True):
    """Say TimeCame at this monotonic time in seconds; a later WakeAt replaces an earlier one."""

    at: float


class Forget(Action, frozen=True, kw_only=True):
    """The tenant is gone for good: close its sockets, remove what we wrote for it."""


class Publish(Action, frozen=True, kw_only=True):
    """Say it on the bus."""

    event: AnyEvent
    spontaneous: bool = False
    """True when nothing on the bus led to this, such as a crash: the chain of causes begins here."""


AnyAction: TypeAlias = Spawn | Switch | Withdraw | Terminate | Kill | Listen | WakeAt | Forget | Publish
