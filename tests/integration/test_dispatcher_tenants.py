"""Real tornado tenants from real fork servers, watched and replaced by the whole product."""

import asyncio
import os
import re
import signal

from bus.client import connect
from bus.events import ProcStuck
from tests.bench.product import Product, idle_tenants, running
from tests.harness import DEADLINE

SETTINGS = "[checks]\nstuck_after = 0.5\nhttp_every = 3600.0\n[restart]\nstable_after = 0.1\n"


async def until_stuck(product: Product, path: str = "") -> ProcStuck:
    """Bring the tenant to a halt, by a request or by SIGSTOP; gives what is said about it."""
    bus = await connect(product.settings, "test", within=DEADLINE)
    events = await bus.subscribe("PROC_STUCK")
    pid = product.pid("acme")
    if path:
        product.say("acme", path)
    else:
        os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(DEADLINE):
        event = (await anext(events)).event
    await bus.close()
    assert isinstance(event, ProcStuck)
    assert (event.pid, event.release) == (pid, "tiny-1.0")
    assert 0.5 <= event.stuck_for < 1.5
    product.pid("acme", not_pid=pid)
    return event


def test_whoever_stands_still_is_found_and_replaced() -> None:
    with running(SETTINGS) as product:
        product.add("acme")
        product.pid("acme")
        blocked = asyncio.run(until_stuck(product, "/block"))
        assert re.match(r"loop busy for \d\.\d s, state S, wchan", blocked.reason)
        spinning = asyncio.run(until_stuck(product, "/spin"))
        assert re.match(r"loop busy for \d\.\d s, state R, wchan", spinning.reason)
        stopped = asyncio.run(until_stuck(product))
        assert re.match(r"stopped by a signal for \d\.\d s, state T, wchan", stopped.reason)


def test_idle_tenants_sleep_while_they_are_watched() -> None:
    async def switches_of_three_seconds(product: Product) -> tuple[int, int]:
        tenants = idle_tenants(product, 3)
        await asyncio.sleep(1.0)
        before = sum(sum(tenant.num_ctx_switches()) for tenant in tenants)
        await asyncio.sleep(3.0)
        return before, sum(sum(tenant.num_ctx_switches()) for tenant in tenants)

    with running(SETTINGS) as product:
        before, after = asyncio.run(switches_of_three_seconds(product))
    assert after == before
