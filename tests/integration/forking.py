"""A reactor's end of fork servers for tests: spawns tenants, collects news, leaves nothing behind."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from bus.events import PackageReleased
from bus.model import PackageSettings, TenantSettings
from bus.settings import Settings, load
from services.reactor.actions import AnyNews, BecameReady, Ended, Found, Process, Spawn, Spawned
from services.reactor.forks import Forks
from services.score import Slot
from tests.harness import DEADLINE, eventually_async, free_ports

APPS = Path(__file__).parent / "apps"
SETTINGS = """
[databases.db1]
url = "sqlite:///var/db1.db"
{extra}
[tenants]
port_range = [{first}, {last}]
{tenants}
"""

N = TypeVar("N", bound=AnyNews)
T = TypeVar("T")


def release(app: str, **settings: Any) -> PackageReleased:
    """A release whose directory is apps/<app>, as pathwatch would tell of it."""
    return PackageReleased(
        release=f"{app}-1.0",
        app=app,
        version="1.0",
        path=str(APPS / app),
        settings=PackageSettings(**settings),
        stamp="s1",
    )


PLAIN = release("plain", entry="plain_app:make_app")


class Stage:
    """One directory with tenants, and a Forks that looks after them."""

    def __init__(self, directory: Path, first_port: int, extra: str = "", tenants: str = "") -> None:
        config = directory / "tenantbus.toml"
        config.write_text(
            SETTINGS.format(first=first_port, last=first_port + 9, extra=extra, tenants=tenants)
        )
        self.settings: Settings = load(config)
        self.settings.prepare()
        self.settings.tenants_dir.mkdir(exist_ok=True)
        self.forks: Forks
        self.news: list[AnyNews] = []
        self.changed = asyncio.Event()

    async def begin(self) -> list[Found]:
        """Be a reactor that was just started."""
        self.forks = Forks(self.settings, self._hear)
        return await self.forks.adopt()

    async def begin_again(self) -> list[Found]:
        """Be the next reactor."""
        await self.forks.close()
        self.news.clear()
        return await self.begin()

    def order(self, tenant: str, package: PackageReleased = PLAIN, **settings: Any) -> Spawn:
        (self.settings.tenants_dir / tenant).mkdir(exist_ok=True)
        said = TenantSettings(package=package.app, **settings)
        return Spawn(tenant=tenant, release=package.release, database="db1", settings=said, stamp="t1")

    def ask(self, tenant: str, package: PackageReleased = PLAIN, **settings: Any) -> None:
        self.forks.spawn(self.order(tenant, package, **settings), package)

    async def start(self, tenant: str, package: PackageReleased = PLAIN, **settings: Any) -> Spawned:
        """Start a tenant and wait until it is ready."""
        self.ask(tenant, package, **settings)
        spawned = await self.told(Spawned, tenant)
        ready = await self.told(BecameReady, tenant)
        assert ready.process == spawned.process
        return spawned

    async def told(self, kind: type[N], tenant: str) -> N:
        """Wait for the next news of a kind about a tenant."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for news in self.news:
                    if isinstance(news, kind) and news.tenant == tenant:
                        self.news.remove(news)
                        return news
                self.changed.clear()
                await self.changed.wait()

    async def get(self, tenant: str, path: str = "/", port: int = 0) -> str:
        """GET over the tenant's unix socket, or a port; gives the body of a 200."""
        status, body = await self.fetch(tenant, path, port)
        assert status == 200, body
        return body

    async def fetch(self, tenant: str, path: str = "/", port: int = 0) -> tuple[int, str]:
        reader, writer = await self.connect(tenant, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {tenant}\r\n\r\n".encode())
            async with asyncio.timeout(DEADLINE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = head.partition("Content-Length: ")[2].partition("\r\n")[0]
                body = (await reader.readexactly(int(length))).decode()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        return int(head.split()[1]), body

    async def connect(self, tenant: str, port: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if port:
            return await asyncio.open_connection("127.0.0.1", port)
        return await asyncio.open_unix_connection(str(self.settings.http_socket(tenant)))

    def score(self, tenant: str, slot: Slot) -> int:
        return memoryview(self.settings.score_page(tenant).read_bytes()).cast("Q")[slot]

    def fork_servers(self) -> list[Process]:
        return [parent.process for parent in self.forks._parents if parent.process]

    def log(self, name: str) -> str:
        return (self.settings.state_dir / "log" / name).read_text()

    def output(self, tenant: str) -> str:
        return (self.settings.tenants_dir / tenant / "log" / "output.log").read_text()

    async def end(self) -> None:
        """End all that runs, and see that nothing of it is left."""
        await self.forks.close()
        await self.begin()
        for watched in list(self.forks._watched):
            self.forks.kill(watched.process, watched.tenant)
        await eventually_async(lambda: not list(self.forks._watched))
        await self.forks.shut_down()
        await eventually_async(lambda: not self._left())

    def _left(self) -> list[int]:
        run = str(self.settings.run_dir).encode()
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                text = (directory / "environ").read_bytes() + (directory / "cmdline").read_bytes()
                if run in text:
                    found.append(int(directory.name))
        return found

    def _hear(self, news: AnyNews) -> None:
        self.news.append(news)
        self.changed.set()


@asynccontextmanager
async def stage(
    directory: Path, first_port: int | None = None, extra: str = "", tenants: str = ""
) -> AsyncIterator[Stage]:
    built = Stage(directory, first_port or free_ports(10), extra, tenants)
    await built.begin()
    try:
        yield built
    finally:
        await built.end()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def descriptors(pid: int, first: int = 0) -> set[str]:
    files = Path(f"/proc/{pid}/fd").iterdir()
    return {str(file.readlink()) for file in files if int(file.name) >= first}


def run(test: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(test)


def died(news: Ended) -> tuple[int | None, str]:
    return news.code, news.signal


KILLED = (None, signal.SIGKILL.name)
