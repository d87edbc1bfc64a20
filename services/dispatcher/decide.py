"""Decides from what the score pages say which tenants are stuck; pure.

Rule: whatever makes a tenant suspect, convicts it or clears it is in this file. A case is opened some looks
before its deadline, so that by then the tenant has been watched for a while: one look alone convicts nobody.
Times are seconds of one monotonic clock, passed in.
"""

from typing import Any

from msgspec import Struct, structs

from bus.events import ProcEvent, ProcRecovered, ProcStuck
from services.dispatcher.kinds import Claim, Kind, Sample


class Sight(Struct, frozen=True, kw_only=True):
    """One score page at one look; times are 0 where there is nothing to tell."""

    pid: int
    started: int
    ready_at: float = 0.0
    busy_since: float = 0.0
    loops: int = 0
    requests: int = 0
    in_flight: int = 0
    websockets: int = 0
    errors: int = 0
    """Answers with a status of 500 and above."""
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


class Rules(Struct, frozen=True, kw_only=True):
    stuck_after: float
    """Seconds without work after which a tenant is stuck."""
    verify: float
    """Seconds that a case must have been watched without a gap before it convicts."""
    lead: float
    """Seconds before its deadline at which a case is opened: `verify` and a look more, to be in time."""


class Case(Struct, frozen=True, kw_only=True):
    """A tenant under suspicion."""

    claim: Claim
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
        return self.claim is not Claim.DEAF and not self.convicted

    def is_about(self, sight: Sight) -> bool:
        return (self.pid, self.started) == (sight.pid, sight.started)


def follow(case: Case | None, sight: Sight, at: float, rules: Rules) -> Case | None:
    """Tell the case of a tenant after one more look at its page; None when there is nothing against it."""
    if not sight.serving or (case and not case.is_about(sight)):
        case = None
    trouble = suspect(sight, at, rules) if sight.serving else None
    if case is None:
        return trouble
    if case.claim is Claim.DEAF:  # the page said nothing: only an answer clears it
        return trouble if trouble and not case.convicted else case
    if trouble is None or case.convicted:
        return trouble and case
    same = (case.claim, case.since, case.loops) == (trouble.claim, trouble.since, trouble.loops)
    return case if same else trouble


def suspect(sight: Sight, at: float, rules: Rules) -> Case | None:
    """Open a case when a page comes close to a deadline; the reason that explains the others first."""
    claims = (
        (Claim.STOPPED, sight.stopped_since, rules.stuck_after),
        (Claim.BUSY, sight.busy_since, rules.stuck_after),
        (Claim.SILENT, sight.beat_every and sight.beat_at, sight.beat_every),  # who never beat owes no beats
    )
    for claim, since, allowed in claims:
        if since and at - since >= allowed - rules.lead:
            return Case(
                claim=claim,
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
        claim=Claim.DEAF,
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


def proves(before: Sample, now: Sample, case: Case) -> bool:
    """Tell whether the kernel agrees with a case; `before` was seen when it was opened.

    A process that has just ended is the reactor's matter, which hears of it from the parent. One that ended
    long ago, or whose main thread alone has ended, nobody else will find.
    """
    if not now.started == before.started == case.started:
        return False
    if now.ended:
        return before.ended
    return case.claim is not Claim.STOPPED or now.state in "Tt"


def unheard(before: Sample, now: Sample, case: Case) -> bool:
    """Tell whether beats may have been sent and not taken, by a parent that is stopped or in state D."""
    return case.claim is Claim.SILENT and not {before.parent, now.parent}.isdisjoint({"T", "t", "D"})


def convict(case: Case) -> Case:
    return structs.replace(case, convicted=True)


def stuck(case: Case, known: ProcEvent, at: float, kind: Kind, words: str) -> ProcStuck:
    """Say that a tenant is stuck and why; `known` tells what it runs."""
    return ProcStuck(
        **facts(known, case.pid, case.started),
        reason=words,
        kind=kind.value,
        stuck_for=round(at - case.since, 3),
    )


def reason(case: Case, now: Sample, at: float, detail: str = "") -> str:
    """Put into words what speaks against a tenant and what the kernel sees."""
    claim = detail or f"{case.claim.value} for {at - case.since:.1f} s"
    return f"{claim}, state {now.state}, wchan {now.wchan}"


def recovered(case: Case, known: ProcEvent) -> ProcRecovered:
    """Say that a tenant that was called stuck works again."""
    words = f"works again after: {case.claim.value}"
    return ProcRecovered(**facts(known, case.pid, case.started), reason=words)


def facts(known: ProcEvent, pid: int, started: int) -> dict[str, Any]:
    """Tell what any event about a process says of it; `known` is what the bus told of its tenant last."""
    fields = ("tenant", "release", "database", "port", "restarts")
    return {name: getattr(known, name) for name in fields} | {"pid": pid, "started": started}
