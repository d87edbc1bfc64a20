"""A thousand tenants on one machine: to start them, to keep them, to lose some, and to lose the reactor."""

import asyncio
import os
import random
import re
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bus.client import connect
from bus.events import ProcReady, ServiceUp
from tests.bench.product import Product, running
from tests.bench.table import Row
from tests.harness import DEADLINE, Program

TENANTS = 1_000
NAMES = [f"tenant-{number}" for number in range(TENANTS)]

QUIET = """
[checks]
http_every = 1e9
[restart]
stable_after = 0.1
"""
"""No HTTP checks, which wake a tenant once a minute (see the bench `watch`), and kills that do not count."""

SETTLE = 5.0
IDLE = 20.0
"""Seconds in which nothing is done but looked at what that costs."""

KILLS = 50
AT_ONCE = 300

SAMPLE_EVERY = 0.02
"""Seconds between two requests to the tenant that serves while all others are started."""


def pss(pid: int) -> float:
    """Memory in MiB, in which what processes share is divided among them (proc_pid_smaps(5))."""
    found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def processor(process: psutil.Process) -> float:
    """Seconds of processor time, of all threads, to the nanosecond (proc_pid_schedstat)."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


class Keepers:
    """All our processes that are no tenants."""

    def __init__(self, product: Product, tenant: int) -> None:
        self.processes = {
            name.removeprefix("services.").replace("bus", "broker"): psutil.Process(program.pid)
            for name, program in product.services.items()
        }
        parent = psutil.Process(tenant).parent()
        assert parent
        self.processes["fork server"] = parent

    def each(self, figures: dict[str, float]) -> str:
        return ", ".join(f"{name} {figure:.2g}" for name, figure in figures.items())

    def memory(self) -> dict[str, float]:
        return {name: pss(process.pid) for name, process in self.processes.items()}

    def processor(self) -> dict[str, float]:
        return {name: processor(process) for name, process in self.processes.items()}


@contextmanager
def asked_all_the_time(product: Product, tenant: str, latencies: list[float]) -> Iterator[None]:
    """Ask one tenant again and again meanwhile; milliseconds to its answers go to `latencies`."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(SAMPLE_EVERY):
            begin = time.perf_counter()
            assert product.get(tenant)
            latencies.append(1e3 * (time.perf_counter() - begin))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def start(product: Product) -> tuple[list[Row], dict[str, int]]:
    """All tenants from nothing to serving; gives their pids."""
    product.add("first")
    pid = product.pid("first")  # the fork server is there
    keepers = Keepers(product, pid)
    alone: list[float] = []
    with asked_all_the_time(product, "first", alone):
        time.sleep(2.0)
    before, latencies = keepers.processor(), list[float]()
    begin = time.perf_counter()
    with asked_all_the_time(product, "first", latencies):
        for name in NAMES:
            product.add(name)
        pids = {name: product.pid(name) for name in NAMES}
        took = time.perf_counter() - begin
    used = {name: 1e3 * (now - before[name]) / TENANTS for name, now in keepers.processor().items()}
    used["tenant"] = 1e3 * sum(processor(psutil.Process(pid)) for pid in pids.values()) / TENANTS
    rows = [
        Row(
            f"{TENANTS:,} tenants from nothing to serving", took, "s", "below 8", "100: supervisor 8, s6 5.5"
        ),
        Row("processor time of that, a tenant", sum(used.values()), "ms", "", keepers.each(used)),
        Row(
            "answer of a tenant that serves meanwhile, p95",
            statistics.quantiles(latencies, n=20)[18],
            "ms",
            "",
            f"slowest {max(latencies):.0f}; before {statistics.quantiles(alone, n=20)[18]:.1f}",
        ),
    ]
    return rows, pids


