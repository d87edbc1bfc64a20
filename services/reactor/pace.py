"""Whose start comes next, and how many may be under way: pure, every operation in O(log n)."""

from heapq import heappop, heappush

from services.reactor.actions import Spawn

SLOT = 2.0
"""Seconds after which a start that is not ready gives up its place: who hangs must not hold up others."""


class Pace:
    """Starts wait here for one of `limit` places: again before anew, paid before free, then by name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._orders: dict[str, Spawn] = {}
        self._queue: list[tuple[tuple[bool, bool, str], int, Spawn]] = []
        self._count = 0
        self._places: dict[str, float] = {}
        """Who is starting, and until when that takes a place; those who started first stand first."""

    def ask(self, order: Spawn) -> None:
        """Let a start wait for its turn, in the place of an earlier one of the same tenant."""
        self._orders[order.tenant] = order
        self._count += 1
        rank = (not order.again, order.settings.plan != "paid", order.tenant)
        heappush(self._queue, (rank, self._count, order))

    def withdraw(self, tenant: str) -> bool:
        """Take back a start; False when it waits no more."""
        return self._orders.pop(tenant, None) is not None

    def leave(self, tenant: str) -> None:
        """Give up the tenant's place: it is ready, or will never be."""
        self._places.pop(tenant, None)

    def take(self, at: float) -> Spawn | None:
        """Give the next start, None when there is none or no place is free at this monotonic time."""
        self._expire(at)
        if len(self._places) >= self._limit:
            return None
        while self._queue:
            order = heappop(self._queue)[-1]
            if self._orders.get(order.tenant) is order:
                del self._orders[order.tenant]
                self._places.pop(order.tenant, None)
                self._places[order.tenant] = at + SLOT
                return order
        return None

    def look_again_at(self) -> float | None:
        """Tell when a place falls free for somebody who waits, if nothing else happens; None when never."""
        return next(iter(self._places.values()), None) if self._orders else None

    def _expire(self, at: float) -> None:
        while self._places:
            tenant, until = next(iter(self._places.items()))
            if until > at:
                return
            del self._places[tenant]
