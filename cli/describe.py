"""Each event in a few words: what matters to who reads along."""

from bus.errors import mistake
from bus.events import (
    AnyEvent,
    BrakeEvent,
    BrakeReleaseRequested,
    DbCaughtUp,
    DbEvent,
    DbRecheckRequested,
    DrainEvent,
    JournalEvent,
    PackageInvalid,
    PackageReleased,
    PackageWithdrawn,
    ProcBackoff,
    ProcEvent,
    ProcExited,
    ProcFatal,
    ProcMoved,
    ProcReady,
    ProcReplaceFailed,
    ProcStuck,
    RequestEvent,
    ServiceDown,
    ServiceUp,
    SettingsChanged,
    SettingsInvalid,
    TenantIdle,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from cli.span import duration


def describe(event: AnyEvent) -> str:
    """Tell what an event says besides its type and subject."""
    match event:
        case ProcEvent():
            return process(event)
        case RequestEvent() | DrainEvent() | DbRecheckRequested() | BrakeReleaseRequested():
            return _asked(event)
        case UserAdded() | UserModified():
            return _tenant(event)
        case UserInvalid() | PackageInvalid() | SettingsInvalid():
            return mistake(event)
        case DbEvent():
            return _database(event)
        case DbCaughtUp():
            return f"{event.target}: {event.reason}"
        case ServiceUp() | ServiceDown():
            return _service(event)
        case JournalEvent() | BrakeEvent() | TenantIdle():
            return event.reason
        case PackageReleased() | PackageWithdrawn() | UserDeleted() | SettingsChanged():
            return ""


def process(event: ProcEvent) -> str:
    """Tell about a tenant's process: which one, and what became of it."""
    facts = [
        f"pid {event.pid}" if event.pid else "",
        event.release,
        f"on {event.database}" if event.database and not isinstance(event, ProcMoved) else "",
        f"port {event.port}" if event.port else "",
    ]
    return ": ".join(filter(None, (" ".join(filter(None, facts)), outcome(event))))


def outcome(event: ProcEvent) -> str:
    """Tell the reason of a process event, together with how it ended or what comes next."""
    match event:
        case ProcExited():
            code = "" if event.code is None else f"exit code {event.code}"
            return event.reason or event.signal or code
        case ProcBackoff() | ProcFatal():
            return f"{event.reason}; failure {event.failures}, next try after {duration(event.retry_in)}"
        case ProcReplaceFailed():
            again = f"next try after {duration(event.retry_in)}" if event.retry_in else "waiting for that"
            return f"{event.reason}; {again}"
        case ProcMoved():
            return ", ".join(
                filter(None, (f"{event.source} -> {event.target}", event.reason, _missing(event)))
            )
        case ProcStuck():
            return ", ".join(filter(None, (event.kind, f"for {event.stuck_for:.1f} s", event.reason)))
        case ProcReady() if event.adopted:
            return ", ".join(filter(None, ("found running", event.reason)))
        case _:
            return event.reason


def _asked(event: RequestEvent | DrainEvent | DbRecheckRequested | BrakeReleaseRequested) -> str:
    reason = event.reason if isinstance(event, RequestEvent) else ""
    return f"by {event.by}: {reason}" if reason else f"by {event.by}"


def _database(event: DbEvent) -> str:
    return f"{event.reason} ({event.latency * 1000:.0f} ms)" if event.latency else event.reason


def _service(event: ServiceUp | ServiceDown) -> str:
    said = event.reason if isinstance(event, ServiceDown) else f"version {event.version}"
    return f"pid {event.pid}, {said}"


def _missing(event: ProcMoved) -> str:
    """Say what a tenant may not find where it goes."""
    if event.caught_up == "no":
        return f"{event.target} lacks what was written last, after {event.waited:.1f} s"
    return f"nobody knows whether {event.target} has everything" if event.caught_up == "unknown" else ""


def _tenant(event: UserAdded | UserModified) -> str:
    settings = event.settings
    allowed = "" if settings.databases is None else f", databases {' '.join(settings.databases)}"
    start = f", {settings.start}" if settings.start else ""
    return f"{settings.package}, {settings.plan}{start}{allowed}"