def keep(product: Product, pids: dict[str, int]) -> list[Row]:
    """What it costs when nothing happens."""
    keepers = Keepers(product, pids[NAMES[0]])
    tenants = [psutil.Process(pid) for pid in pids.values()]
    time.sleep(SETTLE)
    each = sum(map(pss, pids.values())) / TENANTS
    memory = keepers.memory()
    before, woken, begin = keepers.processor(), switches(tenants), time.monotonic()
    time.sleep(IDLE)
    took = time.monotonic() - begin
    used = {name: 100 * (now - before[name]) / took for name, now in keepers.processor().items()}
    woken = switches(tenants) - woken
    return [
        Row(f"PSS of an idle tenant, of {TENANTS:,}", each, "MiB", "below 4.5", "one interpreter each: 16.5"),
        Row("PSS of all that keeps them", sum(memory.values()), "MiB", "below 150", keepers.each(memory)),
        Row("processor of all that keeps them, idle", sum(used.values()), "%", "below 3", keepers.each(used)),
        Row(f"context switches of {TENANTS:,} tenants by looking", woken / took, "/s", "below 0.1"),
    ]


def switches(tenants: list[psutil.Process]) -> int:
    return sum(sum(tenant.num_ctx_switches()) for tenant in tenants)


def lose_some(product: Product, pids: dict[str, int]) -> list[Row]:
    """Kill tenants one by one, and then many at once."""
    took = []
    for name in random.sample(NAMES, KILLS):
        begin = time.perf_counter()
        os.kill(pids[name], signal.SIGKILL)
        pids[name] = product.pid(name, not_pid=pids[name])
        took.append(1e3 * (time.perf_counter() - begin))
        time.sleep(0.1)
    victims = random.sample(NAMES, AT_ONCE)
    begin = time.perf_counter()
    for name in victims:
        os.kill(pids[name], signal.SIGKILL)
    for name in victims:
        pids[name] = product.pid(name, not_pid=pids[name])
    all_at_once = time.perf_counter() - begin
    return [
        Row(
            f"kill -9 to first 200 among {TENANTS:,} tenants, median",
            statistics.median(took),
            "ms",
            "below 15",
        ),
        Row(
            f"kill -9 to first 200 among {TENANTS:,} tenants, p95",
            statistics.quantiles(took, n=20)[18],
            "ms",
            "below 40",
        ),
        Row(f"kill -9 of {AT_ONCE} at once to all serving", all_at_once, "s"),
    ]


async def lose_reactor(product: Product) -> tuple[float, float]:
    """Seconds from the start of the next reactor until it is there, and until the bus knows all tenants."""
    product.services["services.reactor"].kill()
    bus = await connect(product.settings, "bench", within=DEADLINE)
    events = await bus.subscribe("PROC_READY", "SERVICE_UP")
    missing = {*NAMES, "first"}
    begin, up = time.monotonic(), 0.0
    product.services["services.reactor"] = Program.module("services.reactor", product.config)
    async with asyncio.timeout(2 * DEADLINE):
        while missing or not up:
            event = (await anext(events)).event
            if isinstance(event, ProcReady):
                missing.discard(event.tenant)
            elif isinstance(event, ServiceUp) and event.service == "reactor":
                up = time.monotonic() - begin
    known = time.monotonic() - begin
    await bus.close()
    return up, known


def restart(product: Product, pids: dict[str, int]) -> list[Row]:
    """Kill the reactor and start another one; a crash right after that must be handled."""
    up, known = asyncio.run(lose_reactor(product))
    name = NAMES[0]
    begin = time.perf_counter()
    os.kill(pids[name], signal.SIGKILL)
    product.pid(name, not_pid=pids[name])
    return [
        Row(f"reactor started anew: {TENANTS:,} tenants adopted", up, "s", "below 1"),
        Row("the same, until all of it is on the bus", known, "s"),
        Row("kill -9 to first 200 right after that", 1e3 * (time.perf_counter() - begin), "ms"),
    ]


def run() -> list[Row]:
    with running(QUIET) as product:
        started, pids = start(product)
        return [
            *started,
            *keep(product, pids),
            *lose_some(product, pids),
            *restart(product, pids),
        ]
