"""Every event there is: the protocol between the services. Read this first.

Each class is one fact, said by one speaker, about one subject. Its name on the wire is the class name in
capitals (`UserAdded` is USER_ADDED). `family` groups the events of which only the newest per subject tells
the present (see `Bus.latest`). Adding a class to the union `AnyEvent` is all it takes to add an event.
"""

import re
from typing import ClassVar, Literal, TypeAlias, get_args

from msgspec import Struct

from bus import words
from bus.model import PackageSettings, TenantSettings


def wire_name(class_name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).upper()


class Event(Struct, frozen=True, kw_only=True, tag_field="type", tag=wire_name):
    """What all events share; itself never sent."""

    family: ClassVar[str]
    speaker: ClassVar[str]
    subject_field: ClassVar[str]

    @property
    def type(self) -> str:
        return wire_name(type(self).__name__)

    @property
    def subject(self) -> str:
        return str(getattr(self, self.subject_field))


# ---------------------------------------------------------------- tenants, as their directory has them


class UserEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "USER"
    speaker: ClassVar[str] = "pathwatch"
    subject_field: ClassVar[str] = "tenant"

    tenant: words.TenantName


class UserPresent(UserEvent, frozen=True, kw_only=True):
    path: words.Directory
    settings: TenantSettings
    stamp: words.Stamp
    """Changes whenever tenant.toml or secrets.env changes; tells nothing about their content."""
    secrets: str = ""
    """Changes whenever secrets.env alone changes; "" when that cannot be told apart from `stamp`."""


class UserAdded(UserPresent, frozen=True, kw_only=True):
    """A tenant's directory holds a valid tenant.toml for the first time, or again after it was deleted."""


class UserModified(UserPresent, frozen=True, kw_only=True):
    """A known tenant's settings or secrets changed, or became valid again."""


class UserDeleted(UserEvent, frozen=True, kw_only=True):
    """A tenant's directory, or its tenant.toml, is gone."""


class UserInvalid(UserEvent, frozen=True, kw_only=True):
    """A tenant's directory cannot be used as it is; a running tenant keeps its last good settings."""

    file: words.File
    key: words.Key
    line: words.Line
    reason: words.Reason
    stamp: words.Stamp


# ---------------------------------------------------------------- releases of applications


class PackageEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "PACKAGE"
    speaker: ClassVar[str] = "pathwatch"
    subject_field: ClassVar[str] = "release"

    release: words.ReleaseName


class PackageReleased(PackageEvent, frozen=True, kw_only=True):
    """A release directory holds a valid package.toml, new or changed."""

    app: words.AppName
    version: words.Version
    path: words.Directory
    settings: PackageSettings
    stamp: words.Stamp


class PackageWithdrawn(PackageEvent, frozen=True, kw_only=True):
    """A release directory, or its package.toml, is gone; what runs from it runs on."""


class PackageInvalid(PackageEvent, frozen=True, kw_only=True):
    """A release directory cannot be used as it is."""

    file: words.File
    key: words.Key
    line: words.Line
    reason: words.Reason
    stamp: words.Stamp


# ---------------------------------------------------------------- our own settings


class SettingsEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "SETTINGS"
    speaker: ClassVar[str] = "pathwatch"
    subject_field: ClassVar[str] = "file"

    file: words.File


class SettingsChanged(SettingsEvent, frozen=True, kw_only=True):
    """tenantbus.toml changed and is valid; services read it when they are next started."""

    stamp: words.Stamp


class SettingsInvalid(SettingsEvent, frozen=True, kw_only=True):
    """tenantbus.toml changed and is not valid; everything goes on with the last good settings."""

    key: words.Key
    line: words.Line
    reason: words.Reason
    stamp: words.Stamp


# ---------------------------------------------------------------- databases


class DbEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "DB"
    speaker: ClassVar[str] = "dbwatch"
    subject_field: ClassVar[str] = "database"

    database: words.DatabaseName
    reason: words.Reason
    """What answered, or why it is not up."""
    latency: float = 0.0
    """Seconds that the check took."""
    since: float = 0.0
    """Wall clock, seconds since the epoch: when this state began; 0 when it did with this event."""


