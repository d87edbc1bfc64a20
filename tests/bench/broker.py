"""Events per second and latency through the broker, beside bare PUB/SUB in the same run."""

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

import zmq

from bus import settings as settings_file
from bus.client import connect
from bus.events import ProcReady
from tests.bench.table import Row
from tests.harness import DEADLINE, Program, short_directory

EVENTS = 100_000
RATE = 1_000
SECONDS = 5.0


def event(number: int) -> ProcReady:
    """About 200 bytes on the wire."""
    return ProcReady(
        tenant=f"tenant-{number % 1_000}",
        pid=number,
        release="invoicing-1.4.0",
        database="db1",
        port=8_000,
        reason="x" * 40,
    )


async def publish_burst(config: Path) -> None:
    """Another process: publish EVENTS as fast as they are acknowledged."""
    bus = await connect(settings_file.load(config), "bench", within=DEADLINE)
    for number in range(EVENTS):
        last = bus.publish(event(number))
        if number % 100 == 99:
            await asyncio.sleep(0)
        if number % 50_000 == 49_999:  # stay within what the client keeps
            await last
    await bus.flush(within=DEADLINE)
    await bus.close()


async def publish_steadily(config: Path) -> None:
    """Another process: publish RATE events a second; `started` carries the time of the publication."""
    bus = await connect(settings_file.load(config), "bench", within=DEADLINE)
    begin = time.monotonic()
    for number in range(int(RATE * SECONDS)):
        await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
        bus.publish(ProcReady(tenant="steady", started=time.monotonic_ns()))
    await bus.flush(within=DEADLINE)
    await bus.close()


async def burst(config: Path) -> float:
    """Seconds from the first event heard to the last."""
    bus = await connect(settings_file.load(config), "listener", within=DEADLINE)
    subscription = await bus.subscribe("PROC_*")
    publisher = _start("publish_burst", config)
    await anext(subscription)
    begin = time.perf_counter()
    for _ in range(EVENTS - 1):
        await anext(subscription)
    took = time.perf_counter() - begin
    publisher.wait(DEADLINE)
    await bus.close()
    return took


async def steady(config: Path) -> list[float]:
    """Latencies in milliseconds, from publish to the subscriber."""
    bus = await connect(settings_file.load(config), "listener", within=DEADLINE)
    subscription = await bus.subscribe(subject="steady")
    publisher = _start("publish_steadily", config)
    latencies = []
    for _ in range(int(RATE * SECONDS)):
        heard = (await anext(subscription)).event
        assert isinstance(heard, ProcReady)
        latencies.append((time.monotonic_ns() - heard.started) / 1e6)
    publisher.wait(DEADLINE)
    await bus.close()
    return latencies


def publish_bare(endpoint: Path) -> None:
    """Another process: the ceiling, the same bytes one by one over PUB with nothing kept."""
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.setsockopt(zmq.SNDHWM, 0)
        publisher.connect(f"ipc://{endpoint}")
        time.sleep(0.5)  # PUB cannot know when it is connected
        for _ in range(EVENTS):
            publisher.send(b"x" * 200)
        publisher.close(linger=5_000)


def bare(directory: Path) -> float:
    """Seconds from the first message heard to the last."""
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.RCVHWM, 0)
        subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        subscriber.bind(f"ipc://{directory}/bare")
        publisher = _start("publish_bare", directory / "bare")
        subscriber.recv()
        begin = time.perf_counter()
        for _ in range(EVENTS - 1):
            subscriber.recv()
        took = time.perf_counter() - begin
        publisher.wait(DEADLINE)
    return took


def _start(role: str, path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "tests.bench.broker", role, str(path)])


def run() -> list[Row]:
    with short_directory() as directory:
        config = directory / "tenantbus.toml"
        config.write_text("")
        ceiling = EVENTS / bare(directory)
        with Program.module("bus", config):
            ours = EVENTS / asyncio.run(burst(config))
            latencies = asyncio.run(steady(config))
    percentiles = statistics.quantiles(latencies, n=100)
    return [
        Row("bare PUB/SUB, nothing kept", ceiling, "messages/s", ""),
        Row("journaled, one publisher to one subscriber", ours, "events/s", "30,000"),
        Row("journaled, share of bare PUB/SUB", 100 * ours / ceiling, "%", ""),
        Row(f"latency at {RATE}/s, p50", percentiles[49], "ms", ""),
        Row(f"latency at {RATE}/s, p99", percentiles[98], "ms", "below 5"),
    ]


ROLES = {"publish_burst": publish_burst, "publish_steadily": publish_steadily}

if __name__ == "__main__":
    if sys.argv[1:2] == ["publish_bare"]:
        publish_bare(Path(sys.argv[2]))
    elif len(sys.argv) > 1:
        asyncio.run(ROLES[sys.argv[1]](Path(sys.argv[2])))
    else:
        for row in run():
            print(f"{row.what:<45} {row.figure:>10,.2f} {row.unit:<11} {row.target}")
