"""Many real tenants that stand still at once: the brake, its release, and what follows."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.api import Bus, Subscription
from bus.client import connect
from bus.events import AnyEvent, BrakeOff, BrakeOn, BrakeReleaseRequested, ProcRecovered, ProcStuck
from tests.bench.product import Product, running
from tests.harness import DEADLINE

SETTINGS = """
[checks]
stuck_after = 0.4
http_every = 3600.0
brake_share = 0.5
brake_minimum = 3
[restart]
stable_after = 0.1
"""
TENANTS = ("a", "b", "c", "d", "e", "f")
SICK = TENANTS[:4]


@asynccontextmanager
async def heard(product: Product) -> AsyncIterator[tuple[Bus, Subscription]]:
    bus = await connect(product.settings, "test", within=DEADLINE)
    events = await bus.subscribe("PROC_STUCK", "PROC_RECOVERED", "BRAKE_ON", "BRAKE_OFF")
    try:
        async with asyncio.timeout(2 * DEADLINE):
            yield bus, events
    finally:
        await bus.close()


async def following(events: Subscription) -> AnyEvent:
    return (await anext(events)).event


def tell_all(pids: dict[str, int], number: signal.Signals) -> None:
    for tenant in SICK:
        os.kill(pids[tenant], number)


def test_many_at_once_are_not_ended_but_one_now_and_then() -> None:
    async def play(product: Product, pids: dict[str, int]) -> None:
        async with heard(product) as (_, events):
            tell_all(pids, signal.SIGSTOP)
            on = await following(events)
            assert isinstance(on, BrakeOn)
            assert on.tenants == SICK
            assert "4 of 6 tenants" in on.reason
            first = await following(events)
            assert isinstance(first, ProcStuck)  # the pace, nine times as long as it takes to be convicted
            assert first.stuck_for > 4.0
            pids[first.tenant] = product.pid(first.tenant, not_pid=first.pid)
            tell_all(pids, signal.SIGCONT)
            assert isinstance(await following(events), BrakeOff)
        assert {tenant: product.pid(tenant) for tenant in TENANTS} == pids

    with running(SETTINGS) as product:
        for tenant in TENANTS:
            product.add(tenant)
        asyncio.run(play(product, {tenant: product.pid(tenant) for tenant in TENANTS}))


def test_a_person_may_release_it() -> None:
    async def play(product: Product, pids: dict[str, int]) -> None:
        async with heard(product) as (bus, events):
            tell_all(pids, signal.SIGSTOP)
            assert isinstance(await following(events), BrakeOn)
            bus.publish(BrakeReleaseRequested(by="me@here"))
            off = await following(events)
            assert isinstance(off, BrakeOff)
            assert off.reason == "released by me@here"
            said = [await following(events) for _ in SICK]
            assert {event.subject for event in said if isinstance(event, ProcStuck)} == {*SICK}
            assert not any(isinstance(event, ProcRecovered) for event in said)
        for tenant in SICK:
            product.pid(tenant, not_pid=pids[tenant])

    with running(SETTINGS) as product:
        for tenant in TENANTS:
            product.add(tenant)
        asyncio.run(play(product, {tenant: product.pid(tenant) for tenant in TENANTS}))
