"""Insert, find and delete in a queue of 10,000 tenants, beside what the standard library has."""

import heapq
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from services.dispatcher.queues import TimeQueue
from tests.bench.table import Row

TENANTS = 10_000
EVERY = 60.0


def nanoseconds(names: Sequence[str], act: Callable[[str], object]) -> float:
    """Nanoseconds that `act` takes for one name."""
    begin = time.perf_counter_ns()
    for name in names:
        act(name)
    return (time.perf_counter_ns() - begin) / len(names)


def best(measure: Callable[[], tuple[float, float, float]]) -> tuple[float, ...]:
    """The least of several runs: everything above it is the machine's noise."""
    return tuple(min(column) for column in zip(*(measure() for _ in range(7)), strict=True))


def run() -> list[Row]:
    names = [f"tenant-{number}" for number in range(TENANTS)]
    times = {name: random.uniform(0, EVERY) for name in names}
    shuffled = random.sample(names, TENANTS)

    def time_queue() -> tuple[float, float, float]:
        queue = TimeQueue(0.1)
        return (
            nanoseconds(names, lambda name: queue.put(name, times[name])),
            nanoseconds(shuffled, queue.at),
            nanoseconds(shuffled, queue.discard),
        )

    def plain(kind: type[dict[str, float]]) -> tuple[float, float, float]:
        queue = kind()
        return (
            nanoseconds(names, lambda name: queue.__setitem__(name, times[name])),
            nanoseconds(shuffled, queue.get),
            nanoseconds(shuffled, queue.__delitem__),
        )

    ours = best(time_queue)
    of_dict = best(lambda: plain(dict))
    ordered = best(lambda: plain(OrderedDict))
    return [
        *(
            Row(
                f"queue of {TENANTS:,}: {act}",
                figure,
                "ns",
                "below 2000",
                f"dict {first:.0f}, OrderedDict {second:.0f}",
            )
            for act, figure, first, second in zip(
                ("insert", "find", "delete"), ours, of_dict, ordered, strict=True
            )
        ),
        Row(
            f"queue of {TENANTS:,}: take one that is due",
            take_due(times),
            "ns",
            "below 2000",
            f"heapq {take_heap(times):.0f}, cannot delete",
        ),
    ]


def take_due(times: dict[str, float]) -> float:
    """Nanoseconds a tenant to take all out in 600 steps of 0.1 s."""
    queue = TimeQueue(0.1)
    for name, at in times.items():
        queue.put(name, at)
    begin = time.perf_counter_ns()
    for step in range(int(EVERY * 10) + 2):
        queue.pop_due(step / 10)
    assert not len(queue)
    return (time.perf_counter_ns() - begin) / len(times)


def take_heap(times: dict[str, float]) -> float:
    heap = [(at, name) for name, at in times.items()]
    heapq.heapify(heap)
    begin = time.perf_counter_ns()
    while heap:
        heapq.heappop(heap)
    return (time.perf_counter_ns() - begin) / len(times)
