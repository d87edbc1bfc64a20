"""The broker as a process, and what the world does to it."""

import asyncio
import os
import random
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from bus import codec
from bus.api import Bus, Subscription
from bus.client import Client, connect
from bus.daemon import EXIT_NEVER
from bus.errors import BusUnavailableError
from bus.events import DbUp
from bus.settings import Settings
from bus.wire import Head, News, Publish
from tests.harness import DEADLINE, Program, eventually, eventually_async
from tests.integration.brokered import act, replay_all, up


def test_it_says_when_it_comes_and_goes(config: Path, settings: Settings) -> None:
    with Program.module("bus", config) as first:
        replay_all(settings)
        assert first.stop() == 0
    with Program.module("bus", config) as second:
        said = [(e.type, e.event.pid) for e in replay_all(settings, "SERVICE_*") if hasattr(e.event, "pid")]
        assert said == [("SERVICE_UP", first.pid), ("SERVICE_DOWN", first.pid), ("SERVICE_UP", second.pid)]
        second.signal(signal.SIGINT)
        assert second.process.wait(DEADLINE) == 0


def test_nobody_else_can_read_it(config: Path, settings: Settings) -> None:
    with Program.module("bus", config):
        replay_all(settings)
        journal = settings.journal
        for file in (
            journal,
            journal.with_name("journal.db-wal"),
            settings.run_dir / "bus.router",
            settings.run_dir / "bus.pub",
        ):
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
        for directory in (settings.run_dir, settings.state_dir):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_second_broker_is_refused_and_told_who_is_there(config: Path, settings: Settings) -> None:
    with Program.module("bus", config) as first:
        replay_all(settings)
        with Program.module("bus", config) as second:
            assert second.process.wait(DEADLINE) == EXIT_NEVER
            assert f"pid {first.pid}" in second.output
        act(settings, _publish_one)


async def _publish_one(bus: Bus) -> None:
    assert await bus.publish(up("db1")) > 0


def test_it_tells_its_manager_and_feeds_the_watchdog(config: Path, short_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(short_dir / "notify"))
        manager.settimeout(DEADLINE)
        env = {"NOTIFY_SOCKET": str(short_dir / "notify"), "WATCHDOG_USEC": "200000"}
        command = (sys.executable, "-m", "bus", "-c", str(config))
        with Program(*command, cwd=short_dir, env=env) as broker:
            heard = {manager.recv(100) for _ in range(4)}
            assert heard == {b"READY=1", b"WATCHDOG=1"}
            broker.signal(signal.SIGTERM)
            eventually(lambda: manager.recv(100) == b"STOPPING=1")


def test_a_client_waits_for_a_broker_only_as_long_as_told(settings: Settings) -> None:
    settings.prepare()
    with pytest.raises(BusUnavailableError) as caught:
        asyncio.run(connect(settings, "hasty", within=0.1))
    assert caught.value.endpoint == settings.router_endpoint


