"""kill -9 of the broker in the middle of a burst: nothing lost, nothing doubled, order kept."""

import asyncio
import random
from pathlib import Path

from bus import settings as settings_file
from bus.api import Bus, Publication, Subscription
from bus.client import connect
from bus.events import DbUp, Envelope
from tests.harness import Program, eventually_async

KILLS = 20
LIMIT = 50.0
"""Seconds for the whole test; usually it takes a tenth."""


async def publish_until(done: asyncio.Event, bus: Bus, sent: list[Publication]) -> None:
    while not done.is_set():
        for _ in range(50):
            sent.append(
                bus.publish(DbUp(database=bus.source, reason=str(len(sent))), cause=sent[-1] if sent else 0)
            )
        await asyncio.sleep(0.005)


async def collect(subscription: Subscription, heard: list[Envelope]) -> None:
    while True:
        heard.append(await anext(subscription))


async def kill_often(config: Path) -> None:
    chance = random.Random(20)
    for _ in range(KILLS):
        with Program.module("bus", config) as broker:
            await asyncio.to_thread(wait_until_up, config)
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            broker.kill()


def wait_until_up(config: Path) -> None:
    async def reach() -> None:
        await (await connect(settings_file.load(config), "probe")).close()

    asyncio.run(reach())


def test_broker_killed_in_a_burst_loses_and_doubles_nothing(short_dir: Path) -> None:
    config = short_dir / "tenantbus.toml"
    config.write_text("")
    asyncio.run(asyncio.wait_for(scene(config), LIMIT))


async def scene(config: Path) -> None:
    settings = settings_file.load(config)
    settings.prepare()
    with Program.module("bus", config):
        publishers = [await connect(settings, f"publisher-{number}") for number in range(3)]
        listeners = [await connect(settings, f"listener-{number}") for number in range(2)]
        subscriptions = [await bus.subscribe("DB_*", after=0) for bus in (*listeners, publishers[0])]
        subscriptions.append(await listeners[0].subscribe("DB_*", subject="publisher-1", after=0))
    sent: list[list[Publication]] = [[] for _ in publishers]
    heard: list[list[Envelope]] = [[] for _ in subscriptions]
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        readers = [
            tasks.create_task(collect(subscription, list_))
            for subscription, list_ in zip(subscriptions, heard, strict=True)
        ]
        writers = [
            tasks.create_task(publish_until(done, bus, list_))
            for bus, list_ in zip(publishers, sent, strict=True)
        ]
        await kill_often(config)
        done.set()
        await asyncio.gather(*writers)
        with Program.module("bus", config):
            seqs = [[await publication for publication in list_] for list_ in sent]
            total = sum(map(len, sent))
            expected = [total, total, total, len(sent[1])]
            await eventually_async(lambda: [len(list_) for list_ in heard] >= expected)
            truth = await listeners[0].replay("DB_*", limit=total + 1)
            for reader in readers:
                reader.cancel()
            for bus in (*publishers, *listeners):
                await bus.close()
    check(truth, heard, seqs)


def check(truth: list[Envelope], heard: list[list[Envelope]], seqs: list[list[int]]) -> None:
    assert [e.seq for e in truth] == sorted(seq for one in seqs for seq in one)
    for number, own in enumerate(seqs):
        mine = [e for e in truth if e.source == f"publisher-{number}"]
        assert [e.seq for e in mine] == own == sorted(own)
        assert [e.event for e in mine] == [
            DbUp(database=f"publisher-{number}", reason=str(n)) for n in range(len(own))
        ]
        assert [e.cause for e in mine] == [0, *own[:-1]]
    assert heard[0] == truth
    assert heard[1] == truth
    assert heard[2] == truth
    assert heard[3] == [e for e in truth if e.subject == "publisher-1"]
