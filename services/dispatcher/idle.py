"""Decides which tenants nobody uses: requests, those being answered, and open websockets are use; pure.

A page tells how much was used, never when: so each tenant on demand is looked at some times in the time that
it may be idle. Our own questions are no use. Times are seconds of one monotonic clock, passed in.
"""

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from bus.events import TenantIdle
from services.dispatcher.decide import Sight
from services.dispatcher.queues import TimeQueue

LOOKS = 10
"""Looks at a tenant in the time that it may be idle: its idleness is noticed late by one of them at most."""

AGAIN = 60.0
"""Seconds, at least, until an idle tenant that still runs is called idle again: somebody missed it."""


class Use(Struct, frozen=True, kw_only=True):
    """When a process was last seen in use, and how much it had answered by then."""

    pid: int
    started: int
    since: float
    answered: int
    """Requests but ours."""


def follow(known: Use | None, sight: Sight, ours: int, at: float) -> Use:
    """Tell the use of a process after one more look; `ours` of its requests were our own."""
    answered = sight.requests - ours
    same = known and (known.pid, known.started) == (sight.pid, sight.started)
    in_use = sight.in_flight or sight.websockets or not sight.loops  # a program without a loop keeps no score
    if known is None or not same or in_use or answered > known.answered:
        return Use(pid=sight.pid, started=sight.started, since=at, answered=answered)
    return known


class Idleness:
    """The tenants that are to be stopped when nobody uses them; the others cost nothing here."""

    def __init__(self, width: float) -> None:
        self._limits: dict[str, float] = {}
        self._uses: dict[str, Use] = {}
        self._due = TimeQueue(width)

    def allow(self, tenant: str, idle: float | None) -> None:
        """Let a tenant be idle for so many seconds, or for ever; it is looked at once it enters (again)."""
        self.leave(tenant)
        if idle is None:
            self._limits.pop(tenant, None)
        else:
            self._limits[tenant] = idle

    def enter(self, tenant: str, now: float) -> None:
        """Look at a tenant from now on, since it serves; harmless when repeated."""
        if tenant in self._limits and tenant not in self._due:
            self._due.put(tenant, now)

    def leave(self, tenant: str) -> None:
        """Look at a tenant no more; harmless when repeated."""
        self._due.discard(tenant)
        self._uses.pop(tenant, None)

    def look(
        self, now: float, read: Callable[[str], Sight | None], ours: Mapping[str, int]
    ) -> Iterator[TenantIdle]:
        """Look at those whose turn it is; gives what there is to say. `ours`: questions of ours, answered."""
        for tenant in self._due.pop_due(now):
            sight = read(tenant)
            if sight is None or not sight.serving:
                self.leave(tenant)
                continue
            limit = self._limits[tenant]
            use = self._uses[tenant] = follow(self._uses.get(tenant), sight, ours.get(tenant, 0), now)
            idle = now - use.since
            if idle < limit:
                self._due.put(tenant, min(now + limit / LOOKS, use.since + limit))
                continue
            self._due.put(tenant, now + max(limit, AGAIN))
            reason = f"not used for {idle:.0f} s"
            yield TenantIdle(
                tenant=tenant, pid=use.pid, started=use.started, idle_for=round(idle, 3), reason=reason
            )
