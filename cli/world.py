"""Asks the bus for the present, in the shape that the tables need."""

import time

from bus.api import Bus
from bus.events import BrakeOn, Envelope, JournalDegraded
from cli import view

SERVICES = ("broker", "pathwatch", "dbwatch", "dispatcher", "reactor")
"""tenantbus's own processes, in the order in which they are started."""


async def tenants(bus: Bus) -> list[view.TenantRow]:
    asked = ("USER_*", "PROC_*", "PROC_STARTED", "PROC_READY")
    present = view.Present(*[(await bus.latest(pattern)).events for pattern in asked])
    return view.tenants(present._replace(reactor=await reactor(bus)), time.time())


async def reactor(bus: Bus) -> list[Envelope]:
    """Give the newest SERVICE_UP of the reactor, if there is one."""
    return (await bus.latest("SERVICE_UP", subject="reactor")).events


async def brake(bus: Bus) -> tuple[float, BrakeOn] | None:
    """Tell when the brake came on, and what was said then; None when it is not on."""
    for newest in (await bus.latest("BRAKE_*")).events:
        if isinstance(newest.event, BrakeOn):
            return newest.time, newest.event
    return None


async def unwritten(bus: Bus) -> tuple[float, JournalDegraded] | None:
    """Tell since when the journal cannot be written, and what was said then; None when it can be."""
    for newest in (await bus.latest("JOURNAL_*")).events:
        if isinstance(newest.event, JournalDegraded):
            return newest.time, newest.event
    return None


async def services(bus: Bus) -> list[view.ServiceRow]:
    ups = await bus.latest("SERVICE_UP")
    downs = await bus.latest("SERVICE_DOWN")
    return view.services(SERVICES, ups.events, downs.events)
