"""Decides what is asked of a database's watchdog, and what is said of the database; pure.

A task with a deadline is handed out; whoever has not reported by then is down, and its watchdog is replaced.
Pauses never grow, so that the end of an outage is seen as fast after a day as after a second.
Times are seconds of one monotonic clock, passed in.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeAlias

from msgspec import Struct, structs

from bus.events import DbDegraded, DbDown, DbMisconfigured, DbUp
from services.dbwatch.hold import Hold
from services.dbwatch.reading import Failure, Reading
from services.dbwatch.verdict import Finding, Limits, judge

Outcome: TypeAlias = Reading | DbDown | DbMisconfigured
"""What a check comes to: what the database said, or why it said nothing."""

UP, DEGRADED, UNWRITABLE, MISCONFIGURED, DOWN = range(5)
"""How bad a finding is."""

PATIENCE = {"soft": 2.0, "locked": 5.0}
"""Seconds that trouble must last to be told: what a busy moment brings about, and writes that wait."""

REFRESH = 5.0
"""Seconds after which a state is said again because of what it carries, at the soonest."""


class Rules(Struct, frozen=True, kw_only=True):
    every: float
    """Seconds from the start of one check to the start of the next."""
    timeout: float
    """Seconds that a check may take."""
    limits: Limits


class Case(Struct, frozen=True, kw_only=True):
    """One database."""

    database: str
    said: Finding | None = None
    """The last that was said of it, maybe before we were restarted."""
    said_at: float = 0.0
    task: int = 0
    """Number of the task that was handed out last."""
    asked: float | None = None
    """When it was handed out; None when its report is in."""
    due: float = 0.0
    """Deadline of the task that is out, else when the next one is handed out."""
    reached: Reading | None = None
    """What the task that is out has read, when all that it still does is to write."""
    holds: tuple[Hold, ...] = (Hold(),) * DOWN
    """What is told: one for each badness from DEGRADED on."""
    found: Mapping[int, Finding] = {}
    """The last finding of each badness."""
    pause: float = 0.0
    """Seconds for which the state is held, as they were said last."""
    answer: int = 0
    """seq of the request that the next verdict answers."""

    @property
    def judged(self) -> bool:
        """True once the first check has ended, one way or the other."""
        return self.task > 1 or (self.task == 1 and self.asked is None)


class TimeCame(NamedTuple):
    """`due` has passed."""

    at: float


class Reached(NamedTuple):
    """A watchdog has read everything and begins to write."""

    task: int
    reading: Reading


class Reported(NamedTuple):
    """A watchdog, maybe one that was replaced, has dealt with a task."""

    at: float
    task: int
    outcome: Outcome


class Asked(NamedTuple):
    """Somebody wants a fresh verdict."""

    at: float
    seq: int


class Hurried(NamedTuple):
    """What is known already is not new enough for somebody."""

    at: float


Input: TypeAlias = TimeCame | Reached | Reported | Asked | Hurried


class HandOut(NamedTuple):
    """Let the watchdog check."""

    task: int


class Replace(NamedTuple):
    """Leave the watchdog behind, another one takes its place."""


class Renew(NamedTuple):
    """Leave the watchdog behind, and count no more those that were left before."""


class Say(NamedTuple):
    """Publish."""

    event: Finding
    cause: int = 0


Action: TypeAlias = HandOut | Replace | Renew | Say


def begin(database: str, said: Finding | None) -> Case:
    """Go on from what was said of a database before we were restarted."""
    if said is None:
        return Case(database=database)
    worst = badness(said)
    holds = tuple(Hold() if n < worst else Hold(told=n != worst) for n in range(1, DOWN + 1))
    return Case(database=database, said=said, holds=holds, found={worst: said})


def badness(finding: Finding) -> int:
    match finding:
        case DbUp():
            return UP
        case DbDegraded():
            return DEGRADED if finding.writable else UNWRITABLE
        case DbMisconfigured():
            return MISCONFIGURED
        case DbDown():
            return DOWN


def decide(
    case: Case, came: Input, rules: Rules, away: AbstractSet[int] = frozenset()
) -> tuple[Case, list[Action]]:
    """Take in what came; gives the case as it is now, and what is to be done in that order.

    `away` holds the server_id of each database that is down.
    """
    match came:
        case Reached(task, reading):
            return structs.replace(case, reached=reading) if task == case.task else case, []
        case Reported():
            return _report(case, came, rules, away)
        case Asked(at, seq):
            case = structs.replace(case, holds=(Hold(),) * DOWN, answer=seq)
            case, asked = _hand_out(case, at, rules)
            return case, [Renew(), *asked]
        case Hurried(at):
            return (case, []) if case.asked is not None else _hand_out(case, at, rules)
        case TimeCame(at):
            if at < case.due:
                return case, []
            if case.asked is None:
                return _hand_out(case, at, rules)
            if at - case.due > rules.timeout:
                # we did not run ourselves (stopped, starved): the report may have come meanwhile
                return structs.replace(case, due=at + rules.timeout), []
            return _deadline(case, at, rules, away)


def _report(case: Case, came: Reported, rules: Rules, away: AbstractSet[int]) -> tuple[Case, list[Action]]:
    at, task, outcome = came
    if case.asked is None or task != case.task:
        return case, []  # of a watchdog that was replaced
    if isinstance(outcome, DbDown) and at - case.asked > 2 * rules.timeout:
        # we did not run ourselves: the server may have hung up on us meanwhile
        return _hand_out(case, at, rules)
    case = structs.replace(case, asked=None, due=max(at, case.asked + rules.every))
    return _judge(case, outcome, at, rules, away)


def _hand_out(case: Case, at: float, rules: Rules) -> tuple[Case, list[Action]]:
    case = structs.replace(case, task=case.task + 1, asked=at, due=at + rules.timeout, reached=None)
    return case, [HandOut(case.task)]


def _deadline(case: Case, at: float, rules: Rules, away: AbstractSet[int]) -> tuple[Case, list[Action]]:
    reason = f"no answer within {rules.timeout:g} s"
    outcome: Outcome = DbDown(database=case.database, reason=reason, latency=rules.timeout)
    if case.reached:
        outcome = structs.replace(
            case.reached, failure=Failure(kind="locked", reason=f"a write got {reason}")
        )
    case, said = _judge(case, outcome, at, rules, away)
    case, asked = _hand_out(case, at, rules)
    return case, [*said, Replace(), *asked]


def _judge(
    case: Case, outcome: Outcome, at: float, rules: Rules, away: AbstractSet[int]
) -> tuple[Case, list[Action]]:
    """Say what changes."""
    finding = judge(case.database, outcome, rules.limits, away) if isinstance(outcome, Reading) else outcome
    bad = badness(finding)
    better = case.said is None or bad < badness(case.said)
    patience = 0.0 if better else _patience(finding)
    holds = tuple(
        hold if bad > n else hold.see(bad < n, at, patience) for n, hold in enumerate(case.holds, 1)
    )
    case = structs.replace(case, holds=holds, found={**case.found, bad: finding})
    told = max((n for n, hold in enumerate(holds, 1) if hold.told is False), default=UP)
    return _tell(case, finding, told, at)


def _patience(finding: Finding) -> float:
    if not isinstance(finding, DbDegraded):
        return 0.0
    if finding.writable:
        return PATIENCE["soft"]
    return PATIENCE["locked"] if finding.kinds[0] == "locked" else 0.0


def _tell(case: Case, finding: Finding, told: int, at: float) -> tuple[Case, list[Action]]:
    event, pause = finding, 0.0
    if badness(finding) != told:
        event = case.found.get(told, finding)
        if told > badness(finding):  # better than told: it is held
            hold = case.holds[told - 1]
            pause, event = hold.pause, structs.replace(event, reason=_held(hold), latency=finding.latency)
    new = case.said is None or badness(case.said) != told
    if not (new or case.answer or pause > case.pause or (not pause and _differs(case, event, at))):
        return case, []
    if case.said is not None:
        event = structs.replace(event, since=0.0 if new else case.said.since)
    say = Say(event, case.answer)
    return structs.replace(case, said=event, said_at=at, pause=pause, answer=0), [say]


def _held(hold: Hold) -> str:
    return (
        f"answers again, held for {hold.pause:g} s because it failed {len(hold.falls)} times within 5 minutes"
    )


def _differs(case: Case, event: Finding, at: float) -> bool:
    """Tell whether the same state is worth saying again.

    Of settings each new error is, to be corrected; of what answers, not too often, what is wrong with it and
    how many connections it can take.
    """
    match case.said, event:
        case DbMisconfigured() as said, DbMisconfigured():
            return (said.key, said.reason) != (event.key, event.reason)
        case (DbDegraded() as said, DbDegraded()) if said.kinds != event.kinds:
            return at - case.said_at >= REFRESH
        case (DbUp() | DbDegraded() as said, DbUp() | DbDegraded()):
            return at - case.said_at >= REFRESH and _moved(said, event)
        case _:
            return False


def _moved(said: DbUp | DbDegraded, event: DbUp | DbDegraded) -> bool:
    if said.headroom is None or event.headroom is None:
        return said.headroom is not event.headroom
    most = said.headroom + (said.connections or 0)
    return abs(said.headroom - event.headroom) > most / 10
