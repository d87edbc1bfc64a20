"""Decides from what the score pages say which tenants are stuck; pure.

Rule: whatever makes a tenant suspect, convicts it or clears it is in this file. A case is opened some looks
before its deadline, so that by then the tenant has been watched for a while: one look alone convicts nobody.
Times are seconds of one monotonic clock, passed in.
"""

from enum import StrEnum

from msgspec import Struct, structs

from bus.events import ProcEvent, ProcRecovered, ProcStuck


class Kind(StrEnum):
    """What is wrong with a tenant."""

    BUSY = "loop busy"
    STOPPED = "stopped by a signal"
    SILENT = "no heartbeat"
    DEAF = "HTTP check failed"


class Sight(Struct, frozen=True, kw_only=True):
    """One score page at one look; times are 0 where there is nothing to tell."""

    pid: int
    started: int
    ready_at: float = 0.0
    busy_since: float = 0.0
    loops: int = 0
    requests: int = 0
    beat_at: float = 0.0
    beat_every: float = 0.0
    """Seconds that may pass between two heartbeats (WATCHDOG_USEC)."""
    stopped_since: float = 0.0
    exited_at: float = 0.0
    stopping_at: float = 0.0

    @property
    def serving(self) -> bool:
        """False while it starts (the reactor has a deadline for that) and while it ends."""
        return bool(self.ready_at) and not self.exited_at and not self.stopping_at


class Evidence(Struct, frozen=True, kw_only=True):
    """What the kernel says about a process: proc_pid_stat(5), proc_pid_wchan(5)."""

    started: int
    state: str
    wchan: str


class Rules(Struct, frozen=True, kw_only=True):
    stuck_after: float
    """Seconds without work after which a tenant is stuck."""
    verify: float
    """Seconds that a case must have been watched without a gap before it convicts."""
    lead: float
    """Seconds before its deadline at which a case is opened: `verify` and a look more, to be in time."""


class Case(Struct, frozen=True, kw_only=True):
    """A tenant under suspicion."""

    kind: Kind
    pid: int
    started: int
    since: float
    """When it was last seen to work."""
    loops: int
    deadline: float
    """It is stuck when nothing has changed by then."""
    watched: float
    """Watched without a gap since then."""
    convicted: bool = False

    @property
    def by_page(self) -> bool:
        """Open, and decided by looking at the page."""
        return self.kind is not Kind.DEAF and not self.convicted

    def is_about(self, sight: Sight) -> bool:
        return (self.pid, self.started) == (sight.pid, sight.started)


def follow(case: Case | None, sight: Sight, at: float, rules: Rules) -> Case | None:
    """Tell the case of a tenant after one more look at its page; None when there is nothing against it."""
    if not sight.serving or (case and not case.is_about(sight)):
        case = None
    trouble = suspect(sight, at, rules) if sight.serving else None
    if case is None:
        return trouble
    if case.kind is Kind.DEAF:  # the page said nothing: only an answer clears it
        return trouble if trouble and not case.convicted else case
    if trouble is None or case.convicted:
        return trouble and case
    same = (case.kind, case.since, case.loops) == (trouble.kind, trouble.since, trouble.loops)
    return case if same else trouble


def suspect(sight: Sight, at: float, rules: Rules) -> Case | None:
    """Open a case when a page comes close to a deadline; the reason that explains the others first."""
    claims = (
        (Kind.STOPPED, sight.stopped_since, rules.stuck_after),
        (Kind.BUSY, sight.busy_since, rules.stuck_after),
        (Kind.SILENT, sight.beat_every and sight.beat_at, sight.beat_every),  # who never beat owes no beats
    )
    for kind, since, allowed in claims:
        if since and at - since >= allowed - rules.lead:
            return Case(
                kind=kind,
                pid=sight.pid,
                started=sight.started,
                since=since,
                loops=sight.loops,
                deadline=since + allowed,
                watched=at,
            )
    return None


def deaf(sight: Sight, since: float, at: float) -> Case:
    """Open a case against a tenant that failed an HTTP check; the next failed one convicts it."""
    return Case(
        kind=Kind.DEAF,
        pid=sight.pid,
        started=sight.started,
        since=since,
        loops=sight.loops,
        deadline=at,
        watched=at,
    )


def explains(sight: Sight, at: float, rules: Rules) -> bool:
    """Tell whether the page says why a tenant does not answer; then its own deadline counts, not HTTP's."""
    return bool(sight.stopped_since) or (sight.busy_since > 0 and at - sight.busy_since >= rules.verify)


def clears(case: Case, sight: Sight, after: Case | None) -> bool:
    """Tell whether a convicted process works again, `after` being its case after this look."""
    return case.convicted and after is None and sight.serving and case.is_about(sight)


def verdict_at(case: Case, rules: Rules) -> float:
    """Tell when a case that stays as it is convicts."""
    return max(case.deadline, case.watched + rules.verify)


def watch_anew(case: Case, at: float) -> Case:
    """Begin to watch again after a gap: the tenant may have had no chance to work meanwhile."""
    return case if case.convicted else structs.replace(case, watched=at)


def proves(evidence: Evidence, case: Case) -> bool:
    """Tell whether the kernel agrees with a case."""
    if evidence.started != case.started or evidence.state in "ZX":
        return False  # another process, or ended: the reactor's matter
    return case.kind is not Kind.STOPPED or evidence.state in "Tt"


def complaint(status: int) -> str:
    """Tell what is wrong with the status of a health check; "" when it proves that the tenant works.

    A 404 does: somebody looked for that path, and this application has none.
    """
    server_error = 500
    return f"answered {status}" if status >= server_error else ""


def convict(case: Case) -> Case:
    return structs.replace(case, convicted=True)


def stuck(case: Case, known: ProcEvent, evidence: Evidence, at: float, detail: str = "") -> ProcStuck:
    """Say that a tenant is stuck, why, and what the kernel sees; `known` tells what it runs."""
    what = detail or f"{case.kind.value} for {at - case.since:.1f} s"
    return ProcStuck(
        tenant=known.tenant,
        pid=case.pid,
        started=case.started,
        release=known.release,
        database=known.database,
        port=known.port,
        restarts=known.restarts,
        reason=f"{what}, state {evidence.state}, wchan {evidence.wchan}",
        stuck_for=round(at - case.since, 3),
    )


def recovered(case: Case, known: ProcEvent) -> ProcRecovered:
    """Say that a tenant that was called stuck works again."""
    return ProcRecovered(
        tenant=known.tenant,
        pid=case.pid,
        started=case.started,
        release=known.release,
        database=known.database,
        port=known.port,
        restarts=known.restarts,
        reason=f"works again after: {case.kind.value}",
    )
