"""What the dispatcher tells who connects to its socket: where each tenant stands in its queues.

It changes many times a second and concerns nobody but the person who asks, so that it is no event.
"""

from typing import Literal

from msgspec import Struct

QueueName = Literal["due", "in flight", "suspect"]
"""Next check at its time; asked, and to answer by then; failed a check or close to a verdict."""


class Place(Struct, frozen=True, kw_only=True):
    """Where one tenant stands."""

    tenant: str
    queue: QueueName
    place: int
    """In its queue, from 1."""
    due: float
    """When something happens next: it is asked, must have answered, or is convicted (wall clock, seconds)."""
    reason: str = ""
    """What speaks against it."""


class QueueTable(Struct, frozen=True, kw_only=True):
    """All that the dispatcher watches."""

    watched: int
    """Tenants that have a score page."""
    due: int
    in_flight: int
    suspect: int
    brake: str
    """"off", "on", or "released"."""
    look: float
    """Seconds that the last look at all score pages took."""
    places: list[Place]
    """In the order of the queues; suspects first."""
