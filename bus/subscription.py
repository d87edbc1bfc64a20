"""Gap-free listening: the broker's news while they are complete, replay where they are not."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Self

from bus import codec
from bus.api import matches
from bus.errors import DecodeError
from bus.events import Envelope
from bus.wire import Item

log = logging.getLogger(__name__)

QUEUE = 10_000
"""Events that wait for a slow subscriber; what comes then is left in the journal until it asks."""
RECENT = 64
"""Batches of news that are kept for subscriptions which are catching up."""


class Batch(NamedTuple):
    prev: int
    head: int
    items: Sequence[Item]


class Part(NamedTuple):
    """A part of a replay: everything up to `upto` has been looked at; `head` is the journal's."""

    items: Sequence[Item]
    upto: int
    head: int


Fetch = Callable[[tuple[str, ...], str, int], Awaitable[Part]]


class LiveSubscription:
    """Position = seq up to which everything is in the queue, or did not match.

    Live: news that begin at the position go into the queue. Not live, at the start, after a gap, or when the
    queue was full: the subscriber itself fetches the next part of the journal once its queue is empty. So a
    subscription that nobody reads costs nothing.
    """

    def __init__(self, feed: "Feed", patterns: tuple[str, ...], subject: str, after: int) -> None:
        self._feed, self._patterns, self._subject = feed, patterns, subject
        self._position = after
        self._queue: deque[Item] = deque()
        self._changed = asyncio.Event()
        self._live = False
        self._closed = False

    @property
    def live(self) -> bool:
        return self._live

    def offer(self, batch: Batch) -> None:
        """Take in news, or notice that something before them is missing."""
        if not self._live or batch.head <= self._position:
            return
        if batch.prev > self._position:
            self._live = False
        else:
            self._take(batch.items, batch.head)
        self._changed.set()

    def restart(self) -> None:
        """The journal is not the one that our position belongs to: begin at its beginning."""
        self._position = 0
        self._live = False
        self._changed.set()

    def _take(self, items: Sequence[Item], head: int) -> None:
        self._queue.extend(
            item for item in items if item.stamp.seq > self._position and self._wants(item.topic)
        )
        self._position = head
        if len(self._queue) >= QUEUE:
            self._live = False

    def _wants(self, topic: str) -> bool:
        name, _, subject = topic.partition(".")
        return matches(self._patterns, self._subject, name, subject)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Envelope:
        while not self._closed:
            while self._queue:
                try:
                    return codec.open_item(self._queue.popleft())
                except DecodeError as error:
                    self._feed.refuse(error)
            if self._live:
                self._changed.clear()
                await self._changed.wait()
            else:
                await self._catch_up()
        raise StopAsyncIteration

    async def _catch_up(self) -> None:
        position = self._position
        part = await self._feed.fetch(self._patterns, self._subject, position)
        if self._position != position or self._live:  # somebody else was here meanwhile
            return
        self._take(part.items, part.upto)
        if part.upto >= part.head:
            self._live = True
            for batch in self._feed.recent:
                self.offer(batch)

    async def aclose(self) -> None:
        self._closed = True
        self._changed.set()
        self._feed.leave(self)


class Feed:
    """Hands the news on to all subscriptions of a client."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self.recent: deque[Batch] = deque(maxlen=RECENT)
        self.refused = 0
        """Bytes that did not fit the protocol, counted in frames or items."""
        self._subscriptions: list[LiveSubscription] = []
        self._head = 0

    def join(self, patterns: tuple[str, ...], subject: str, after: int) -> LiveSubscription:
        subscription = LiveSubscription(self, patterns, subject, after)
        self._subscriptions.append(subscription)
        return subscription

    def leave(self, subscription: LiveSubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def take(self, batch: Batch) -> None:
        if batch.head < self._head:
            log.warning("the journal went back from %d to %d: beginning anew", self._head, batch.head)
            self.recent.clear()
            for subscription in self._subscriptions:
                subscription.restart()
        self._head = batch.head
        for subscription in self._subscriptions:
            subscription.offer(batch)
        if all(subscription.live for subscription in self._subscriptions):
            self.recent.clear()
        elif batch.items:
            self.recent.append(batch)

    def refuse(self, error: DecodeError) -> None:
        if not self.refused:
            log.warning("the broker's socket sends what does not fit the protocol (%s); said once", error)
        self.refused += 1

    async def close(self) -> None:
        for subscription in list(self._subscriptions):
            await subscription.aclose()
