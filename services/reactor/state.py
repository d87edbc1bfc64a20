"""What the reactor believes about one tenant: what is wanted of it, and where its process is.

Each state has its own fields, so that nothing can be asked of a state that makes no sense there. Every action
whose result comes later has a state of its own. Times are monotonic, in seconds.
"""

from typing import ClassVar, TypeAlias

from msgspec import Struct

from bus.events import StopRequested
from bus.model import TenantSettings
from services.reactor.actions import MayGoBack, OwnEvent, Process, Request


class Target(Struct, frozen=True, kw_only=True):
    """What a process runs on; a process whose target is no longer the wanted one is replaced."""

    release: str
    database: str
    stamp: str
    """Of what matters to the process in its settings; "" in those that do not."""
    asked: int = 0
    """seq of the newest RESTART_REQUESTED before it was started."""
    build: str = ""
    """`stamp` of the release; a process that runs stays on the one that it has."""
    alone: bool = False
    """True when the application says that there may be no second process beside this one."""


class Run(Struct, frozen=True, kw_only=True):
    """A process of ours."""

    process: Process
    target: Target
    port: int
    switches: bool = False
    """True when it can be told to use another database."""


# ---------------------------------------------------------------- states without a process


class Idle(Struct, frozen=True):
    """No process, and nothing decided yet: the beginning, and the moment after an end."""

    shown: ClassVar[str] = "UNKNOWN"


class Stopped(Struct, frozen=True, kw_only=True):
    """Not wanted to run."""

    shown: ClassVar[str] = "STOPPED"

    by: str
    reason: str


class Gone(Struct, frozen=True, kw_only=True):
    """There is no such tenant (any more)."""

    shown: ClassVar[str] = "STOPPED"

    reason: str


class Waiting(Struct, frozen=True, kw_only=True):
    """Wanted; a release or a database is not there."""

    shown: ClassVar[str] = "WAITING"

    reason: str
    quiet: bool
    """True while that may be only because nobody has told us yet."""


class Sleeping(Struct, frozen=True):
    """Runs on demand, and nobody demands it; whoever comes is heard."""

    shown: ClassVar[str] = "SLEEPING"


class CatchingUp(Struct, frozen=True, kw_only=True):
    """It moves, and the other database may not have yet what the one that is lost had."""

    shown: ClassVar[str] = "WAITING"

    source: str
    """The database that is lost."""
    since: float
    until: float
    """When it moves all the same."""
    again: bool = False
    """True when it served a moment ago."""


class Backoff(Struct, frozen=True, kw_only=True):
    """It failed, and is tried again after a pause."""

    shown: ClassVar[str] = "BACKOFF"

    target: Target
    until: float
    pause: float
    failures: int
    reason: str


class Fatal(Struct, frozen=True, kw_only=True):
    """It failed too often, or says that it can never start; tried again after a long pause."""

    shown: ClassVar[str] = "FATAL"

    target: Target
    until: float
    pause: float
    failures: int
    reason: str


# ---------------------------------------------------------------- states with a process, or nearly so


class Asked(Struct, frozen=True, kw_only=True):
    """Spawn was asked for; no answer yet."""

    shown: ClassVar[str] = "STARTING"

    target: Target
    source: str = ""
    """The database that it used before, where it still is if nothing comes of this."""


class Withdrawing(Struct, frozen=True, kw_only=True):
    """Spawn was asked for and withdrawn; nobody has said yet which of the two came first."""

    shown: ClassVar[str] = "STOPPING"

    target: Target
    source: str = ""
    """As before that."""


class Starting(Struct, frozen=True, kw_only=True):
    """The process exists and is not ready."""

    shown: ClassVar[str] = "STARTING"

    run: Run
    since: float


class Running(Struct, frozen=True, kw_only=True):
    """The process serves."""

    shown: ClassVar[str] = "RUNNING"

    run: Run
    since: float
    adopted: bool = False


class Stuck(Struct, frozen=True, kw_only=True):
    """Somebody proved that the process does not work."""

    shown: ClassVar[str] = "STUCK"

    run: Run
    stuck_for: float
    kind: str
    """What is wrong with it, as was said; "" when that was not said."""
    served: float
    """Seconds from READY to now."""


class Stopping(Struct, frozen=True, kw_only=True):
    """The process was asked to end."""

    shown: ClassVar[str] = "STOPPING"

    run: Run
    reason: str
    kill_at: float
    unused: bool = False
    """True when it ends because nobody uses it: whoever comes is heard, and need not wait for its end."""


class Killing(Struct, frozen=True, kw_only=True):
    """The process was killed; nobody has seen its end yet."""

    shown: ClassVar[str] = "STOPPING"

    run: Run
    reason: str
    failure: str
    """What this says against the tenant; "" when its end was wanted anyway."""
    served: float
    again_at: float
    tries: int


