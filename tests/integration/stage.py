"""A reactor on real processes: a small application, tenants, databases by word of mouth, a bus in memory."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from bus.api import Bus
from bus.events import (
    DbCaughtUp,
    DbDown,
    DbUp,
    Envelope,
    PackageReleased,
    ProcEvent,
    ProcReady,
    ServiceUp,
    UserAdded,
    UserModified,
)
from bus.memory import MemoryBus
from bus.model import PackageSettings, TenantSettings
from bus.settings import Settings, load
from services.base import serve
from services.reactor.service import Reactor
from services.score import Slot
from tests.harness import DEADLINE

E = TypeVar("E", bound=ProcEvent)

TOML = """
[paths]
state = "s"
[tenants]
start_timeout = 3.0
stop_timeout = 3.0
[restart]
backoff = 0.1
backoff_max = 0.2
fatal_after = 4
fatal_retry = 600.0
[databases.db1]
url = "sqlite:///db1"
[databases.db2]
url = "sqlite:///db2"
"""

APPLICATION = """
import asyncio, os, signal, time
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler


class Who(RequestHandler):
    def get(self):
        database = os.environ.get("DATABASE_URL", "")
        self.write({"pid": os.getpid(), "database": database, "mood": os.environ.get("MOOD")})


async def change(url):
    if os.environ["MOOD"] == "switch badly":
        raise ZeroDivisionError
    if os.environ["MOOD"] == "switch never":
        await asyncio.sleep(60)


class Slow(RequestHandler):
    async def get(self):
        while not os.path.exists("finish"):
            await asyncio.sleep(0.01)


class Open(WebSocketHandler):
    pass


def make_app(tenant):
    mood = os.environ.get("MOOD", "")
    if mood == "crash":
        os._exit(1)
    if mood == "never":
        os._exit(3)
    if mood == "slow":
        time.sleep(60)
    if mood == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mood.startswith("switch"):
        tenant.on_database_change(change)
    return Application([("/slow", Slow), ("/open", Open), ("/.*", Who)])
"""


def settings_in(directory: Path, more: str = "") -> Settings:
    """Write the settings and the application; gives the settings."""
    config = directory / "tenantbus.toml"
    config.write_text(TOML + more)
    release = directory / "packages" / "shop" / "1.0"
    release.mkdir(parents=True)
    (release / "shop.py").write_text(APPLICATION)
    settings = load(config)
    settings.prepare()
    return settings


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class Stage:
    """Speaks for pathwatch, dbwatch and people; sees what the reactor says and what tenants answer."""

    def __init__(self, settings: Settings, bus: Bus) -> None:
        self.settings = settings
        self.bus = bus

    def release(self, version: str = "1.0") -> None:
        path = self.settings.packages_dir / "shop" / "1.0"
        entry = PackageSettings(entry="shop:make_app")
        self.bus.publish(
            PackageReleased(
                release=f"shop-{version}",
                app="shop",
                version=version,
                path=str(path),
                settings=entry,
                stamp="1",
            )
        )

    def up(self, *databases: str) -> None:
        for database in databases:
            self.bus.publish(DbUp(database=database, reason="answers"))

    def down(self, *databases: str, caught_up: bool | None = None) -> None:
        """Lose databases, and say of the others whether they have what those had."""
        for database in databases:
            self.bus.publish(DbDown(database=database, reason="no answer"))
        others = self.settings.databases.keys() - set(databases)
        for source, target in product(databases, sorted(others)):
            self.bus.publish(
                DbCaughtUp(source=source, target=target, caught_up=caught_up, reason="as compared")
            )

    def add(self, name: str, mood: str = "", **settings: Any) -> None:
        self._tell(UserAdded, name, mood, settings)

    def modify(self, name: str, mood: str = "", **settings: Any) -> None:
        self._tell(UserModified, name, mood, settings)

    def _tell(self, event: Callable[..., Any], name: str, mood: str, settings: dict[str, Any]) -> None:
        directory = self.settings.tenants_dir / name
        directory.mkdir(parents=True, exist_ok=True)
        chosen = TenantSettings(package="shop", env={"MOOD": mood}, **settings)
        self.bus.publish(
            event(tenant=name, path=str(directory), settings=chosen, stamp=repr(chosen), secrets="none")
        )

    async def begin(self, *names: str) -> None:
        """Have a release and two databases, and these tenants running."""
        self.bus.publish(ServiceUp(service="pathwatch", pid=1, version="1"))
        self.release()
        self.up("db1", "db2")
        for name in names:
            self.add(name)
        for name in names:
            await self.said(ProcReady, name)

    async def said(self, event: type[E], name: str, after: int = 0, **facts: object) -> tuple[int, E]:
        """Wait until the reactor has said something of this kind about a tenant; gives seq and event."""
        events = await self.bus.subscribe("PROC_*", subject=name, after=after)
        seen = []
        try:
            async with asyncio.timeout(DEADLINE):
                async for envelope in events:
                    said = envelope.event
                    seen.append(said)
                    if isinstance(said, event) and all(getattr(said, k) == v for k, v in facts.items()):
                        return envelope.seq, said
        except TimeoutError:
            raise AssertionError(f"no {event.__name__} {facts} of {name}, but {seen}") from None
        finally:
            await events.aclose()
        raise AssertionError("the bus was closed")

    async def history(self, name: str, after: int = 0) -> list[Envelope]:
        """Tell all that was said about a tenant, by anybody."""
        return await self.bus.replay(subject=name, after=after)

    async def head(self) -> int:
        return (await self.bus.latest("NONE")).head

    def is_busy(self, name: str) -> bool:
        """Tell whether a tenant is answering a request."""
        return memoryview(self.settings.score_page(name).read_bytes()).cast("Q")[Slot.IN_FLIGHT] > 0

    def finish(self, name: str) -> None:
        """Let a tenant answer those who have asked for /slow."""
        (self.settings.tenants_dir / name / "finish").touch()

    async def ask(self, name: str) -> dict[str, Any]:
        """Ask a tenant who it is, as nginx would: over its own socket."""
        async with asyncio.timeout(DEADLINE):
            reader, writer = await asyncio.open_unix_connection(self.settings.http_socket(name))
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
        told: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return told


@asynccontextmanager
async def stage(directory: Path, more: str = "") -> AsyncIterator[Stage]:
    """A reactor in this process, with `more` settings; when the test is over all its tenants have ended."""
    settings = settings_in(directory, more)
    bus = MemoryBus("test")
    stopping: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
    reactor = asyncio.create_task(serve(Reactor(settings, bus.other("reactor")), stopping))
    try:
        yield Stage(settings, bus)
    finally:
        stopping.set_result(signal.SIGINT)
        await reactor
