"""What the reactor asks the bus for: the present when it starts, and all that follows."""

from bus.api import Bus, Snapshot
from bus.events import wire_name
from services.reactor.actions import OwnEvent, Request, SharedEvent

GOOD = ("USER_ADDED", "USER_MODIFIED", "USER_DELETED")
USER = (*GOOD, "USER_INVALID")
REQUESTS = tuple(wire_name(event.__name__) for event in Request.__args__)
SHARED = tuple(wire_name(event.__name__) for event in SharedEvent.__args__)
OWN = tuple(wire_name(event.__name__) for event in OwnEvent.__args__)

FOLLOWED = (*USER, *REQUESTS, *SHARED, "PROC_STUCK", "PROC_OVERSIZE", "TENANT_IDLE")


async def present(bus: Bus) -> Snapshot:
    """Tell what is so now, in the order in which it came to be."""
    head, events = await bus.latest(*USER, *REQUESTS, *SHARED, *OWN)
    # below settings that cannot be used there may be good ones: what runs on them runs on
    _, good = await bus.latest(*GOOD)
    # what people asked for counts only when it is newer than the deletion of an earlier tenant of that name
    _, deleted = await bus.latest("USER_DELETED")
    return Snapshot(
        head, sorted({e.seq: e for e in (*events, *good, *deleted)}.values(), key=lambda e: e.seq)
    )
