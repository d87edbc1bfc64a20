"""Decides what is asked of a database's watchdog, and what is said of the database; pure.

A task with a deadline is handed out; whoever has not reported by then is down, and its watchdog is replaced.
Pauses never grow, so that the end of an outage is seen as fast after a day as after a second.
Times are seconds of one monotonic clock, passed in.
"""

from typing import NamedTuple, TypeAlias

from msgspec import Struct, structs

from bus.events import DbDown, DbMisconfigured, DbUp

Finding: TypeAlias = DbUp | DbDown | DbMisconfigured
"""What one check found; the same types are what is said."""


class Rules(Struct, frozen=True, kw_only=True):
    every: float
    """Seconds from the start of one check to the start of the next."""
    timeout: float
    """Seconds that a check may take."""


class Case(Struct, frozen=True, kw_only=True):
    """One database."""

    database: str
    said: Finding | None = None
    """The last that was said of it, maybe before we were restarted."""
    task: int = 0
    """Number of the task that was handed out last."""
    asked: float | None = None
    """When it was handed out; None when its report is in."""
    due: float = 0.0
    """Deadline of the task that is out, else when the next one is handed out."""

    @property
    def judged(self) -> bool:
        """True once the first check has ended, one way or the other."""
        return self.task > 1 or (self.task == 1 and self.asked is None)


class TimeCame(NamedTuple):
    """`due` has passed."""

    at: float


class Reported(NamedTuple):
    """A watchdog, maybe one that was replaced, has dealt with a task."""

    at: float
    task: int
    finding: Finding


Input: TypeAlias = TimeCame | Reported


class HandOut(NamedTuple):
    """Let the watchdog check."""

    task: int


class Replace(NamedTuple):
    """Leave the watchdog behind, another one takes its place."""


class Say(NamedTuple):
    """Publish."""

    event: Finding


Action: TypeAlias = HandOut | Replace | Say


def decide(case: Case, came: Input, rules: Rules) -> tuple[Case, list[Action]]:
    """Take in what came; gives the case as it is now, and what is to be done in that order."""
    match came:
        case Reported(at, task, finding):
            if case.asked is None or task != case.task:
                return case, []  # of a watchdog that was replaced
            case = structs.replace(case, asked=None, due=max(at, case.asked + rules.every))
            return _judge(case, finding)
        case TimeCame(at):
            if at < case.due:
                return case, []
            if case.asked is None:
                return _hand_out(case, at, rules)
            if at - case.due > rules.timeout:
                # we did not run ourselves (stopped, starved): the report may have come meanwhile
                return structs.replace(case, due=at + rules.timeout), []
            return _deadline(case, at, rules)


def _hand_out(case: Case, at: float, rules: Rules) -> tuple[Case, list[Action]]:
    case = structs.replace(case, task=case.task + 1, asked=at, due=at + rules.timeout)
    return case, [HandOut(case.task)]


def _deadline(case: Case, at: float, rules: Rules) -> tuple[Case, list[Action]]:
    reason = f"no answer within {rules.timeout:g} s"
    case, said = _judge(case, DbDown(database=case.database, reason=reason, latency=rules.timeout))
    case, asked = _hand_out(case, at, rules)
    return case, [*said, Replace(), *asked]


def _judge(case: Case, finding: Finding) -> tuple[Case, list[Action]]:
    """Say what changes; one finding is enough for now, and flapping is to be dealt with here."""
    if not _news(case.said, finding):
        return case, []
    return structs.replace(case, said=finding), [Say(finding)]


def _news(said: Finding | None, finding: Finding) -> bool:
    """A database is down once, whatever the reasons; of settings each new error is told, to be corrected."""
    match said, finding:
        case (DbUp(), DbUp()) | (DbDown(), DbDown()):
            return False
        case DbMisconfigured(), DbMisconfigured():
            return (said.key, said.reason) != (finding.key, finding.reason)
        case _:
            return True
