"""Processes are replaced under load, and nobody notices; whatever fails or is killed meanwhile."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.events import (
    PackageReleased,
    ProcExited,
    ProcReady,
    ProcReplaceFailed,
    ProcStarted,
    ProcStopping,
    ProcStuck,
    RestartRequested,
)
from bus.model import Limits, PackageSettings
from tests.harness import DEADLINE, eventually_async
from tests.integration.stage import Stage, is_alive, stage
from tests.integration.theatre import Theatre, theatre

APPLICATION = """
import asyncio, os, time
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

LIFE = os.path.join(os.path.dirname(__file__), "life")


def note(what):
    with open(LIFE, "a") as file:
        file.write(f"{what} {os.getpid()}\\n")


class Who(RequestHandler):
    async def get(self):
        mood = os.environ.get("MOOD", "")
        if self.request.path == "/slow":
            await asyncio.sleep(0.3)
        if self.request.path == "/spin":
            time.sleep(600)
        self.write({"pid": os.getpid(), "database": os.environ.get("DATABASE_URL", ""), "mood": mood})

    async def post(self):
        self.write(self.request.body)


class Echo(WebSocketHandler):
    def open(self):
        self.write_message(str(os.getpid()))


async def make_app(tenant):
    mood = os.environ.get("MOOD", "")
    if mood == "crash":
        os._exit(1)
    if mood == "never":
        os._exit(3)
    if mood == "hang":
        await asyncio.sleep(600)
    if mood == "hesitate":
        await asyncio.sleep(1.0)
    note("begins")
    asyncio.get_running_loop().call_soon(note, "serves")
    import atexit
    atexit.register(note, "ends")
    return Application([("/echo", Echo), ("/.*", Who)])