class DbAnswers(DbEvent, frozen=True, kw_only=True):
    """What a check read from a database that answers. Said again when `headroom` has changed much."""

    headroom: int | None = None
    """Connections that it can take besides those that are open; None when that is not known."""
    connections: int | None = None
    """Open connections; None when that is not known."""
    replication: str = ""
    """How it follows others, in words; "" when it follows nobody, or may not be asked."""
    lag: float | None = None
    """Seconds that it is behind; None when it follows nobody, or when nobody knows."""
    galera: str = ""
    """Its place in a Galera cluster, in words; "" when it is in none."""


class DbUp(DbAnswers, frozen=True, kw_only=True):
    """A database answers, and everything about it is as it should be."""


Ailment: TypeAlias = Literal[
    "read-only",
    "disk-full",
    "locked",
    "not-writable",
    "replication-broken",
    "lagging",
    "donor",
    "nearly-full",
    "slow",
]
"""What may be wrong with a database that answers."""


class DbDegraded(DbAnswers, frozen=True, kw_only=True):
    """A database answers, but not as it should."""

    kinds: tuple[Ailment, ...]
    """All that is wrong, the worst first; `reason` tells it in words."""
    writable: bool
    """False when nothing can be written to it."""


class DbDown(DbEvent, frozen=True, kw_only=True):
    """A database does not answer, or answers with an error of its own."""


class DbMisconfigured(DbEvent, frozen=True, kw_only=True):
    """The database refuses our settings (user, password, schema): a settings error, not an outage."""

    key: words.Key


class DbCaughtUp(Event, frozen=True, kw_only=True):
    """Whether a database has all that was last seen of one that went down; said again once it has."""

    family: ClassVar[str] = "SYNC"
    speaker: ClassVar[str] = "dbwatch"
    subject_field: ClassVar[str] = "source"

    source: words.DatabaseName
    """The database that went down."""
    target: words.DatabaseName
    """The one that may have everything."""
    caught_up: bool | None
    """None when it cannot be known: no GTIDs, not related, or nothing was seen of the source."""
    reason: words.Reason
    wanted: str = ""
    """Position of the source that was seen last: GTIDs, or the cluster's id and the last one committed."""
    reached: str = ""
    """Position of the target."""


class DbRecheckRequested(Event, frozen=True, kw_only=True):
    """Somebody wants a database checked anew, by a new watchdog; answered by its state, said again."""

    family: ClassVar[str] = "RECHECK"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "database"

    database: words.DatabaseName
    by: words.Asker


class DrainEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "DRAIN"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "database"

    database: words.DatabaseName
    by: words.Asker


class DbDrainRequested(DrainEvent, frozen=True, kw_only=True):
    """Somebody wants a database without tenants: those on it move, no others come, until it is undrained."""


class DbUndrainRequested(DrainEvent, frozen=True, kw_only=True):
    """Somebody wants a database to be used again; nobody moves for that."""


# ---------------------------------------------------------------- tenant processes


class ProcEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "PROC"
    speaker: ClassVar[str] = "reactor"
    subject_field: ClassVar[str] = "tenant"

    tenant: words.TenantName
    pid: words.Pid = 0
    release: words.ReleaseName = ""
    database: words.DatabaseName = ""
    port: words.Port = 0
    restarts: int = 0
    """Starts that nobody asked for, since the tenant was added."""
    reason: words.Reason = ""
    serving: int = 0
    """pid of the tenant's process that serves, when this is about another one that comes or goes."""


class ProcStarted(ProcEvent, frozen=True, kw_only=True):
    """A process was started for the tenant; it does not serve yet."""

    started: words.Started = 0


class ProcReady(ProcEvent, frozen=True, kw_only=True):
    """The tenant's process serves."""

    started: words.Started = 0
    adopted: bool = False
    """True when a restarted reactor found the process running."""


class ProcStopping(ProcEvent, frozen=True, kw_only=True):
    """The tenant's process was told to stop and finishes its requests."""


class ProcExited(ProcEvent, frozen=True, kw_only=True):
    """The tenant's process ended."""

    code: int | None = None
    """Exit code, None when a signal ended it or when nobody could see it."""
    signal: str = ""
    """Name of the signal that ended it, such as SIGSEGV."""
    expected: bool = False
    """True when we had told it to stop."""


