"""What a service may ask of the bus: the contract that every implementation keeps (tests/contract/).

The four operations have the shape of NATS JetStream: acknowledged publish with de-duplication, replay from a
sequence number, last per subject, durable consumer.

Patterns name event types: "DB_DOWN" one of them, "DB_*" all that start so. No pattern means every type.
"""

from collections.abc import AsyncIterable, Awaitable
from typing import NamedTuple, Protocol, Self, TypeAlias

from bus.events import AnyEvent, Envelope


class Snapshot(NamedTuple):
    """The newest events at one moment; subscribe after `head` and nothing is missed or seen twice."""

    head: int
    events: list[Envelope]


class Publication(Awaitable[int], Protocol):
    """A publication under way; awaiting it gives its seq once the journal has it.

    It need not be awaited: the client keeps the event and sends it again until it is acknowledged.
    """


Cause: TypeAlias = "int | Publication"
"""The event that led to another: its seq, or its publication (which need not be acknowledged yet)."""


class Subscription(AsyncIterable[Envelope], Protocol):
    """Events in order, none missing, none twice, whatever happens to the broker meanwhile."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Envelope: ...

    async def aclose(self) -> None: ...


class Bus(Protocol):
    """What a service holds. Made by `bus.client.connect` or `bus.memory.MemoryBus`."""

    source: str

    def publish(self, event: AnyEvent, *, cause: Cause = 0) -> Publication:
        """Say something. Never blocks; order is kept."""

    async def subscribe(self, *patterns: str, subject: str = "", after: int | None = None) -> Subscription:
        """Listen: everything that matches and has a seq above `after`; None means from now on."""

    async def replay(
        self, *patterns: str, subject: str = "", after: int = 0, limit: int = 1000
    ) -> list[Envelope]:
        """Look back: the first `limit` matching events with a seq above `after`, in order."""

    async def latest(self, *patterns: str, subject: str = "") -> Snapshot:
        """Tell the present: of each (family, subject), the newest event that matches a pattern."""

    async def seq_at(self, time: float) -> int:
        """Tell the seq of the last event before a wall-clock time, 0 if there is none."""

    async def commit(self, consumer: str, seq: int) -> None:
        """Remember that `consumer` has dealt with everything up to `seq`."""

    async def cursor(self, consumer: str) -> int:
        """Tell what `consumer` committed last, 0 if nothing."""

    async def flush(self, *, within: float) -> bool:
        """Wait until everything published is acknowledged; False if that took longer than `within` s."""

    async def close(self) -> None:
        """Let go of the sockets; what is not acknowledged yet is lost. Harmless when repeated."""


def matches(patterns: tuple[str, ...], subject: str, event_type: str, event_subject: str) -> bool:
    """Tell whether an event is meant by patterns and by a subject ("" means any)."""
    if subject and subject != event_subject:
        return False
    if not patterns:
        return True
    return any(
        event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern
        for pattern in patterns
    )
