"""Real tenants that serve, and not well: slow, answering with errors, leaking memory."""

import asyncio
from collections.abc import Iterator

import pytest

from bus.client import connect
from bus.events import Envelope, ProcFailing, ProcOversize, ProcReady, ProcRecovered, ProcSlow, ProcStopping
from tests.bench.product import Product, running
from tests.harness import DEADLINE
from tests.integration.test_dispatcher_kinds import SICK

SETTINGS = """
[checks]
stuck_after = 0.5
slow_after = 0.1
http_every = 3600.0
[tenants.limits]
memory_soft = "100M"
"""


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    """Everything counts for six seconds here."""
    with running(SETTINGS, SICK) as product:
        yield product


async def heard(product: Product, tenant: str, *types: str, count: int, after: int = 0) -> list[Envelope]:
    """Give the first so many events of these types about a tenant."""
    bus = await connect(product.settings, "test", within=DEADLINE)
    try:
        events = await bus.subscribe(*types, subject=tenant, after=after)
        async with asyncio.timeout(DEADLINE):
            return [await anext(events) for _ in range(count)]
    finally:
        await bus.close()


def test_a_slow_tenant_is_said_to_be_slow_and_left_alone(product: Product) -> None:
    product.add("slow")
    pid = product.pid("slow")
    for _ in range(3):
        assert product.get("slow", "/drag?for=0.3") == b"done"
    slow, recovered = [
        each.event for each in asyncio.run(heard(product, "slow", "PROC_SLOW", "PROC_RECOVERED", count=2))
    ]
    assert isinstance(slow, ProcSlow)
    assert slow.pid == pid
    assert 0.1 <= slow.longest < 0.5
    assert isinstance(recovered, ProcRecovered)
    assert recovered.reason == "works well again after: slow"
    assert product.pid("slow") == pid


def test_many_errors_are_said_and_end_nobody(product: Product) -> None:
    product.add("failing")
    pid = product.pid("failing")

    async def fail_until_said() -> Envelope:
        said = asyncio.create_task(heard(product, "failing", "PROC_FAILING", count=1))
        while not said.done():
            await asyncio.to_thread(product.get, "failing", "/fail")
        return (await said)[0]

    failing = asyncio.run(fail_until_said())
    assert isinstance(failing.event, ProcFailing)
    assert failing.event.errors >= 10
    for _ in range(50):
        product.get("failing")
    (recovered,) = asyncio.run(heard(product, "failing", "PROC_RECOVERED", count=1, after=failing.seq))
    assert "answers with errors" in recovered.event.reason  # type: ignore[union-attr]
    assert product.pid("failing") == pid


def test_a_tenant_that_leaks_is_replaced_without_having_failed(product: Product) -> None:
    product.add("leaking")
    pid = product.pid("leaking")
    for _ in range(2):
        product.get("leaking", "/leak")
    types = ("PROC_OVERSIZE", "PROC_READY", "PROC_STOPPING")
    first, oversize, ready, stopping = asyncio.run(heard(product, "leaking", *types, count=4))
    assert isinstance(oversize.event, ProcOversize)
    assert oversize.event.memory > oversize.event.limit == 100 << 20
    assert isinstance(ready.event, ProcReady)
    assert ready.event.pid != pid
    assert ready.event.restarts == 0
    assert isinstance(stopping.event, ProcStopping)
    assert "the soft limit" in stopping.event.reason
    assert first.seq < oversize.seq
    assert product.pid("leaking") == ready.event.pid
