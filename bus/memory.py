"""The bus without sockets or files: for tests and for `Ledger`, which needs a tail when the disk is full."""

import asyncio
import secrets
import socket
import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Generator, Sequence

from bus import codec
from bus.api import Cause, Snapshot, matches
from bus.errors import DecodeError
from bus.events import BY_TYPE, AnyEvent, Envelope
from bus.intake import Intake
from bus.wire import Newest, Page, Publish, Record


class MemoryJournal:
    """Keeps the last `limit` records; None keeps them all."""

    def __init__(self, head: int = 0, limit: int | None = None) -> None:
        self.head = head
        self.records: list[Record] = []
        self.cursors: dict[str, int] = {}
        self._limit = limit
        self._latest: dict[tuple[str, str], Record] = {}
        self._numbers: dict[str, int] = {}
        self._watchers: list[Callable[[], None]] = []

    def append(self, records: Sequence[Record]) -> None:
        for record in records:
            self.records.append(record)
            self._latest[record.type, record.subject] = record
            self._numbers[record.instance] = record.n
            self.head = record.seq
        if self._limit is not None and len(self.records) > self._limit:
            del self.records[: -self._limit]
        for watcher in list(self._watchers):
            watcher()

    def last_n(self, instance: str) -> int:
        return self._numbers.get(instance, 0)

    def seq_of(self, instance: str, n: int) -> int:
        for record in reversed(self.records):
            if record.instance == instance and record.n <= n:
                return record.seq if record.n == n else 0
        return 0

    def replay(self, patterns: tuple[str, ...], subject: str, after: int, limit: int) -> Page:
        start = bisect_right(self.records, after, key=lambda record: record.seq)
        found: list[bytes] = []
        for record in self.records[start:]:
            if matches(patterns, subject, record.type, record.subject):
                found.append(record.packed)
                if len(found) == limit:
                    return Page(found, record.seq)
        return Page(found, max(self.head, after))

    def latest(self, patterns: tuple[str, ...], subject: str) -> Newest:
        found = [r for r in self._latest.values() if matches(patterns, subject, r.type, r.subject)]
        return {(BY_TYPE[r.type].family, r.subject): (r.seq, r.packed) for r in sorted(found)}

    def seq_at(self, time: float) -> int:
        return max((record.seq for record in self.records if record.time < time), default=0)

    def commit(self, cursors: dict[str, int]) -> None:
        for consumer, seq in cursors.items():
            self.cursors[consumer] = max(seq, self.cursor(consumer))

    def cursor(self, consumer: str) -> int:
        return self.cursors.get(consumer, 0)

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Have `watcher` called after each append; gives what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)


class MemoryPublication(Awaitable[int]):
    """What MemoryBus.publish gives: the journal has the event already."""

    def __init__(self, seq: int) -> None:
        self.seq = seq

    def __await__(self) -> Generator[None, None, int]:
        yield  # as the real one does: others get their turn
        return self.seq


class MemorySubscription:
    def __init__(self, journal: MemoryJournal, patterns: tuple[str, ...], subject: str, after: int) -> None:
        self._journal, self._patterns, self._subject, self._position = journal, patterns, subject, after
        self._changed = asyncio.Event()
        self._closed = False
        self._unwatch = journal.watch(self._changed.set)

    def __aiter__(self) -> "MemorySubscription":
        return self

    async def __anext__(self) -> Envelope:
        while not self._closed:
            page = self._journal.replay(self._patterns, self._subject, self._position, 1)
            self._position = page.upto
            if page.packed:
                return codec.unpack_packed(page.packed[0])
            self._changed.clear()
            await self._changed.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._unwatch()
            self._changed.set()


class MemoryBus:
    """A client of a journal in memory; several may share one, see `other`."""

    def __init__(self, source: str, journal: MemoryJournal | None = None) -> None:
        self.source = source
        self.journal = MemoryJournal() if journal is None else journal
        self._instance = secrets.token_hex(6)
        self._subscriptions: list[MemorySubscription] = []

    def other(self, source: str) -> "MemoryBus":
        """Another client of the same journal."""
        return MemoryBus(source, self.journal)

    def publish(self, event: AnyEvent, *, cause: Cause = 0) -> MemoryPublication:
        reason = cause.seq if isinstance(cause, MemoryPublication) else cause
        if not isinstance(reason, int):
            raise TypeError(f"{cause!r} is not a publication of this kind of bus")
        intake = Intake(self.journal)
        n = self.journal.last_n(self._instance) + 1
        message = Publish(self._instance, socket.gethostname(), self.source, oldest=n, first=n)
        frame = codec.unpack_frame(codec.pack_frame(message, [codec.pack_posted(event, reason)]))
        intake.accept(message, frame.items, time.time())
        records = intake.take()
        if not records:
            raise DecodeError(f"{event!r} does not fit the protocol")
        self.journal.append(records)
        return MemoryPublication(records[0].seq)

    async def subscribe(
        self, *patterns: str, subject: str = "", after: int | None = None
    ) -> MemorySubscription:
        start = self.journal.head if after is None else after
        subscription = MemorySubscription(self.journal, patterns, subject, start)
        self._subscriptions.append(subscription)
        return subscription

    async def replay(
        self, *patterns: str, subject: str = "", after: int = 0, limit: int = 1000
    ) -> list[Envelope]:
        page = self.journal.replay(patterns, subject, after, limit)
        return [codec.unpack_packed(packed) for packed in page.packed]

    async def latest(self, *patterns: str, subject: str = "") -> Snapshot:
        newest = sorted(self.journal.latest(patterns, subject).values())
        return Snapshot(self.journal.head, [codec.unpack_packed(packed) for _, packed in newest])

    async def seq_at(self, time: float) -> int:
        return self.journal.seq_at(time)

    async def commit(self, consumer: str, seq: int) -> None:
        self.journal.commit({consumer: seq})

    async def cursor(self, consumer: str) -> int:
        return self.journal.cursor(consumer)

    async def flush(self, *, within: float) -> bool:  # noqa: ARG002 - nothing is ever under way here
        return True

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.aclose()
        self._subscriptions.clear()
