"""What every implementation of bus.api.Bus keeps."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from bus import settings as settings_file
from bus.api import Bus, Subscription
from bus.client import connect
from bus.events import DbDown, DbUp, Envelope, ProcReady, ProcStarted, ProcStuck, UserDeleted
from bus.memory import MemoryBus
from tests.harness import DEADLINE, Program, short_directory


class Connect(Protocol):
    async def __call__(self, source: str) -> Bus: ...


World = Callable[[], Any]


@asynccontextmanager
async def memory_world() -> AsyncIterator[Connect]:
    first = MemoryBus("first")

    async def another(source: str) -> Bus:
        return first.other(source)

    yield another


def broker_world(config: Path) -> World:
    @asynccontextmanager
    async def world() -> AsyncIterator[Connect]:
        clients: list[Bus] = []

        async def another(source: str) -> Bus:
            clients.append(await connect(settings_file.load(config), source, within=DEADLINE))
            return clients[-1]

        try:
            yield another
        finally:
            for client in clients:
                await client.close()

    return world


@pytest.fixture(scope="module")
def broker_config() -> Iterator[Path]:
    with short_directory() as directory:
        config = directory / "tenantbus.toml"
        config.write_text("")
        with Program.module("bus", config):
            yield config


@pytest.fixture(params=["memory", "broker"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Connect], Coroutine[Any, Any, None]]], None]:
    """Run a test's body with a way to connect to one implementation."""
    world = (
        memory_world if request.param == "memory" else broker_world(request.getfixturevalue("broker_config"))
    )

    def run(body: Callable[[Connect], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(DEADLINE), world() as another:
                await body(another)

        asyncio.run(main())

    return run


Run = Callable[[Callable[[Connect], Coroutine[Any, Any, None]]], None]


def up(database: str) -> DbUp:
    return DbUp(database=database, reason="answers")


def down(database: str) -> DbDown:
    return DbDown(database=database, reason="refused")


async def take(subscription: Subscription, count: int) -> list[Envelope]:
    return [await anext(subscription) for _ in range(count)]


def databases(envelopes: list[Envelope]) -> list[str]:
    return [envelope.subject for envelope in envelopes]


def test_a_publication_gives_its_seq_and_comes_back_as_it_was(run: Run) -> None:
    async def body(another: Connect) -> None:
        speaker, listener = await another("dbwatch"), await another("listener")
        subscription = await listener.subscribe()
        before = time.time()
        seq = await speaker.publish(up("round-trip"), cause=7)
        envelope = await anext(subscription)
        assert envelope.event == up("round-trip")
        assert (envelope.seq, envelope.type, envelope.subject) == (seq, "DB_UP", "round-trip")
        assert (envelope.source, envelope.cause) == ("dbwatch", 7)
        assert before - 1 <= envelope.time <= time.time() + 1
        assert envelope.node
        assert envelope.id.endswith(":1")

    run(body)


def test_awaiting_a_publication_twice_gives_the_same(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("dbwatch")
        publication = bus.publish(up("twice"))
        first, second = await asyncio.gather(_await(publication), _await(publication))
        assert first == second == await publication

    run(body)


async def _await(publication: Any) -> int:
    seq: int = await publication
    return seq


def test_an_abandoned_wait_harms_no_other(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("dbwatch")
        publication = bus.publish(up("abandoned"))
        impatient = asyncio.ensure_future(_await(publication))
        patient = asyncio.ensure_future(_await(publication))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient > 0

    run(body)


def test_order_is_kept_and_nothing_is_missing_or_doubled(run: Run) -> None:
    async def body(another: Connect) -> None:
        speaker, listener = await another("dbwatch"), await another("listener")
        subscription = await listener.subscribe("DB_*")
        for number in range(3_000):
            speaker.publish(up(f"order-{number}"))
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert databases(await take(subscription, 3_000)) == [f"order-{number}" for number in range(3_000)]

    run(body)


def test_two_publishers_are_heard_in_one_order_by_all(run: Run) -> None:
    async def body(another: Connect) -> None:
        left, right = await another("left"), await another("right")
        one = await left.subscribe()
        two = await right.subscribe()
        for number in range(200):
            left.publish(up(f"left-{number}"))
            right.publish(up(f"right-{number}"))
            await asyncio.sleep(0)
        heard = await take(one, 400)
        assert heard == await take(two, 400)
        assert [envelope.seq for envelope in heard] == sorted({envelope.seq for envelope in heard})
        for side in ("left", "right"):
            mine = [envelope.subject for envelope in heard if envelope.source == side]
            assert mine == [f"{side}-{number}" for number in range(200)]

    run(body)


def test_a_subscription_begins_now_or_after_a_seq(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("dbwatch")
        await bus.publish(up("before"))
        seq = await bus.publish(up("edge"))
        now = await bus.subscribe()
        after = await bus.subscribe(after=seq)
        earlier = await bus.subscribe(after=seq - 1)
        bus.publish(up("later"))
        assert databases(await take(now, 1)) == ["later"]
        assert databases(await take(after, 1)) == ["later"]
        assert databases(await take(earlier, 2)) == ["edge", "later"]

    run(body)


def test_patterns_and_subject_choose(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("all")
        exact = await bus.subscribe("DB_DOWN")
        prefix = await bus.subscribe("PROC_*")
        several = await bus.subscribe("DB_UP", "USER_*")
        mine = await bus.subscribe(subject="acme")
        both = await bus.subscribe("PROC_*", subject="acme")
        for event in (
            up("acme"),
            down("db2"),
            ProcStarted(tenant="acme"),
            ProcReady(tenant="other"),
            UserDeleted(tenant="acme"),
            down("db3"),
            ProcReady(tenant="acme"),
        ):
            last = bus.publish(event)
        await last
        assert [e.type for e in await take(exact, 2)] == ["DB_DOWN", "DB_DOWN"]
        assert [e.type for e in await take(prefix, 3)] == ["PROC_STARTED", "PROC_READY", "PROC_READY"]
        assert [e.type for e in await take(several, 2)] == ["DB_UP", "USER_DELETED"]
        assert len(await take(mine, 4)) == 4
        assert [e.type for e in await take(both, 2)] == ["PROC_STARTED", "PROC_READY"]

    run(body)


def test_replay_looks_back_as_far_as_asked(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("dbwatch")
        start = await bus.publish(up("start"))
        for number in range(2_500):
            last = bus.publish(up(f"replay-{number}") if number % 2 else down(f"replay-{number}"))
        await last
        assert databases(await bus.replay(after=start, limit=3)) == ["replay-0", "replay-1", "replay-2"]
        assert len(await bus.replay(after=start)) == 1_000
        assert len(await bus.replay(after=start, limit=10_000)) == 2_500
        ups = await bus.replay("DB_UP", after=start, limit=10_000)
        assert databases(ups) == [f"replay-{number}" for number in range(1, 2_500, 2)]
        assert [e.subject for e in await bus.replay(subject="replay-7", after=start)] == ["replay-7"]
        assert await bus.replay("NO_SUCH_TYPE", after=start) == []
        assert await bus.replay(after=await last) == []

    run(body)


def test_latest_tells_the_present(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("all")
        bus.publish(up("one"))
        bus.publish(ProcStarted(tenant="t-one"))
        bus.publish(down("one"))
        bus.publish(up("two"))
        bus.publish(ProcReady(tenant="t-one"))
        head = await bus.publish(ProcStuck(tenant="t-one"))
        family = await bus.latest("DB_*")
        newest = {e.subject: e.type for e in family.events if e.subject in {"one", "two"}}
        assert newest == {"one": "DB_DOWN", "two": "DB_UP"}
        assert family.head == head
        assert [e.seq for e in family.events] == sorted(e.seq for e in family.events)
        one_type = await bus.latest("PROC_STARTED", subject="t-one")
        assert [e.type for e in one_type.events] == ["PROC_STARTED"]
        assert [e.type for e in (await bus.latest(subject="t-one")).events] == ["PROC_STUCK"]
        assert (await bus.latest(subject="nobody")).events == []

    run(body)


def test_a_snapshot_and_a_subscription_after_it_miss_nothing(run: Run) -> None:
    async def body(another: Connect) -> None:
        speaker, listener = await another("speaker"), await another("listener")
        publications = [speaker.publish(up("snapshot")) for _ in range(500)]
        snapshot = await listener.latest(subject="snapshot")
        publications += [speaker.publish(up("snapshot")) for _ in range(500)]
        last = await publications[-1]
        subscription = await listener.subscribe(subject="snapshot", after=snapshot.head)
        expected = [seq for seq in [await one for one in publications] if seq > snapshot.head]
        assert [e.seq for e in await take(subscription, len(expected))] == expected
        assert expected[-1] == last

    run(body)


def test_a_cursor_is_remembered_and_never_goes_back(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus, other = await another("one"), await another("two")
        assert await bus.cursor("nobody") == 0
        await bus.commit("reader", 5)
        await bus.commit("reader", 9)
        await bus.commit("reader", 7)
        assert await other.cursor("reader") == 9

    run(body)


def test_a_cause_may_be_a_publication(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("reactor")
        subscription = await bus.subscribe()
        first = bus.publish(ProcStarted(tenant="cause"))
        second = bus.publish(ProcReady(tenant="cause"), cause=first)
        await second
        third = bus.publish(ProcStuck(tenant="cause"), cause=second)
        causes = [e.cause for e in await take(subscription, 3)]
        assert causes == [0, await first, await second]
        assert await third > await second

    run(body)


def test_flush_waits_for_all(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("dbwatch")
        assert await bus.flush(within=1.0)
        for number in range(1_000):
            bus.publish(up(f"flush-{number}"))
        assert await bus.flush(within=DEADLINE)
        assert len(await bus.replay(subject="flush-999")) == 1

    run(body)


def test_seq_at_tells_where_a_time_is(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("dbwatch")
        assert await bus.seq_at(0.0) == 0
        seqs = []
        for number in range(5):
            seqs.append(await bus.publish(up(f"time-{number}")))
            await asyncio.sleep(0.01)
        times = [e.time for e in await bus.replay(after=seqs[0] - 1)]
        for number in range(1, 5):
            assert await bus.seq_at(times[number]) == seqs[number - 1]
        assert await bus.seq_at(times[-1] + 60) == seqs[-1]

    run(body)


def test_a_file_name_that_is_no_utf8_gets_through(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("pathwatch")
        subscription = await bus.subscribe()
        await bus.publish(UserDeleted(tenant="caf\udce9"))
        assert (await anext(subscription)).subject == "caf\udce9"
        assert [e.subject for e in (await bus.latest(subject="caf\udce9")).events] == ["caf\udce9"]
        assert len(await bus.replay(subject="caf\udce9")) == 1

    run(body)


def test_closing_ends_subscriptions(run: Run) -> None:
    async def body(another: Connect) -> None:
        bus = await another("listener")
        first, second = await bus.subscribe(), await bus.subscribe()
        waiting = asyncio.ensure_future(_drain(second))
        await asyncio.sleep(0.05)
        await first.aclose()
        assert await _drain(first) == []
        await bus.close()
        await bus.close()
        assert await waiting == []

    run(body)


async def _drain(subscription: Subscription) -> list[Envelope]:
    return [envelope async for envelope in subscription]
