"""Folds the newest events into the rows of a table: pure, so that it can be tested without a bus."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bus import words
from bus.errors import mistake
from bus.events import (
    DbDegraded,
    DbDown,
    DbEvent,
    DbMisconfigured,
    DbUp,
    Envelope,
    ProcBackoff,
    ProcEvent,
    ProcExited,
    ProcFailing,
    ProcFatal,
    ProcMoved,
    ProcOversize,
    ProcReady,
    ProcRecovered,
    ProcReplaceFailed,
    ProcSleeping,
    ProcSlow,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcStuck,
    ProcWaiting,
    ServiceDown,
    ServiceUp,
    UserAdded,
    UserDeleted,
    UserEvent,
    UserInvalid,
)
from cli.describe import outcome
from cli.span import duration

STATES: Mapping[type[ProcEvent], str] = {
    ProcStarted: "STARTING",
    ProcMoved: "STARTING",
    ProcReady: "RUNNING",
    ProcRecovered: "RUNNING",
    ProcStuck: "STUCK",
    ProcSlow: "RUNNING",
    ProcFailing: "RUNNING",
    ProcOversize: "RUNNING",
    ProcStopping: "STOPPING",
    ProcExited: "EXITED",
    ProcBackoff: "BACKOFF",
    ProcFatal: "FATAL",
    ProcReplaceFailed: "RUNNING",
    ProcWaiting: "WAITING",
    ProcSleeping: "SLEEPING",
    ProcStopped: "STOPPED",
}
"""The word on screen for what a tenant's process was last said to do."""

ALIVE = {"STARTING", "RUNNING", "STUCK", "STOPPING"}


class TenantRow(NamedTuple):
    tenant: str
    state: str
    pid: int | None
    release: str | None
    database: str | None
    port: int | None
    since: float | None
    """Wall clock, seconds since the epoch."""
    restarts: int
    reason: str


class DatabaseRow(NamedTuple):
    database: str
    state: str
    since: float | None
    tenants: int
    """How many tenants run on it."""
    latency: float | None
    """Seconds that a check took."""
    headroom: int | None
    """Connections that it can still take."""
    sync: str
    """Its place in replication, or in a Galera cluster."""
    reason: str


class ServiceRow(NamedTuple):
    service: str
    state: str
    pid: int | None
    since: float | None
    restarts: int | None
    """Starts after a crash; None when no `bus up` counts them."""
    reason: str


class Process(NamedTuple):
    """What was said last about a tenant's process."""

    last: Envelope
    run: Envelope | None
    """The newest PROC_STARTED or PROC_READY of the process that counts."""


class Present(NamedTuple):
    """What the bus tells about all tenants: latest() of USER_*, PROC_*, PROC_STARTED and PROC_READY.

    And the reactor's SERVICE_UP.
    """

    users: Iterable[Envelope]
    processes: Iterable[Envelope]
    starts: Iterable[Envelope]
    readies: Iterable[Envelope]
    reactor: Iterable[Envelope] = ()


def tenants(present: Present, now: float) -> list[TenantRow]:
    """Fold what the bus tells into what `bus ps` shows."""
    user = {envelope.subject: envelope for envelope in present.users}
    runs = {(each.subject, _pid(each)): each for each in (*present.readies, *present.starts)}
    process = {
        each.subject: Process(each, runs.get((each.subject, _serving(each) or _pid(each))))
        for each in present.processes
    }
    reactor = next(iter(present.reactor), None)
    for name, one in list(process.items()):
        if is_past(one.last, user.get(name), reactor):
            del process[name]
    rows = (_tenant(name, user.get(name), process.get(name), now) for name in sorted(user | process))
    return [row for row in rows if row]


def _pid(envelope: Envelope) -> int:
    return envelope.event.pid if isinstance(envelope.event, ProcEvent) else 0


def _serving(envelope: Envelope) -> int:
    """Tell which process serves, if the event is about another one that comes or goes."""
    return envelope.event.serving if isinstance(envelope.event, ProcEvent) else 0


def _tenant(name: str, user: Envelope | None, process: Process | None, now: float) -> TenantRow | None:
    known = user is not None and not isinstance(user.event, UserDeleted)
    row = _process(process, now) if process else None
    if not known and (row is None or row.state not in ALIVE):
        return None
    if row is None:
        row = _blank(name, user)
    if user and isinstance(user.event, UserInvalid):
        return _invalid(row, user, user.event)
    return row


def is_past(process: Envelope, user: Envelope | None, reactor: Envelope | None) -> bool:
    """Tell whether what was said last of a process tells nothing of the present.

    There is a new tenant of this name, or a new reactor, which will start it.
    """
    last = process.event
    match last.reason if isinstance(last, ProcStopped) else "":
        case words.DELETED:
            since = user if user and isinstance(user.event, UserAdded) else None
        case words.ALL_STOP:
            since = reactor
        case _:
            since = None
    return since is not None and process.seq < since.seq


def _blank(name: str, user: Envelope | None) -> TenantRow:
    since = user.time if user else None
    reason = "the reactor has said nothing about it yet"
    return TenantRow(name, "UNKNOWN", None, None, None, None, since, 0, reason)