class ProcBackoff(ProcEvent, frozen=True, kw_only=True):
    """The tenant failed and will be started again after a pause."""

    failures: words.Failures = 0
    retry_in: words.Pause = 0.0


class ProcFatal(ProcEvent, frozen=True, kw_only=True):
    """The tenant failed too often, or says that it can never start; retried slowly."""

    failures: words.Failures = 0
    retry_in: words.Pause = 0.0


class ProcReplaceFailed(ProcEvent, frozen=True, kw_only=True):
    """The process that was to replace the tenant's failed, or cannot be started; the old one serves on."""

    failures: words.Failures = 0
    retry_in: float = 0.0
    """Seconds until the next try; 0 when it is tried as soon as what it needs is there."""


class ProcSleeping(ProcEvent, frozen=True, kw_only=True):
    """The tenant runs on demand, and nobody demands it: its first visitor starts it."""


class ProcStopped(ProcEvent, frozen=True, kw_only=True):
    """The tenant does not run and is not wanted to."""

    by: words.Asker = ""


class ProcWaiting(ProcEvent, frozen=True, kw_only=True):
    """The tenant is wanted, and something it needs is not there: a database or a release."""


CaughtUp: TypeAlias = Literal["", "yes", "no", "unknown"]
"""Whether a database had what another one had; "" where nothing is said about that."""


class ProcMoved(ProcEvent, frozen=True, kw_only=True):
    """The tenant leaves a database for another one."""

    source: words.DatabaseName = ""
    target: words.DatabaseName = ""
    caught_up: CaughtUp = ""
    """Whether `target` had all that was last seen of `source`; if not, it may lack what was written last."""
    waited: float = 0.0
    """Seconds that the tenant was held back for that."""


class ProcStuck(ProcEvent, frozen=True, kw_only=True):
    """The tenant's process runs and does not serve."""

    speaker: ClassVar[str] = "dispatcher"

    started: words.Started = 0
    stuck_for: float = 0.0
    """Seconds since the process was last seen to work."""
    kind: str = ""
    """What is wrong: "loop blocked", "busy loop", "deadlock", "stopped", "uninterruptible", "zombie",
    "no heartbeat", "no answer", "out of file descriptors", "answers for another tenant" or "answers with
    errors"."""
    evidence: words.File = ""
    """What was found out about the process before it was ended; "" when that could not be written down."""


class ProcSlow(ProcEvent, frozen=True, kw_only=True):
    """The tenant's process serves, and is slow again and again; nothing is done about it."""

    speaker: ClassVar[str] = "dispatcher"

    started: words.Started = 0
    longest: float = 0.0
    """Seconds that its event loop was busy in one go, or that an answer took, at worst."""


class ProcFailing(ProcEvent, frozen=True, kw_only=True):
    """The tenant's process serves, and many of its answers are errors; nothing is done about it."""

    speaker: ClassVar[str] = "dispatcher"

    started: words.Started = 0
    errors: int = 0
    """Answers with a status of 500 and above since the look before."""
    requests: int = 0
    """All answers in that time."""


class ProcOversize(ProcEvent, frozen=True, kw_only=True):
    """The tenant's process uses more memory than `memory_soft` allows; it is replaced while it serves."""

    speaker: ClassVar[str] = "dispatcher"

    started: words.Started = 0
    memory: int = 0
    """Bytes of anonymous memory of the process and all that it has started."""
    limit: int = 0
    """Bytes."""


class ProcRecovered(ProcEvent, frozen=True, kw_only=True):
    """A process that was called stuck, slow or failing works well again."""

    speaker: ClassVar[str] = "dispatcher"

    started: words.Started = 0


# ---------------------------------------------------------------- many tenants at once


class BrakeEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "BRAKE"
    speaker: ClassVar[str] = "dispatcher"
    subject_field: ClassVar[str] = "service"

    service: words.ServiceName = "dispatcher"
    reason: words.Reason


class BrakeOn(BrakeEvent, frozen=True, kw_only=True):
    """So many tenants do not work that something they share must be wrong: hardly any is ended now."""

    count: int
    """How many tenants do not work."""
    tenants: tuple[words.TenantName, ...]
    """Their names, a hundred at most."""


