"""What a client has published and the broker has not acknowledged yet; pure."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Generator
from typing import NamedTuple

from bus.errors import BusError

BATCH_EVENTS = 500
BATCH_BYTES = 1_000_000


class Ticket(Awaitable[int]):
    """A publication under way: awaiting it gives its seq."""

    __slots__ = ("_error", "_future", "instance", "n", "seq")

    def __init__(self, instance: str, n: int) -> None:
        self.instance = instance
        self.n = n
        self.seq = 0
        self._error: BusError | None = None
        self._future: asyncio.Future[None] | None = None

    def settle(self, seq: int = 0, error: BusError | None = None) -> None:
        self.seq, self._error = seq, error
        if self._future and not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[object, None, int]:
        if not self.seq and not self._error:
            if self._future is None:
                self._future = asyncio.get_running_loop().create_future()
            yield from asyncio.shield(self._future)  # others may be waiting as well
        if self._error:
            raise self._error
        return self.seq


class Posting(NamedTuple):
    ticket: Ticket
    packed: bytes


class Outbox:
    """Events in order of their numbers: some on their way, the rest waiting.

    At most `window` are on their way, so that a broker that was away is not flooded, and at most `limit` are
    kept: then the oldest is given up.
    """

    def __init__(self, window: int = 5_000, limit: int = 100_000) -> None:
        self._window, self._limit = window, limit
        self._under_way: deque[Posting] = deque()
        self._waiting: deque[Posting] = deque()

    def __len__(self) -> int:
        return len(self._under_way) + len(self._waiting)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    @property
    def oldest(self) -> Ticket | None:
        first = self._under_way or self._waiting
        return first[0].ticket if first else None

    @property
    def newest(self) -> Ticket | None:
        last = self._waiting or self._under_way
        return last[-1].ticket if last else None

    def add(self, ticket: Ticket, packed: bytes) -> Ticket | None:
        """Take in an event; gives the one that was given up for it, if any."""
        self._waiting.append(Posting(ticket, packed))
        if len(self) <= self._limit:
            return None
        return (self._under_way or self._waiting).popleft().ticket

    def batch(self) -> tuple[int, list[bytes]] | None:
        """Tell what to send next, first number and items; None when there is nothing, or too much is out."""
        room = min(BATCH_EVENTS, self._window - len(self._under_way), len(self._waiting))
        if room <= 0:
            return None
        first, items, size = self._waiting[0].ticket.n, list[bytes](), 0
        while len(items) < room and size < BATCH_BYTES:
            posting = self._waiting.popleft()
            self._under_way.append(posting)
            items.append(posting.packed)
            size += len(posting.packed)
        return first, items

    def rewind(self, n: int = 0) -> None:
        """Have everything from number `n` on sent again."""
        while self._under_way and self._under_way[-1].ticket.n >= n:
            self._waiting.appendleft(self._under_way.pop())

    def acknowledge(self, last: int) -> list[Ticket]:
        """Let go of everything up to number `last`."""
        done = []
        for postings in (self._under_way, self._waiting):
            while postings and postings[0].ticket.n <= last:
                done.append(postings.popleft().ticket)
        return done
