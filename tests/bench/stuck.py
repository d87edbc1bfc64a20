"""A blocked loop to PROC_STUCK on the bus, and to serving again, by the whole product."""

import asyncio
import statistics
import time

from bus.client import connect
from tests.bench.product import Product, running
from tests.bench.table import Row
from tests.harness import DEADLINE

TIMES = 5
STUCK_AFTER = 1.0
PEERS = "systemd 0.96, circus 1.2, uWSGI 2.5, monit 3.7, supervisor with httpok 4.5"


async def block(product: Product) -> tuple[float, float]:
    """Seconds from the block to PROC_STUCK, and to an answer by the next process."""
    bus = await connect(product.settings, "bench", within=DEADLINE)
    events = await bus.subscribe("PROC_STUCK")
    pid = product.pid("acme")
    begin = time.monotonic()
    product.say("acme", "/block")
    async with asyncio.timeout(DEADLINE):
        await anext(events)
    said = time.monotonic() - begin
    product.pid("acme", not_pid=pid)
    served = time.monotonic() - begin
    await bus.close()
    return said, served


def run() -> list[Row]:
    settings = f"[checks]\nstuck_after = {STUCK_AFTER}\n[restart]\nstable_after = 0.1"
    with running(settings) as product:
        product.add("acme")
        product.pid("acme")
        said, served = [], []
        for _ in range(TIMES):
            time.sleep(1.0)
            verdict, answer = asyncio.run(block(product))
            said.append(verdict - STUCK_AFTER)
            served.append(answer)
    return [
        Row("blocked loop: PROC_STUCK after stuck_after", statistics.median(said), "s", "below 0.2"),
        Row(
            f"blocked to serving again, stuck_after {STUCK_AFTER:g} s",
            statistics.median(served),
            "s",
            "below 1.2",
            PEERS,
        ),
    ]
