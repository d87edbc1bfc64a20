"""One look at 10,000 score pages, and what looking costs the dispatcher's process."""

import os
import resource
import statistics
import time
from pathlib import Path

from bus.settings import Settings
from services.dispatcher.brake import BrakeRules
from services.dispatcher.brakeman import Brakeman
from services.dispatcher.care import Care
from services.dispatcher.decide import Rules
from services.dispatcher.roster import Roster
from services.dispatcher.sense import Pages
from services.dispatcher.vitals import VitalRules
from services.dispatcher.watch import Outlets, Watch
from services.score import MAGIC, PAGE_SIZE, Slot
from tests.bench.table import Row
from tests.harness import short_directory

LOOKS = 50
INTERVAL = 0.25
"""Seconds between two of them."""


def fill(directory: Path, count: int) -> None:
    """Pages of tenants that serve and wait."""
    content = bytearray(PAGE_SIZE)
    page = memoryview(content).cast("Q")
    page[Slot.MAGIC] = MAGIC
    page[Slot.READY_AT] = 1
    page[Slot.PID] = os.getppid()  # whose descriptors are counted: few, as most tenants have
    for number in range(count):
        (directory / f"tenant-{number}").write_bytes(content)


def _say_nothing(_: object) -> None:
    raise AssertionError("everybody is well")


async def _collect(*_: object) -> str:
    raise AssertionError("everybody is well")


def look(count: int) -> float:
    """Milliseconds of one look by all that looks, median."""
    with short_directory() as directory:
        fill(directory, count)
        pages = Pages(directory)
        pages.scan()
        roster = Roster(Settings())
        brakeman = Brakeman(BrakeRules(share=0.3, minimum=5, pace=60.0, calm=5.0), pages, 5.0, _say_nothing)
        outlets = Outlets(_say_nothing, _collect, _say_nothing)
        watch = Watch(Rules(stuck_after=5.0, verify=0.3, lead=0.4), pages, roster, brakeman, outlets)
        care = Care(VitalRules(slow_after=1.0, error_share=0.5, period=60.0), pages, roster, _say_nothing)
        took, now = [], time.monotonic()
        for _ in range(LOOKS):
            now += INTERVAL  # which decides how many are looked at closely
            begin = time.perf_counter()
            suspicious = pages.look(now - 1.0)
            watch.look(suspicious, now)
            care.look(suspicious, now)
            took.append(1e3 * (time.perf_counter() - begin))
        pages.close()
        return statistics.median(took)


def run() -> list[Row]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # as each of our services does
    many = min(10_000, hard - 100)  # a mapping keeps a descriptor
    return [
        Row(f"one look at {count:,} score pages", look(count), "ms", "below 5" if count == many else "")
        for count in (200, 1_000, many)
    ]
