"""Many real tenants that stand still at once: the brake, its release, and what follows."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from bus.api import Subscription
from bus.client import connect
from bus.events import AnyEvent, BrakeOff, BrakeOn, ProcRecovered, ProcStuck
from bus.queue_table import QueueTable
from cli.session import who
from tests.bench.product import Product, running
from tests.commandline import bus as bus_command
from tests.commandline import complaint
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
async def heard(product: Product) -> AsyncIterator[Subscription]:
    bus = await connect(product.settings, "test", within=DEADLINE)
    events = await bus.subscribe("PROC_STUCK", "PROC_RECOVERED", "BRAKE_ON", "BRAKE_OFF")
    try:
        async with asyncio.timeout(2 * DEADLINE):
            yield events
    finally:
        await bus.close()


async def following(events: Subscription) -> AnyEvent:
    return (await anext(events)).event


def tell_all(pids: dict[str, int], number: signal.Signals) -> None:
    for tenant in SICK:
        os.kill(pids[tenant], number)


def test_many_at_once_are_not_ended_but_one_now_and_then() -> None:
    async def play(product: Product, pids: dict[str, int]) -> None:
        async with heard(product) as events:
            tell_all(pids, signal.SIGSTOP)
            on = await following(events)
            assert isinstance(on, BrakeOn)
            assert on.tenants == SICK
            assert "4 of 6 tenants" in on.reason
            shown = await asyncio.to_thread(bus_command, "dispatcher", cwd=product.settings.root)
            head, _, *rows = shown.splitlines()
            assert head.startswith("6 tenants: 2 due, 0 in flight, 4 suspect; brake on")
            suspects = [row.split()[:3] for row in rows[:4] if "stopped by a signal" in row]
            assert {tenant for tenant, *_ in suspects} == {*SICK}
            assert [place for _, *place in suspects] == [["suspect", str(number)] for number in (1, 2, 3, 4)]
            assert {row.split()[0] for row in rows[4:]} == set(TENANTS) - set(SICK)
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
        async with heard(product) as events:
            tell_all(pids, signal.SIGSTOP)
            assert isinstance(await following(events), BrakeOn)
            await asyncio.to_thread(bus_command, "dispatcher", "--release", cwd=product.settings.root)
            off = await following(events)
            assert isinstance(off, BrakeOff)
            assert off.reason == f"released by {who()}"
            said = [await following(events) for _ in SICK]
            assert {event.subject for event in said if isinstance(event, ProcStuck)} == {*SICK}
            assert not any(isinstance(event, ProcRecovered) for event in said)
        for tenant in SICK:
            product.pid(tenant, not_pid=pids[tenant])

    with running(SETTINGS) as product:
        for tenant in TENANTS:
            product.add(tenant)
        asyncio.run(play(product, {tenant: product.pid(tenant) for tenant in TENANTS}))


def test_the_table_for_scripts_and_what_cannot_be_had() -> None:
    with running(SETTINGS) as product:
        directory = product.settings.root
        for tenant in TENANTS[:2]:
            product.add(tenant)
            product.pid(tenant)
        table = msgspec.json.decode(bus_command("dispatcher", "--json", "a", cwd=directory), type=QueueTable)
        assert (table.watched, table.due, table.brake) == (2, 2, "off")
        assert [(place.tenant, place.queue) for place in table.places] == [("a", "due")]
        assert abs(table.places[0].due - time.time()) <= 3600.0
        assert "the brake is not on" in complaint("dispatcher", "--release", cwd=directory, code=1)
        product.services["services.dispatcher"].stop()
        assert "does not answer" in complaint("dispatcher", cwd=directory, code=1)
