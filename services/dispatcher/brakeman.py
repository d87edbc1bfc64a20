"""Counts who is in trouble, and says when the brake goes on and off."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from bus.events import BrakeOff, BrakeOn
from services.dispatcher import brake
from services.dispatcher.brake import OFF, Brake, BrakeRules, Position
from services.dispatcher.decide import Case
from services.dispatcher.sense import Pages

log = logging.getLogger(__name__)

Say: TypeAlias = Callable[[BrakeOn | BrakeOff], object]

NAMED = 100
"""Tenants that BRAKE_ON names at most."""


class Brakeman:
    """In trouble is who is half of the way to a verdict, and who got one lately.

    Quiet tenants are asked one after the other, so that few of them are known to be in trouble at a time: of
    them the share counts that failed of those who were asked.
    """

    def __init__(self, rules: BrakeRules, pages: Pages, stuck_after: float, say: Say) -> None:
        self.brake: Brake = OFF
        self._rules = rules
        self._pages = pages
        self._stuck_after = stuck_after
        self._say = say
        self._convicted: dict[str, float] = {}
        self._checks: dict[str, tuple[float, bool]] = {}
        """When each tenant was checked last, and whether that failed; the oldest first."""

    def look(self, cases: Mapping[str, Case], now: float) -> None:
        """See whether the brake may go off."""
        if self.brake.position is not Position.OFF:
            self._follow(cases, now)

    def allows(self, cases: Mapping[str, Case], now: float) -> bool:
        """Tell whether one more tenant may be called stuck now; may put the brake on."""
        if self.brake.position is Position.OFF:
            self._follow(cases, now)
        return brake.allows(self.brake, now)

    def passed(self, tenant: str, now: float) -> None:
        """Remember that a tenant was called stuck."""
        self._convicted[tenant] = now
        self.brake = brake.let_through(self.brake, now, self._rules)

    def checked(self, tenant: str, *, failed: bool, now: float) -> None:
        """Learn the outcome of an HTTP check."""
        self._checks.pop(tenant, None)
        self._checks[tenant] = (now, failed)

    def release(self, by: str, now: float) -> None:
        """Let all through, since a person says so; harmless when the brake is off."""
        if self.brake.position is Position.ON:
            self.brake = brake.release(self.brake, now)
            self._say(BrakeOff(reason=f"released by {by}"))

    def resume(self, now: float) -> None:
        """Be where an earlier dispatcher said that the brake is: on."""
        self.brake = brake.pull(now, self._rules)

    def _follow(self, cases: Mapping[str, Case], now: float) -> None:
        before = self.brake.position
        troubled = {*self._troubled(cases, now)}
        self.brake = brake.follow(self.brake, self._level(troubled, now), now, self._rules)
        if before is Position.OFF and self.brake.position is Position.ON:
            self._tell_on(troubled)
        elif before is Position.ON and self.brake.position is Position.OFF:
            self._say(BrakeOff(reason="few tenants are in trouble now"))

    def _troubled(self, cases: Mapping[str, Case], now: float) -> Iterator[str]:
        yield from self._pages.busy(now - self._stuck_after / 2)
        yield from (tenant for tenant, case in cases.items() if not case.convicted)
        self._convicted = {
            tenant: at
            for tenant, at in self._convicted.items()
            if now - at < self._rules.pace and tenant in self._pages
        }
        yield from self._convicted

    def _level(self, troubled: set[str], now: float) -> float:
        while self._checks:
            tenant, (at, _) = next(iter(self._checks.items()))
            if now - at < 2 * self._stuck_after:
                break
            del self._checks[tenant]
        failed = sum(failed for _, failed in self._checks.values())
        return max(
            self._rules.level(len(troubled), self._pages.count_serving()),
            self._rules.level(failed, len(self._checks)),
        )

    def _tell_on(self, troubled: set[str]) -> None:
        reason = (
            f"{len(troubled)} of {self._pages.count_serving()} tenants do not work:"
            " something that they share is wrong;"
            f" they are ended one at a time, every {self._rules.pace:g} s"
        )
        log.warning("brake on: %s", reason)
        self._say(BrakeOn(reason=reason, count=len(troubled), tenants=tuple(sorted(troubled)[:NAMED])))
