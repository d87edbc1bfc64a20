"""What becomes of the processes of tenants."""

from typing import ClassVar, Literal, TypeAlias

from bus import words
from bus.events.base import Event

# ---------------------------------------------------------------- tenant processes


class ProcEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "PROC"
    speaker: ClassVar[str] = "reactor"
    subject_field: ClassVar[str] = "tenant"

    tenant: words.TenantName
    pid: words.Pid = 0
    release: words.ReleaseName = ""
    database: words.DatabaseName = ""
    """The one that the process uses; where there is no process, the one that the tenant used last."""
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


OfProcesses: TypeAlias = (
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
    | ProcStuck
    | ProcSlow
    | ProcFailing
    | ProcOversize
    | ProcRecovered
    | BrakeOn
    | BrakeOff
    | TenantIdle
)
