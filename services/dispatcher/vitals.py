"""What is said about tenants that work, and not well: slow, answering with errors, too large; pure.

Nobody is ended for that. Times are seconds of one monotonic clock, passed in.
"""

from msgspec import Struct, structs

SLOW_TIMES = 3
"""Times within a period that a tenant is slow before that is said: everybody has a bad second at times."""

ERRORS_LEAST = 10
"""Answers with errors within a period that are worth a word."""

HEAVY_TIMES = 2
"""Times in a row that a tenant is found too large before that is said: a large report comes and goes."""

REPEAT = 10
"""Periods after which it is said again of the same process: who was to act on it may not have heard."""


class VitalRules(Struct, frozen=True, kw_only=True):
    slow_after: float
    """Seconds in one go that an event loop may be busy, or that an answer may take."""
    error_share: float
    """Share of answers with errors from which on a tenant fails."""
    period: float
    """Seconds that something counts, and between two looks at counters."""


class Lag(Struct, frozen=True, kw_only=True):
    """One time that a tenant was slow."""

    at: float
    seconds: float
    since: float
    """When that began, which tells it from others."""


class Counters(Struct, frozen=True, kw_only=True):
    requests: int
    errors: int


class Vitals(Struct, frozen=True, kw_only=True):
    """How one process has been lately."""

    pid: int
    started: int
    lags: tuple[Lag, ...] = ()
    counters: Counters | None = None
    heavy: int = 0
    """Times in a row that it was too large."""
    slow: bool = False
    failing: bool = False
    """What has been said of it."""
    oversize_at: float | None = None
    """When it was called too large."""

    @property
    def ailment(self) -> str:
        """Tell in words what has been said of it."""
        said = (("slow", self.slow), ("answers with errors", self.failing))
        return ", ".join(words for words, true in said if true)


def lagged(vitals: Vitals, lag: Lag, rules: VitalRules) -> Vitals:
    """Remember that a tenant was slow, or still is; what was long ago counts no more."""
    recent = [each for each in vitals.lags if each.at > lag.at - rules.period and each.since != lag.since]
    return structs.replace(vitals, lags=(*recent[1 - 2 * SLOW_TIMES :], lag))


def is_slow(vitals: Vitals, at: float, rules: VitalRules) -> bool:
    """Tell whether a tenant is slow; one that was called so stays so for a period without any such time."""
    recent = sum(lag.at > at - rules.period for lag in vitals.lags)
    return recent >= (1 if vitals.slow else SLOW_TIMES)


def is_failing(vitals: Vitals, now: Counters, rules: VitalRules) -> bool:
    """Tell whether a tenant fails, by its answers since the last look; who did still does with half."""
    answers = since(vitals, now)
    if vitals.failing:
        return answers.requests == 0 or answers.errors > answers.requests * rules.error_share / 2
    return answers.errors >= max(ERRORS_LEAST, answers.requests * rules.error_share)


def since(vitals: Vitals, now: Counters) -> Counters:
    """Tell what a tenant has answered since the last look."""
    before = vitals.counters or now
    return Counters(requests=now.requests - before.requests, errors=now.errors - before.errors)


def weighed(vitals: Vitals, memory: int, limit: int) -> Vitals:
    return structs.replace(vitals, heavy=vitals.heavy + 1 if memory > limit else 0)


def is_oversize(vitals: Vitals, at: float, rules: VitalRules) -> bool:
    """Tell whether it is time to say that a tenant is too large."""
    said = vitals.oversize_at
    return vitals.heavy >= HEAVY_TIMES and (said is None or at - said >= REPEAT * rules.period)
