"""Who comes next, how many are under way, and how many come to one database: pure, all in O(log n)."""

from heapq import heappop, heappush

from bus.settings import MoveSettings
from services.reactor.actions import Spawn
from services.reactor.bucket import Bucket

SLOT = 2.0
"""Seconds after which a start that is not ready gives up its place: who hangs must not hold up others."""


class Lane:
    """Orders that wait for the same thing, the first that should come at the head."""

    def __init__(self, bucket: Bucket | None = None) -> None:
        self.bucket = bucket
        """Gives a token for each that comes to a database; None for those who are there already."""
        self.queue: list[tuple[tuple[bool, bool, str], int, Spawn]] = []


class Pace:
    """Starts wait here for one of `limit` places: again before anew, paid before free, then by name.

    Those that come to a database from elsewhere wait for a token of that database as well.
    """

    def __init__(self, limit: int, moves: MoveSettings) -> None:
        self._limit = limit
        self._moves = moves
        self._orders: dict[str, Spawn] = {}
        self._lanes: dict[str, Lane] = {"": Lane()}
        """One for each database to come to, and one for those who go nowhere."""
        self._count = 0
        self._places: dict[str, float] = {}
        """Who is starting, and until when that takes a place; those who started first stand first."""

    def ask(self, order: Spawn) -> None:
        """Let a start wait for its turn, in the place of an earlier one of the same tenant."""
        self._orders[order.tenant] = order
        self._count += 1
        rank = (not order.again, order.settings.plan != "paid", order.tenant)
        heappush(self._lane(order).queue, (rank, self._count, order))

    def withdraw(self, tenant: str) -> bool:
        """Take back a start; False when it waits no more."""
        return self._orders.pop(tenant, None) is not None

    def leave(self, tenant: str) -> None:
        """Give up the tenant's place: it is ready, or will never be."""
        self._places.pop(tenant, None)

    def take(self, at: float) -> Spawn | None:
        """Give the next start, None when there is none or none may come at this monotonic time."""
        self._expire(at)
        if len(self._places) >= self._limit:
            return None
        open_ = [lane for lane in self._waiting() if lane.bucket is None or lane.bucket.next_at <= at]
        if not open_:
            return None
        lane = min(open_, key=lambda each: each.queue[0])
        order = heappop(lane.queue)[-1]
        if lane.bucket:
            lane.bucket.take(at)
        del self._orders[order.tenant]
        self._places.pop(order.tenant, None)
        self._places[order.tenant] = at + SLOT
        return order

    def look_again_at(self) -> float | None:
        """Tell when somebody who waits may come, if nothing else happens; None when nobody waits."""
        tokens = [lane.bucket.next_at if lane.bucket else 0.0 for lane in self._waiting()]
        if not tokens:
            return None
        place = next(iter(self._places.values())) if len(self._places) >= self._limit else 0.0
        return max(place, min(tokens))

    def _lane(self, order: Spawn) -> Lane:
        name = order.database if order.comes else ""
        if name not in self._lanes:
            self._lanes[name] = Lane(Bucket(self._moves.rate, self._moves.burst))
        return self._lanes[name]

    def _waiting(self) -> list[Lane]:
        """Give the lanes in which somebody waits, after dropping who stands at a head and waits no more."""
        for lane in self._lanes.values():
            while lane.queue and self._orders.get(lane.queue[0][-1].tenant) is not lane.queue[0][-1]:
                heappop(lane.queue)
        return [lane for lane in self._lanes.values() if lane.queue]

    def _expire(self, at: float) -> None:
        while self._places:
            tenant, until = next(iter(self._places.items()))
            if until > at:
                return
            del self._places[tenant]