class BrakeOff(BrakeEvent, frozen=True, kw_only=True):
    """Tenants that do not work are ended again."""


# ---------------------------------------------------------------- use of tenants


class TenantEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "TENANT"
    speaker: ClassVar[str] = "dispatcher"
    subject_field: ClassVar[str] = "tenant"

    tenant: words.TenantName


class TenantIdle(TenantEvent, frozen=True, kw_only=True):
    """Nobody has used a tenant on demand for as long as its `idle_stop`; said again while it still runs."""

    pid: words.Pid
    started: words.Started
    idle_for: float
    """Seconds since it was last seen in use."""
    reason: words.Reason


# ---------------------------------------------------------------- our own processes


class ServiceEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "SERVICE"
    speaker: ClassVar[str] = "every service"
    subject_field: ClassVar[str] = "service"

    service: words.ServiceName
    pid: words.Pid


class ServiceUp(ServiceEvent, frozen=True, kw_only=True):
    """A service is ready."""

    version: str
    """Of tenantbus."""


class ServiceDown(ServiceEvent, frozen=True, kw_only=True):
    """A service ended: said by itself on a clean stop, by `bus up` after a crash."""

    reason: words.Reason


class JournalEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "JOURNAL"
    speaker: ClassVar[str] = "broker"
    subject_field: ClassVar[str] = "journal"

    journal: words.File
    reason: words.Reason


class JournalReset(JournalEvent, frozen=True, kw_only=True):
    """The journal could not be read; it was put aside and a new one begun. Services say everything again."""


class JournalDegraded(JournalEvent, frozen=True, kw_only=True):
    """The journal cannot be written; events are sent on without it."""


class JournalRestored(JournalEvent, frozen=True, kw_only=True):
    """The journal can be written again."""


# ---------------------------------------------------------------- what people ask for


class RequestEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "REQUEST"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "tenant"

    tenant: words.TenantName
    by: words.Asker
    reason: words.Reason = ""


class BrakeReleaseRequested(Event, frozen=True, kw_only=True):
    """Somebody wants tenants that do not work ended, however many they are."""

    family: ClassVar[str] = "BRAKE_REQUEST"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "service"

    service: words.ServiceName = "dispatcher"
    by: words.Asker


class StartRequested(RequestEvent, frozen=True, kw_only=True):
    """Somebody wants the tenant started; also releases it from FATAL."""


class StopRequested(RequestEvent, frozen=True, kw_only=True):
    """Somebody wants the tenant stopped, until it is started by hand again."""


class RestartRequested(RequestEvent, frozen=True, kw_only=True):
    """Somebody wants the tenant's process replaced; also releases it from FATAL."""


AnyEvent: TypeAlias = (
    UserAdded
    | UserModified
    | UserDeleted
    | UserInvalid
    | PackageReleased
    | PackageWithdrawn
    | PackageInvalid
    | SettingsChanged
    | SettingsInvalid
    | DbUp
    | DbDegraded
    | DbDown
    | DbMisconfigured
    | DbCaughtUp
    | DbRecheckRequested
    | DbDrainRequested
    | DbUndrainRequested
    | ProcStarted
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
    | ProcStuck
    | ProcSlow
    | ProcFailing
    | ProcOversize
    | ProcRecovered
    | BrakeOn
    | BrakeOff
    | TenantIdle
    | ServiceUp
    | ServiceDown
    | JournalReset
    | JournalDegraded
    | JournalRestored
    | StartRequested
    | StopRequested
    | RestartRequested
    | BrakeReleaseRequested
)

BY_TYPE: dict[str, type[Event]] = {wire_name(cls.__name__): cls for cls in get_args(AnyEvent)}
"""The closed registry: name on the wire -> class."""


class Envelope(Struct, frozen=True, kw_only=True):
    """One journaled event with what the bus knows about it."""

    seq: int
    """Position in the journal; strictly increasing, without gaps within one journal."""
    id: str
    """The publisher's own name for it, "instance:number": what makes sending twice harmless."""
    time: float
    """Wall clock at the broker, seconds since the epoch; for people, never for decisions."""
    type: words.TypeName
    subject: words.Subject
    node: words.Node
    source: words.Source
    cause: int
    """seq of the event that led to this one; 0 when nothing on the bus did."""
    event: AnyEvent
