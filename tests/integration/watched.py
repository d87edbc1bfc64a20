"""A project's directories under a real pathwatch, on a bus in memory."""

import asyncio
import fcntl
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from bus import codec
from bus import settings as settings_file
from bus.events import AnyEvent, UserAdded, UserInvalid, UserModified
from bus.memory import MemoryBus
from services.pathwatch.service import PathWatch
from tests.harness import eventually_async

VALID = 'package = "invoicing"\n'
PAID = VALID + 'plan = "paid"\n'
RELEASE = 'entry = "app:make"\n'


@contextmanager
def kernel_limits(*, ours: bool) -> Iterator[None]:
    """Keep tests that change the limits of the whole machine (`ours`) apart from those that rely on them."""
    with Path("/tmp/tenantbus-test-inotify.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if ours else fcntl.LOCK_SH)
        yield


class World:
    """Write below `tenants` and `packages`, then ask what was said about it."""

    def __init__(self, root: Path, settings: str = "") -> None:
        self.root = root
        self.file = root / "tenantbus.toml"
        self.tenants, self.packages = root / "tenants", root / "packages"
        self.tenants.mkdir()
        self.packages.mkdir()
        self.file.write_text(settings)
        self.bus = MemoryBus("test")
        self._seen = 0
        self._barriers = 0

    def tenant(self, name: str, text: str = VALID) -> Path:
        directory = self.tenants / name
        directory.mkdir(exist_ok=True)
        (directory / "tenant.toml").write_text(text)
        return directory

    def release(self, app: str, version: str, text: str = RELEASE) -> Path:
        directory = self.packages / app / version
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "package.toml").write_text(text)
        return directory

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[PathWatch]:
        """A pathwatch that has started; what it says of its first scan is there already."""
        service = PathWatch(settings_file.load(self.file), self.bus.other("pathwatch"))
        try:
            await service.start()
            running = asyncio.create_task(service.run())
            yield service
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        finally:
            await service.stop(signal.SIGTERM)

    async def news(self, count: int = 0) -> list[AnyEvent]:
        """What was said since the last call, as soon as it is so many events.

        Without a number: all, when nothing is under way any more. Then an invalid tenant that we make last
        is told of last, since bad news waits.
        """
        if count:
            await eventually_async(lambda: len(self._unread()) >= count)
        else:
            self._barriers += 1
            barrier = f"zz-barrier-{self._barriers}"
            self.tenant(barrier, "")
            await eventually_async(lambda: any(event.subject == barrier for event in self._unread()))
        return self.unread()

    def unread(self) -> list[AnyEvent]:
        """What was said since the last call, without waiting."""
        events = self._unread()
        self._seen = self.bus.journal.head
        return [event for event in events if not event.subject.startswith("zz-barrier")]

    def _unread(self) -> list[AnyEvent]:
        page = self.bus.journal.replay((), "", self._seen, 1_000_000)
        return [codec.unpack_packed(packed).event for packed in page.packed]

    async def tell(self, count: int = 0) -> list[tuple[str, str]]:
        """Type and subject of `news`."""
        return [(event.type, event.subject) for event in await self.news(count)]

    async def plans(self) -> dict[str, str]:
        """The plan of each tenant that is there, "invalid" for those that are invalid."""
        newest = [envelope.event for envelope in (await self.bus.latest("USER_*")).events]
        plans = {e.tenant: e.settings.plan for e in newest if isinstance(e, UserAdded | UserModified)}
        return plans | {e.tenant: "invalid" for e in newest if isinstance(e, UserInvalid)}


def repeats(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Tell the events that say what was said about their subject just before."""
    newest: dict[str, AnyEvent] = {}
    found = []
    for event in events:
        if newest.get(event.subject) == event:
            found.append(event)
        newest[event.subject] = event
    return found


async def script(command: Sequence[str], directory: Path) -> None:
    """Let another process change things."""
    process = await asyncio.create_subprocess_exec(*command, cwd=directory)
    assert await process.wait() == 0


def watch(directory: Path, story: Callable[[World], Awaitable[None]], settings: str = "") -> None:
    """Let a story happen under a running pathwatch."""

    async def run() -> None:
        world = World(directory, settings)
        async with world.watching():
            await world.news(1)  # the settings
            await story(world)
            assert await world.news() == []

    asyncio.run(run())
