"""Five thousand tenants on demand, one in twenty visited: what a first visit costs, and all of it."""

import asyncio
import random
import statistics
import time
from pathlib import Path

import psutil

from bus.client import connect
from bus.events import ServiceUp
from tests.bench.density import pss
from tests.bench.product import Product, running
from tests.bench.table import Row
from tests.harness import DEADLINE, Program

TENANTS = 5_000
ACTIVE = TENANTS // 20
NAMES = [f"tenant-{number}" for number in range(TENANTS)]

SETTINGS = """
[plans.free]
start = "on-demand"
idle_stop = "1h"
[checks]
http_every = 1e9
"""

A_SECOND = 10
"""First visitors that come in a second, at random moments: somebody who has not come for an hour."""

TO_SLEEP = 300.0
"""Seconds that all of them may take to be known."""


async def asleep(product: Product) -> None:
    """Wait until the bus knows that all tenants sleep."""
    bus = await connect(product.settings, "bench", within=DEADLINE)
    events = await bus.subscribe("PROC_SLEEPING", after=0)
    missing = set(NAMES)
    async with asyncio.timeout(TO_SLEEP):
        while missing:
            missing.discard((await anext(events)).subject)
    await bus.close()


async def visit(product: Product, name: str, after: float) -> float:
    """Come to a tenant after some seconds; gives the milliseconds to its whole answer."""
    await asyncio.sleep(after)
    begin = time.perf_counter()
    reader, writer = await asyncio.open_unix_connection(product.settings.http_socket(name))
    writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    took = 1e3 * (time.perf_counter() - begin)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return took


async def visit_all(product: Product, names: list[str]) -> list[float]:
    window = len(names) / A_SECOND
    return await asyncio.gather(*(visit(product, name, random.uniform(0, window)) for name in names))


async def lose_reactor(product: Product, name: str) -> tuple[float, float]:
    """Kill the reactor; gives seconds until another is there, and to the answer of who came meanwhile."""
    bus = await connect(product.settings, "bench", within=DEADLINE)
    events = await bus.subscribe("SERVICE_UP")
    product.services["services.reactor"].kill()
    visitor = asyncio.create_task(visit(product, name, 0.0))
    begin = time.monotonic()
    product.services["services.reactor"] = Program.module("services.reactor", product.config)
    async with asyncio.timeout(TO_SLEEP):
        event = None
        while not (isinstance(event, ServiceUp) and event.service == "reactor"):
            event = (await anext(events)).event
        up = time.monotonic() - begin
        answered = await visitor / 1e3
    await bus.close()
    return up, answered


def memory(product: Product) -> dict[str, float]:
    """Tell the MiB of each of ours, and of all tenants together."""
    ours = {
        name.removeprefix("services.").replace("bus", "broker"): pss(program.pid)
        for name, program in product.services.items()
    }
    forked = [each for each in psutil.process_iter() if _is_forked(each, product)]
    tenants = {child.pid for each in forked for child in each.children()}
    ours["fork server"] = sum(pss(each.pid) for each in forked if each.pid not in tenants)
    ours["tenants"] = sum(map(pss, tenants))
    return ours


def _is_forked(process: psutil.Process, product: Product) -> bool:
    """Tell whether it is a fork server, or a tenant from one: who is forked keeps the words of its parent."""
    try:
        return str(product.settings.fork_socket("tiny-1.0")) in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def said(each: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure:.0f}" for name, figure in each.items())


def descriptors(product: Product) -> int:
    pid = product.services["services.reactor"].pid
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def run() -> list[Row]:
    with running(SETTINGS) as product:
        begin = time.monotonic()
        for name in NAMES:
            product.add(name)
        asyncio.run(asleep(product))
        ready = time.monotonic() - begin
        sleeping = memory(product)
        active = random.sample(NAMES, ACTIVE)
        cold = asyncio.run(visit_all(product, active))
        warm = asyncio.run(visit_all(product, active))
        visited = memory(product)
        up, answered = asyncio.run(lose_reactor(product, random.choice(sorted({*NAMES} - {*active}))))
        p95 = statistics.quantiles(cold, n=20)[18]
        return [
            Row(f"{TENANTS:,} tenants on demand, from nothing to asleep", ready, "s"),
            Row(
                f"first visit, p95 of {ACTIVE}",
                p95,
                "ms",
                "below 50",
                f"median {statistics.median(cold):.1f}, slowest {max(cold):.0f}",
            ),
            Row("next visit, p95", statistics.quantiles(warm, n=20)[18], "ms"),
            Row("PSS of everything, all asleep", sum(sleeping.values()), "MiB", "", said(sleeping)),
            Row(
                f"PSS of everything, {ACTIVE} awake",
                sum(visited.values()),
                "MiB",
                "below 8192",
                said(visited),
            ),
            Row("descriptors of the reactor", descriptors(product), ""),
            Row(f"reactor started anew, {TENANTS - ACTIVE:,} asleep", up, "s"),
            Row("kill -9 of the reactor to the answer of one that slept", answered, "s"),
        ]
