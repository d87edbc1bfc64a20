"""The dispatcher as a process of its own, with a real broker: stopped for a while, killed, started again."""

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from bus.api import Bus, Subscription
from bus.client import connect
from bus.events import ProcReady, ProcRecovered, ProcStuck
from bus.settings import Settings, load
from tests.harness import DEADLINE, Program, eventually
from tests.integration.pages import say

STUCK_AFTER = 1.0
ROOT = Path(__file__).parents[2]


class Cast(NamedTuple):
    config: Path
    settings: Settings
    http: Path
    tenant: Program


@contextmanager
def cast(directory: Path) -> Iterator[Cast]:
    config = directory / "tenantbus.toml"
    config.write_text(f"[checks]\nstuck_after = {STUCK_AFTER}\n")
    settings = load(config)
    settings.prepare()
    page, http = settings.score_page("acme"), settings.http_socket("acme")
    arguments = ("-m", "tests.integration.scored_tenant", str(page), str(http))
    with ExitStack() as stack:
        stack.enter_context(Program.module("bus", config))
        tenant = Program(sys.executable, *arguments, cwd=ROOT, log=directory / "tenant.log")
        stack.callback(tenant.kill)  # its loop may be blocked
        eventually(http.exists)
        yield Cast(config, settings, http, tenant)


async def watched(bus: Bus, service: Program) -> None:
    """Wait until the dispatcher is ready and knows the tenant."""
    ups = await bus.subscribe("SERVICE_UP", subject="dispatcher", after=0)
    async with asyncio.timeout(DEADLINE):
        async for envelope in ups:
            if getattr(envelope.event, "pid", 0) == service.pid:
                return


async def verdict(events: Subscription) -> ProcStuck | ProcRecovered:
    async with asyncio.timeout(DEADLINE):
        event = (await events.__anext__()).event
    assert isinstance(event, ProcStuck | ProcRecovered)
    return event


async def keep_busy(cast: Cast, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        say(cast.http, "/block/0.01")
        await asyncio.sleep(0.01)


def test_a_dispatcher_that_was_stopped_convicts_nobody(short_dir: Path) -> None:
    async def play(cast: Cast) -> None:
        bus = await connect(cast.settings, "test", within=DEADLINE)
        events = await bus.subscribe("PROC_STUCK", "PROC_RECOVERED")
        bus.publish(ProcReady(tenant="acme", pid=cast.tenant.pid, release="shop-1.0"))
        with Program.module("services.dispatcher", cast.config) as dispatcher:
            await watched(bus, dispatcher)
            dispatcher.signal(signal.SIGSTOP)
            await keep_busy(cast, 2 * STUCK_AFTER)
            say(cast.http, "/block/0.8")  # it looks up in the middle of this
            await asyncio.sleep(0.4)
            dispatcher.signal(signal.SIGCONT)
            await keep_busy(cast, STUCK_AFTER)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(events.__anext__(), 0.5)
            assert "no look for" in dispatcher.output
            say(cast.http, "/block")
            assert isinstance(await verdict(events), ProcStuck)
        await bus.close()

    with cast(short_dir) as actors:
        asyncio.run(play(actors))


def test_a_killed_dispatcher_says_no_verdict_twice(short_dir: Path) -> None:
    async def play(cast: Cast) -> None:
        bus = await connect(cast.settings, "test", within=DEADLINE)
        events = await bus.subscribe("PROC_STUCK", "PROC_RECOVERED")
        with Program.module("services.dispatcher", cast.config) as first:
            await watched(bus, first)
            bus.publish(ProcReady(tenant="acme", pid=cast.tenant.pid, release="shop-1.0"))
            say(cast.http, "/block/4")
            assert isinstance(await verdict(events), ProcStuck)
            first.kill()
        with Program.module("services.dispatcher", cast.config) as second:
            await watched(bus, second)
            assert isinstance(await verdict(events), ProcRecovered)
        await bus.close()

    with cast(short_dir) as actors:
        asyncio.run(play(actors))
