"""A project's directories under a real pathwatch, on a bus in memory."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from bus import settings as settings_file
from bus.events import AnyEvent, UserAdded, UserInvalid, UserModified
from bus.memory import MemoryBus
from services.pathwatch.service import PathWatch
from tests.harness import eventually_async

VALID = 'package = "invoicing"\n'
PAID = VALID + 'plan = "paid"\n'
RELEASE = 'entry = "app:make"\n'


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
        running: asyncio.Task[None] | None = None
        try:
            await service.start()
            running = asyncio.create_task(service.run())
            yield service
        finally:
            if running:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
            await service.stop(signal.SIGTERM)

    async def news(self) -> list[AnyEvent]:
        """Everything said since the last call; nothing is under way any more.

        An invalid tenant that we make last is told last, since bad news waits.
        """
        self._barriers += 1
        name = f"zz-barrier-{self._barriers}"
        self.tenant(name, "")
        await eventually_async(lambda: self._said(name))
        return await self.unread()

    async def unread(self) -> list[AnyEvent]:
        """Everything said since the last call, without waiting."""
        events = [envelope.event for envelope in await self.bus.replay(after=self._seen, limit=1_000_000)]
        self._seen = self.bus.journal.head
        return [event for event in events if not event.subject.startswith("zz-barrier")]

    async def hear(self, event_type: str, subject: str) -> None:
        """Wait until that was said, since the last call of `news`."""

        async def heard() -> bool:
            return bool(await self.bus.replay(event_type, subject=subject, after=self._seen))

        await eventually_async(heard)

    async def tell(self) -> list[tuple[str, str]]:
        """Type and subject of everything said since the last call."""
        return [(event.type, event.subject) for event in await self.news()]

    async def plans(self) -> dict[str, str]:
        """The plan of each tenant that is there, "invalid" for those that are invalid."""
        newest = [envelope.event for envelope in (await self.bus.latest("USER_*")).events]
        plans = {e.tenant: e.settings.plan for e in newest if isinstance(e, UserAdded | UserModified)}
        return plans | {e.tenant: "invalid" for e in newest if isinstance(e, UserInvalid)}

    async def _said(self, subject: str) -> bool:
        return bool((await self.bus.latest("USER_INVALID", subject=subject)).events)


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