def _invalid(row: TenantRow, user: Envelope, event: UserInvalid) -> TenantRow:
    """Show what is wrong with the settings; a tenant that has good ones left goes on as it is."""
    if row.state in {"STOPPED", "UNKNOWN"}:
        return row._replace(state="INVALID", since=user.time, reason=mistake(event))
    return row._replace(reason="; ".join(filter(None, (mistake(event), row.reason))))


def _process(process: Process, now: float) -> TenantRow | None:
    event = process.last.event
    if not isinstance(event, ProcEvent):
        return None
    state = "RUNNING" if event.serving else STATES[type(event)]
    run = process.run
    about = run.event if run and isinstance(run.event, ProcEvent) else event
    said = about if event.serving else event  # of the process that comes or goes, nothing but the reason
    alive = state in ALIVE
    return TenantRow(
        tenant=event.tenant,
        state=state,
        pid=event.serving or event.pid or None if alive else None,
        release=said.release or about.release or None,
        database=said.database or about.database or None,
        port=said.port or about.port or None,
        since=run.time if run and state == "RUNNING" else process.last.time,
        restarts=max(event.restarts, about.restarts),
        reason=_beside(event) if event.serving else _reason(process.last, event, now),
    )


def _beside(event: ProcEvent) -> str:
    """Tell about the process that is to replace the one that serves, or that it has replaced."""
    match event:
        case ProcStarted():
            return f"being replaced by pid {event.pid}: {event.reason}"
        case ProcStopping():
            return f"pid {event.pid} finishes its requests: {event.reason}"
        case ProcExited() if not event.expected:
            return f"pid {event.pid}: {outcome(event)}"
        case ProcMoved():
            return f"being moved: {outcome(event)}"
        case ProcReplaceFailed():
            return f"not replaced: {outcome(event)}"
        case _:
            return ""


def _reason(envelope: Envelope, event: ProcEvent, now: float) -> str:
    if isinstance(event, ProcReady | ProcRecovered):
        return ""
    if isinstance(event, ProcBackoff | ProcFatal):
        wait = max(0.0, envelope.time + event.retry_in - now)
        turn = f"next try in {duration(wait)}" if wait else "being tried again"
        return f"{event.reason}; failure {event.failures}, {turn}"
    return outcome(event)


def databases(
    names: Iterable[str], events: Iterable[Envelope], rows: Iterable[TenantRow]
) -> list[DatabaseRow]:
    """Fold latest("DB_*") and the tenants into what `bus db` shows, for the databases in the settings."""
    known = {each.subject: each for each in events if isinstance(each.event, DbEvent)}
    using = [row.database for row in rows if row.state in ALIVE]
    return [_database(name, known.get(name), using.count(name)) for name in names]


def _database(name: str, envelope: Envelope | None, count: int) -> DatabaseRow:
    event = envelope.event if envelope else None
    match event:
        case DbUp():
            state = "UP"
        case DbDegraded():
            state = "DEGRADED"
        case DbDown():
            state = "DOWN"
        case DbMisconfigured():
            state = "MISCONFIGURED"
        case _:
            reason = "dbwatch has said nothing about it yet"
            return DatabaseRow(name, "UNKNOWN", None, count, None, None, "", reason)
    answers = event if isinstance(event, DbUp | DbDegraded) else None
    return DatabaseRow(
        database=name,
        state=state,
        since=event.since or (envelope.time if envelope else None),
        tenants=count,
        latency=round(event.latency, 4),
        headroom=answers.headroom if answers else None,
        sync="; ".join(filter(None, (answers.galera, answers.replication))) if answers else "",
        reason=event.reason,
    )


def services(names: Iterable[str], ups: Iterable[Envelope], downs: Iterable[Envelope]) -> list[ServiceRow]:
    """Fold latest("SERVICE_UP") and latest("SERVICE_DOWN") into what `bus services` shows."""
    up = {envelope.subject: envelope for envelope in ups}
    down = {envelope.subject: envelope for envelope in downs}
    return [_service(name, up.get(name), down.get(name)) for name in names]


def _service(name: str, up: Envelope | None, down: Envelope | None) -> ServiceRow:
    """A SERVICE_DOWN may arrive late: it counts for the process that it names only."""
    started = up.event if up and isinstance(up.event, ServiceUp) else None
    ended = down.event if down and isinstance(down.event, ServiceDown) else None
    if up and started and not (down and ended and ended.pid == started.pid and down.seq > up.seq):
        return ServiceRow(name, "RUNNING", started.pid, up.time, None, "")
    if down and ended:
        return ServiceRow(name, "STOPPED", None, down.time, None, ended.reason)
    return ServiceRow(name, "UNKNOWN", None, None, None, "has said nothing yet")


def present(users: Iterable[Envelope]) -> list[str]:
    """Fold latest("USER_*") into the names of the tenants that there are."""
    return sorted(
        envelope.subject
        for envelope in users
        if isinstance(envelope.event, UserEvent) and not isinstance(envelope.event, UserDeleted)
    )
