"""The subscription's rules, with a journal in memory and news that come, or do not."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import codec
from bus import subscription as subscription_module
from bus.events import DbUp, Envelope
from bus.subscription import Batch, Feed, LiveSubscription, Part
from bus.wire import VERSION, Item, Stamp


def item(seq: int) -> Item:
    event = msgpack.unpackb(codec.pack_posted(DbUp(database=f"db{seq % 3}", reason=""), 0))
    return Item(event[0], Stamp(VERSION, seq, f"p:{seq}", 0.0, "node", "me", 0), event[2])


class World:
    """A journal of `head` events, of which the feed hears what the test lets through."""

    def __init__(self) -> None:
        self.head = 0
        self.fetched = 0
        self.page = 5
        self.feed = Feed(self.fetch)

    async def fetch(self, patterns: tuple[str, ...], subject: str, after: int) -> Part:
        self.fetched += 1
        await asyncio.sleep(0)
        upto = min(self.head, after + self.page)
        items = [item(seq) for seq in range(after + 1, upto + 1)]
        return Part([i for i in items if not subject or i.topic == f"DB_UP.{subject}"], upto, self.head)

    def say(self, count: int, *, heard: bool = True) -> None:
        prev, self.head = self.head, self.head + count
        if heard:
            self.feed.take(Batch(prev, self.head, [item(seq) for seq in range(prev + 1, self.head + 1)]))

    def beat(self) -> None:
        self.feed.take(Batch(self.head, self.head, []))


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 10))


async def take(subscription: LiveSubscription, count: int) -> list[int]:
    return [(await anext(subscription)).seq for _ in range(count)]


async def live(world: World) -> LiveSubscription:
    subscription = world.feed.join((), "", world.head)
    waiting = asyncio.ensure_future(_next(subscription))
    for _ in range(100):
        await asyncio.sleep(0)
    assert subscription.live
    world.say(1)
    await waiting
    world.fetched = 0
    return subscription


async def _next(subscription: LiveSubscription) -> Envelope:
    return await anext(subscription)


def test_while_live_nothing_is_fetched() -> None:
    async def scene() -> None:
        world = World()
        subscription = await live(world)
        for _ in range(20):
            world.say(3)
        assert await take(subscription, 60) == list(range(2, 62))
        assert world.fetched == 0

    run(scene())


def test_a_gap_is_filled_before_anything_newer() -> None:
    async def scene() -> None:
        world = World()
        subscription = await live(world)
        world.say(3)
        world.say(12, heard=False)
        world.say(3)
        world.say(2)
        assert await take(subscription, 20) == list(range(2, 22))
        world.say(1)
        assert await take(subscription, 1) == [22]
        assert subscription.live

    run(scene())


def test_a_lost_tail_is_noticed_by_the_beat() -> None:
    async def scene() -> None:
        world = World()
        subscription = await live(world)
        waiting = asyncio.ensure_future(take(subscription, 2))
        await asyncio.sleep(0)
        world.say(2, heard=False)
        world.beat()
        assert await waiting == [2, 3]

    run(scene())


def test_news_that_come_twice_are_heard_once() -> None:
    async def scene() -> None:
        world = World()
        subscription = await live(world)
        batch = Batch(1, 3, [item(2), item(3)])
        world.head = 3
        world.feed.take(batch)
        world.feed.take(batch)
        world.feed.take(Batch(1, 4, [item(2), item(3), item(4)]))
        assert await take(subscription, 3) == [2, 3, 4]

    run(scene())


def test_what_comes_while_catching_up_is_kept() -> None:
    async def scene() -> None:
        world = World()
        world.say(8, heard=False)
        subscription = world.feed.join((), "", 0)
        waiting = asyncio.ensure_future(take(subscription, 20))
        while not waiting.done():
            if world.head < 20:
                world.say(1)
            await asyncio.sleep(0)
        assert await waiting == list(range(1, 21))

    run(scene())


def test_a_full_queue_leaves_the_rest_in_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        monkeypatch.setattr(subscription_module, "QUEUE", 10)
        world = World()
        subscription = await live(world)
        for _ in range(100):
            world.say(1)
        assert len(subscription._queue) == 10
        assert await take(subscription, 100) == list(range(2, 102))
        world.say(1)
        assert await take(subscription, 1) == [102]

    run(scene())


def test_what_does_not_fit_is_passed_over() -> None:
    async def scene() -> None:
        world = World()
        subscription = await live(world)
        bad = item(2)
        world.head = 3
        world.feed.take(Batch(1, 3, [Item("DB_DOWN.x", bad.stamp, bad.data), item(3)]))
        assert await take(subscription, 1) == [3]
        assert world.feed.refused == 1

    run(scene())


def test_a_journal_that_went_back_is_read_from_its_beginning() -> None:
    async def scene() -> None:
        world = World()
        world.say(50, heard=False)
        subscription = await live(world)
        world.head = 3
        world.beat()
        assert await take(subscription, 3) == [1, 2, 3]

    run(scene())


def test_a_closed_subscription_ends_and_leaves() -> None:
    async def scene() -> None:
        world = World()
        subscription = await live(world)
        waiting = asyncio.ensure_future(_drain(subscription))
        await asyncio.sleep(0)
        await subscription.aclose()
        await subscription.aclose()
        assert await waiting == []
        world.say(1)
        assert len(subscription._queue) == 0

    run(scene())


async def _drain(subscription: LiveSubscription) -> list[Envelope]:
    return [envelope async for envelope in subscription]


steps = st.lists(st.sampled_from(["said", "lost", "beat", "read", "turn"]), max_size=50)


@given(steps, st.integers(1, 6), st.sampled_from(["", "db1"]))
def test_whatever_is_lost_all_is_heard_once_and_in_order(script: list[str], page: int, subject: str) -> None:
    async def scene() -> None:
        world = World()
        world.page = page
        world.say(7, heard=False)
        subscription = world.feed.join((), subject, 2)
        heard: list[int] = []
        reading: asyncio.Future[Envelope] | None = None
        for step in [*script, *["beat", "turn", "read", "turn", "turn"] * 60]:
            if step == "said":
                world.say(2)
            elif step == "lost":
                world.say(2, heard=False)
            elif step == "beat":
                world.beat()
            elif step == "read" and reading is None:
                reading = asyncio.ensure_future(_next(subscription))
            await asyncio.sleep(0)
            if reading and reading.done():
                heard.append(reading.result().seq)
                reading = None
        if reading:
            reading.cancel()
        expected = [seq for seq in range(3, world.head + 1) if not subject or seq % 3 == 1]
        assert heard == expected[: len(heard)]
        assert len(heard) >= min(50, len(expected))

    run(scene())