def test_what_is_said_and_asked_without_a_broker_waits(config: Path, settings: Settings) -> None:
    settings.prepare()

    async def scene() -> None:
        waiting = asyncio.create_task(connect(settings, "early"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        with Program.module("bus", config) as broker:
            bus = await waiting
            subscription = await bus.subscribe("DB_*")
            broker.stop()
            publication = bus.publish(up("db1"))
            question = asyncio.ensure_future(bus.cursor("me"))
            assert not await bus.flush(within=0.1)
            with Program.module("bus", config):
                seq = await publication
                assert (await anext(subscription)).seq == seq
                assert await question == 0
                await bus.close()

    asyncio.run(asyncio.wait_for(scene(), DEADLINE))


# ---------------------------------------------------------------- bad input


def garbage() -> Iterator[list[bytes]]:
    chance = random.Random(1)
    spoken = msgpack.unpackb(codec.pack_posted(up("db1"), 0))
    yield [b""]
    yield [b"", b"", b""]
    yield [msgpack.packb([1, ["Publish"], []])]
    yield [msgpack.packb([99, ["Head", 1], []])]
    yield [msgpack.packb([1, ["Nonsense", 1], []])]
    yield [msgpack.packb([1, ["Publish", "x", "node", "liar", 1, 2**63], []])]
    yield [msgpack.packb([1, ["SeqAt", 1, "noon"], []])]
    for message in (["Publish", "\udcff", "node", "liar", 1, 1], ["Commit", 1, "\udcff", 1]):
        yield [msgpack.packb([1, message, [spoken]], unicode_errors="surrogateescape")]
    yield [b"\x91" * 100_000]
    yield [codec.pack_frame(News("x", 0, 5))]
    good = codec.pack_frame(Publish("p", "node", "me", 1, 1), [codec.pack_posted(up("db1"), 0)])
    for _ in range(300):
        yield [chance.randbytes(chance.randrange(200))]
        spoilt = bytearray(good)
        spoilt[chance.randrange(4)] ^= 1 << chance.randrange(8)
        yield [bytes(spoilt)]


def test_garbage_from_clients_is_dropped_and_said_once(config: Path, settings: Settings) -> None:
    with Program.module("bus", config) as broker:
        replay_all(settings)
        with zmq.Context() as context, context.socket(zmq.DEALER) as liar:
            liar.connect(settings.router_endpoint)
            for frames in garbage():
                liar.send_multipart(frames)
            lies = [msgpack.packb(["DB_UP.db1", 0, {"type": "DB_UP", "database": 5}]) for _ in range(10)]
            lies.append(
                msgpack.packb(["DB_UP.other", 0, msgpack.unpackb(codec.pack_posted(up("db1"), 0))[2]])
            )
            lies.append(msgpack.packb("not even a list"))
            liar.send(codec.pack_frame(Publish("liar", "node", "liar", 1, 1), lies))
            liar.send(codec.pack_frame(Head(1)))
            eventually(lambda: codec.unpack_frame(liar.recv()).message.__class__.__name__ == "Answer")
            liar.close(linger=0)
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(settings.run_dir / "bus.router"))
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 50)
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(settings.run_dir / "bus.pub"))
                stranger.sendall(os.urandom(2_000))
        act(settings, _publish_one)
        assert not [e for e in replay_all(settings) if e.source == "liar"]
        assert broker.process.poll() is None
        assert broker.output.count("said once") == 2


def test_garbage_from_a_false_broker_harms_no_subscriber(config: Path, settings: Settings) -> None:
    """Whoever sits on the sockets while the broker is away is not believed, and forgotten when it is back."""
    with Program.module("bus", config) as broker:
        replay_all(settings)
        broker.stop()

    async def scene() -> None:
        client = Client(settings, "victim")
        with zmq.Context() as context, context.socket(zmq.XPUB) as liar:
            liar.bind(settings.pub_endpoint)
            subscribed = asyncio.create_task(client.subscribe("DB_*", after=0))
            await eventually_async(lambda: liar.poll(0))
            for frames in garbage():
                liar.send_multipart(frames)
            liar.send(codec.pack_frame(News("liar", 0, 0), [msgpack.packb(["DB_UP.x", [1, "one"], {}])]))
            await eventually_async(lambda: client._feed.refused > 500)
            liar.close(linger=0)
        subscription = await subscribed
        with Program.module("bus", config):
            publication = client.publish(up("db1"))
            assert (await anext(subscription)).seq == await publication
            await client.close()

    asyncio.run(asyncio.wait_for(scene(), DEADLINE))


# ---------------------------------------------------------------- slow subscribers


BURST = """
import asyncio, sys
from pathlib import Path
from bus import settings
from bus.client import connect
from bus.events import DbUp

async def main():
    bus = await connect(settings.load(Path(sys.argv[1])), "speaker")
    for number in range(int(sys.argv[2])):
        await bus.publish(DbUp(database="db1", reason=f"{number:04000}"))  # a batch of its own each
    await bus.close()

asyncio.run(main())
"""


def test_a_subscriber_that_does_not_read_hurts_nobody_and_misses_nothing(
    config: Path, settings: Settings
) -> None:
    """The listener's process hangs while another publishes more than the sockets hold."""
    count = 1_500

    async def scene() -> None:
        with Program.module("bus", config):
            listener = await connect(settings, "listener", within=DEADLINE)
            subscription, abandoned = await listener.subscribe("DB_*"), await listener.subscribe("DB_*")
            await listener.publish(up("first"))
            for one in (subscription, abandoned):
                assert (await anext(one)).subject == "first"
            command = (sys.executable, "-c", BURST, str(config), str(count))
            with Program(*command, cwd=config.parent) as speaker:
                assert speaker.process.wait(DEADLINE) == 0, speaker.output  # our loop hangs meanwhile
            assert await reasons(subscription, count) == list(range(count))
            assert await reasons(abandoned, count) == list(range(count))
            await listener.close()

    asyncio.run(asyncio.wait_for(scene(), 2 * DEADLINE))


async def reasons(subscription: Subscription, count: int) -> list[int]:
    events = [(await anext(subscription)).event for _ in range(count)]
    return [int(event.reason) for event in events if isinstance(event, DbUp)]