class Exited(Struct, frozen=True, kw_only=True):
    """The process ended just now."""

    shown: ClassVar[str] = "EXITED"

    run: Run
    code: int | None
    signal: str
    failure: str
    """What this says against the tenant; "" when its end was wanted."""
    served: float = 0.0
    """Seconds from READY to the end, or to what led to the end."""
    crashed: bool = False
    """True when it served, and nothing that we know of led to its end."""


class Failed(Struct, frozen=True, kw_only=True):
    """No process came of a Spawn."""

    shown: ClassVar[str] = "EXITED"

    target: Target
    failure: str
    never: bool


Resting: TypeAlias = Idle | Stopped | Gone | Waiting | Sleeping | CatchingUp | Backoff | Fatal
Alive: TypeAlias = Starting | Running | Stuck | Stopping | Killing
Ended: TypeAlias = Exited | Failed
Single: TypeAlias = Resting | Asked | Withdrawing | Alive | Ended


# ---------------------------------------------------------------- states with two processes


class Telling(Struct, frozen=True, kw_only=True):
    """The process that serves is asked to use another database itself; no answer yet."""

    target: Target
    withdrawn: bool = False
    """True when it shall stay as it is after all, if it has not been told yet."""


class Replacing(Struct, frozen=True, kw_only=True):
    """The process serves until its successor does, whose course is that of any process."""

    shown: ClassVar[str] = "RUNNING"

    old: Running
    new: Single | Telling
    """The successor; none is needed for a process that takes another database itself."""
    reason: str


State: TypeAlias = Single | Replacing


class Leaving(Struct, frozen=True, kw_only=True):
    """The process that served before the present one, or before none, on its way out."""

    state: Alive | Exited
    """One that starts or runs has yet to be told to stop."""
    reason: str
    said: OwnEvent | None = None
    """What others know of it."""


# ---------------------------------------------------------------- the tenant


NONE = TenantSettings(package="none")
"""The settings of a tenant whose settings nobody has seen."""


class Wish(Struct, frozen=True, kw_only=True):
    """What the tenant's directory says: its last good settings, if there ever were some."""

    seq: int = 0
    present: bool = False
    """False when the directory is gone, or was never there."""
    settings: TenantSettings = NONE
    stamp: str = ""
    """Changes when something changes that matters to a running process."""
    wrong: str = ""
    """What is wrong with its settings, where there are no good ones to fall back on."""


class Order(Struct, frozen=True, kw_only=True):
    """What people asked for."""

    seq: int = 0
    request: Request | None = None
    """The newest; None when nobody has asked for anything since the tenant was added."""
    asked: int = 0
    """seq of the newest RESTART_REQUESTED, or of a PROC_OVERSIZE that came after it."""
    oversize: str = ""
    """How large the process was, if that is why it is to be replaced."""

    @property
    def stop(self) -> bool:
        """Tell whether it is to be stopped by hand."""
        return isinstance(self.request, StopRequested)

    @property
    def by(self) -> str:
        """Tell who asked, "" when nobody did."""
        return self.request.by if self.request else ""

    @property
    def words(self) -> str:
        """Tell who asked, and why if that was said."""
        reason = self.request.reason if self.request else ""
        return f"{self.by}: {reason}" if reason else self.by


class Record(Struct, frozen=True, kw_only=True):
    """How the tenant has behaved."""

    failures: tuple[float, ...] = ()
    """When it failed, as far as that still counts."""
    excused: bool = False
    """True when that was on a database that takes no writes: it is no reason for FATAL."""
    probation: bool = False
    """True from FATAL until it has served for a while: the next failure is FATAL again."""
    fallen: bool = False
    """True when it is down without anybody having wanted it."""
    restarts: int = 0
    """Starts that nobody asked for."""


class Tenant(Struct, frozen=True, kw_only=True):
    """All that the reactor knows about one tenant."""

    name: str
    wish: Wish = Wish()
    order: Order = Order()
    state: State = Idle()
    leaving: Leaving | None = None
    """Beside whatever the tenant's own state is; there is never a third process."""
    record: Record = Record()
    awake: bool = False
    """True while somebody uses it, or asked for it: matters to a tenant that runs on demand."""
    database: str = ""
    """The one that it used last, and goes back to."""
    back: MayGoBack | None = None
    """Where it goes though it could stay; None as soon as it is there, or may not any more."""
    said: OwnEvent | None = None
    """The state that others know of."""
    owes_answer: bool = False
    """True when somebody asked for something: they are told the state even if nothing changes."""
    wake: float | None = None
    """The moment that we asked to be woken at."""