"""


class Visitors:
    """Short new connections, one after the other: GET, slow GET, POST."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.took: list[float] = []
        self.failed: list[str] = []
        self._gone = False

    async def _one(self, n: int) -> None:
        body = f"{n}" * 50
        requests = (
            f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        request = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" if n % 10 == 0 else requests[n % 2]
        begun = time.monotonic()
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            answer = (await reader.readexactly(length)).decode()
            assert head.startswith("HTTP/1.1 200")
            assert not request.startswith("POST") or answer == body
        finally:
            writer.close()
        self.took.append(time.monotonic() - begun)

    async def _stay(self, first: int) -> None:
        n = first
        while not self._gone:
            try:
                async with asyncio.timeout(DEADLINE):
                    await self._one(n)
            except (OSError, EOFError, TimeoutError, AssertionError) as error:
                self.failed.append(f"{n}: {error!r}")
            n += 3
            await asyncio.sleep(0.005)

    @asynccontextmanager
    async def visiting(self) -> AsyncIterator[None]:
        visits = [asyncio.create_task(self._stay(first)) for first in range(6)]
        try:
            yield
        finally:
            self._gone = True
            await asyncio.gather(*visits)
        took = sorted(self.took)
        print(f"{len(took)} requests, p99 {took[len(took) * 99 // 100] * 1000:.0f} ms")
        assert self.failed == []
        assert len(took) > 20


def prepare(one: Stage) -> None:
    (one.settings.packages_dir / "shop" / "1.0" / "shop.py").write_text(APPLICATION)


def play(directory: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with stage(directory) as one:
            prepare(one)
            await one.begin("acme")
            await scene(one)

    asyncio.run(main())


async def over(one: Stage, name: str, after: int) -> tuple[int, int]:
    """Wait until a replacement is over; gives the pids of old and new."""
    seq, ready = await one.said(ProcReady, name, after)
    _, exited = await one.said(ProcExited, name, seq, serving=ready.pid)
    assert exited.expected
    return exited.pid, ready.pid


def test_restarts_and_new_settings_under_load_fail_nobody(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        visitors = Visitors(one.settings.http_socket("acme"))
        async with visitors.visiting():
            for n in range(20):
                seq = await one.bus.publish(RestartRequested(tenant="acme", by="ann"))
                old, new = await over(one, "acme", seq)
                assert not is_alive(old)
                seq = await one.head()
                one.modify("acme", mood=f"mood{n}")
                assert (await over(one, "acme", seq))[0] == new
        assert (await one.ask("acme"))["mood"] == "mood19"
        types = [e.type for e in await one.bus.replay(subject="acme")]
        assert types.count("PROC_STARTED") == 41

    play(short_dir, scene)


def test_a_database_that_goes_away_is_left_without_a_gap(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        _, ready = await one.said(ProcReady, "acme")
        visitors = Visitors(one.settings.http_socket("acme"))
        async with visitors.visiting():
            for _ in range(3):
                other = {"db1": "db2", "db2": "db1"}[ready.database]
                seq = await one.head()
                one.up(other)
                one.down(ready.database)
                seq, ready = await one.said(ProcReady, "acme", seq, database=other)
                await one.said(ProcExited, "acme", seq, serving=ready.pid)
        assert (await one.ask("acme"))["database"].endswith(ready.database)

    play(short_dir, scene)


def test_websockets_are_closed_with_1001_and_slow_requests_finished(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        path = one.settings.http_socket("acme")
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(
            b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2 + len(str((await one.ask("acme"))["pid"])))
        slow, slow_writer = await asyncio.open_unix_connection(path)
        slow_writer.write(b"GET /slow HTTP/1.0\r\n\r\n")
        await asyncio.sleep(0.1)
        seq = await one.bus.publish(RestartRequested(tenant="acme", by="ann"))
        frame = await reader.readexactly(4)
        assert (frame[0], int.from_bytes(frame[2:], "big")) == (0x88, 1001)
        assert b"200 OK" in await slow.read()
        for each in (writer, slow_writer):
            each.close()
        await over(one, "acme", seq)

    play(short_dir, scene)


def test_who_must_be_alone_is_never_two_at_once(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        life = one.settings.packages_dir / "shop" / "1.0" / "life"
        alone = PackageSettings(entry="shop:make_app", overlap=False)
        path = str(life.parent)
        one.bus.publish(
            PackageReleased(
                release="shop-1.0", app="shop", version="1.0", path=path, settings=alone, stamp="2"
            )
        )
        seq = await one.bus.publish(RestartRequested(tenant="acme", by="ann"))
        await one.said(ProcReady, "acme", seq)
        await one.ask("acme")  # by then it has noted that it serves
        life.unlink()
        visitors = Visitors(one.settings.http_socket("acme"))
        async with visitors.visiting():
            for _ in range(5):
                seq = await one.bus.publish(RestartRequested(tenant="acme", by="ann"))
                await one.said(ProcReady, "acme", seq)
        await one.ask("acme")
        lines = [line.split()[0] for line in life.read_text().splitlines()]
        assert lines == ["ends", "begins", "serves"] * 5

    play(short_dir, scene)


@pytest.mark.parametrize(
    ("mood", "reason"), [("crash", "exit code 1"), ("never", "exit code 3"), ("hang", "3 s")]
)
def test_a_replacement_that_fails_leaves_the_old_one_serving(short_dir: Path, mood: str, reason: str) -> None:
    async def scene(one: Stage) -> None:
        before = (await one.ask("acme"))["pid"]
        visitors = Visitors(one.settings.http_socket("acme"))
        async with visitors.visiting():
            seq = await one.head()
            one.modify("acme", mood=mood)
            seq, failed = await one.said(ProcReplaceFailed, "acme", seq)
            assert failed.serving == before
            assert reason in failed.reason
            assert failed.retry_in == (600.0 if mood == "never" else pytest.approx(0.1, abs=0.1))
            if mood == "crash":  # tried again by itself
                seq, failed = await one.said(ProcReplaceFailed, "acme", seq)
                assert failed.failures == 2
            await asyncio.sleep(0.2)
            assert (await one.ask("acme"))["pid"] == before
            seq = await one.bus.publish(RestartRequested(tenant="acme", by="ann"))
            await one.said(ProcReplaceFailed, "acme", seq)
            seq = await one.head()
            one.modify("acme", mood="well")
            _, ready = await one.said(ProcReady, "acme", seq)
            await one.said(ProcExited, "acme", seq, pid=before, serving=ready.pid)
            assert (await one.ask("acme"))["mood"] == "well"

    play(short_dir, scene)


def test_the_old_one_killed_or_stuck_while_the_new_one_starts(short_dir: Path) -> None:
    async def scene(one: Stage) -> None:
        _, old = await one.said(ProcReady, "acme")
        for n, lose in enumerate((signal.SIGKILL, signal.SIGSTOP)):
            seq = await one.head()
            one.modify("acme", mood="hesitate", limits=Limits(open_files=100 + n))
            _, new = await one.said(ProcStarted, "acme", seq)
            assert new.serving == old.pid
            os.kill(old.pid, lose)
            if lose == signal.SIGSTOP:
                stuck = ProcStuck(tenant="acme", pid=old.pid, started=old.started, stuck_for=5.0)
                one.bus.publish(stuck)
            _, gone = await one.said(ProcExited, "acme", seq, pid=old.pid)
            assert (gone.expected, gone.serving) == (False, 0)
            _, old = await one.said(ProcReady, "acme", seq)
            assert (await one.ask("acme"))["pid"] == old.pid == new.pid

    play(short_dir, scene)


@pytest.mark.parametrize("phase", ["starting", "draining"])
def test_a_reactor_killed_in_the_middle_keeps_exactly_one(short_dir: Path, phase: str) -> None:
    async def scene(one: Theatre, here: Stage) -> None:
        prepare(here)
        await here.begin("acme")
        old = (await here.ask("acme"))["pid"]
        visitors = Visitors(here.settings.http_socket("acme"))
        async with visitors.visiting():
            slow = None
            seq = await here.head()
            if phase == "draining":
                slow, slow_writer = await asyncio.open_unix_connection(here.settings.http_socket("acme"))
                slow_writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
                await asyncio.sleep(0.1)
            here.modify("acme", mood="hesitate")
            _, started = await here.said(ProcStarted, "acme", seq)
            if phase == "draining":
                await here.said(ProcStopping, "acme", seq, pid=old)
            one.reactor.kill()
            assert is_alive(old)
            assert is_alive(started.pid)
            if phase == "starting":
                await asyncio.sleep(1.2)  # it becomes ready when nobody looks
            seq = await here.head()
            await one.again()
            if slow:
                slow_writer.write(b"x")
                assert (await slow.read()).endswith(b"x")
                slow_writer.close()
            await here.said(ProcReady, "acme", seq, pid=started.pid, adopted=True)
            await here.said(ProcExited, "acme", seq, pid=old, expected=True, serving=started.pid)
            await eventually_async(lambda: not is_alive(old))
        assert (await here.ask("acme"))["pid"] == started.pid
        types = [e.type for e in await here.history("acme")]
        assert types.count("PROC_STARTED") == 2

    async def main() -> None:
        async with theatre(short_dir) as one:
            await scene(one, one.stage)

    asyncio.run(main())
