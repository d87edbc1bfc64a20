"""Who comes next, how many are under way, and how many come to one database: pure, all in O(log n)."""

from heapq import heappop, heappush
from typing import TypeAlias

from bus.sections import MoveSettings
from services.reactor.actions import Spawn, Switch
from services.reactor.bucket import Bucket

SLOT = 2.0
"""Seconds after which a start that is not ready gives up its place: who hangs must not hold up others."""


Order: TypeAlias = Spawn | Switch


class Lane:
    """Orders that wait for the same thing, the first that should come at the head."""

    def __init__(self, bucket: Bucket | None, *, places: bool) -> None:
        self.bucket = bucket
        """Gives a token for each that comes to a database; None for those who are there already."""
        self.places = places
        """Whether each takes a place."""
        self.queue: list[tuple[tuple[bool, bool, str], int, Order]] = []


class Pace:
    """Starts wait here for one of `limit` places: again before anew, paid before free, then by name.

    Those that come to a database from elsewhere wait for a token of that database as well; a process that is
    only told to use it needs nothing else.
    """

    def __init__(self, limit: int, moves: MoveSettings) -> None:
        self._limit = limit
        self._moves = moves
        self._orders: dict[str, Order] = {}
        self._buckets: dict[str, Bucket] = {}
        self._lanes: dict[tuple[str, bool], Lane] = {}
        """Two for each database to come to, "" for those who go nowhere: who needs a place, who does not."""
        self._count = 0
        self._places: dict[str, float] = {}
        """Who is starting, and until when that takes a place; those who started first stand first."""

    def ask(self, order: Order) -> None:
        """Let an order wait for its turn, in the place of an earlier one of the same tenant."""
        self._orders[order.tenant] = order
        self._count += 1
        again = isinstance(order, Switch) or order.again
        rank = (not again, order.settings.plan != "paid", order.tenant)
        heappush(self._lane(order).queue, (rank, self._count, order))

    def withdraw(self, tenant: str) -> bool:
        """Take back an order; False when it waits no more."""
        return self._orders.pop(tenant, None) is not None

    def leave(self, tenant: str) -> None:
        """Give up the tenant's place: it is ready, or will never be."""
        self._places.pop(tenant, None)

    def take(self, at: float) -> Order | None:
        """Give the next order, None when there is none or none may come at this monotonic time."""
        self._expire(at)
        open_ = [lane for lane in self._waiting() if self._opens_at(lane) <= at]
        if not open_:
            return None
        lane = min(open_, key=lambda each: each.queue[0])
        order = heappop(lane.queue)[-1]
        if lane.bucket:
            lane.bucket.take(at)
        del self._orders[order.tenant]
        if lane.places:
            self._places.pop(order.tenant, None)
            self._places[order.tenant] = at + SLOT
        return order

    def look_again_at(self) -> float | None:
        """Tell when somebody who waits may come, if nothing else happens; None when nobody waits."""
        return min(map(self._opens_at, self._waiting()), default=None)

    def _opens_at(self, lane: Lane) -> float:
        """Tell when the next in a lane may come, if nothing else happens; 0 for at once."""
        place = next(iter(self._places.values())) if len(self._places) >= self._limit else 0.0
        return max(lane.bucket.next_at if lane.bucket else 0.0, place if lane.places else 0.0)

    def _lane(self, order: Order) -> Lane:
        places = isinstance(order, Spawn)
        name = order.database if isinstance(order, Switch) or order.comes else ""
        if (name, places) not in self._lanes:
            bucket = self._bucket(name) if name else None
            self._lanes[name, places] = Lane(bucket, places=places)
        return self._lanes[name, places]

    def _bucket(self, database: str) -> Bucket:
        if database not in self._buckets:
            self._buckets[database] = Bucket(self._moves.rate, self._moves.burst)
        return self._buckets[database]

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
