"""`bus db drain` beside a reactor that is faster than the command."""

import asyncio
from pathlib import Path

from bus.api import Cause
from bus.events import AnyEvent, DbDrainRequested, ProcReady, UserAdded
from bus.memory import MemoryBus, MemoryPublication
from bus.model import TenantSettings
from bus.settings import load
from cli.drain import evacuate
from cli.evacuation import Departure

READY = ProcReady(tenant="acme", pid=7, started=1, release="shop-1.0", database="db1")

TOML = """
[databases.db1]
url = "sqlite:///db1"
[databases.db2]
url = "sqlite:///db2"
"""


class Swift(MemoryBus):
    """A bus on which acme has moved before whoever asks for a drain can do anything else."""

    def publish(self, event: AnyEvent, *, cause: Cause = 0) -> MemoryPublication:
        publication = super().publish(event, cause=cause)
        if isinstance(event, DbDrainRequested):
            super().publish(ProcReady(tenant="acme", pid=7, started=1, release="shop-1.0", database="db2"))
        return publication


def test_who_leaves_at_once_is_told_of_as_well(tmp_path: Path) -> None:
    config = tmp_path / "tenantbus.toml"
    config.write_text(TOML)
    told: list[Departure] = []

    async def scene() -> None:
        bus = Swift("test")
        settings = TenantSettings(package="shop")
        bus.publish(UserAdded(tenant="acme", path="/t/acme", settings=settings, stamp="s"))
        bus.publish(READY)
        assert await evacuate(bus, load(config), "db1", told.append, within=5) == told

    asyncio.run(scene())
    assert told == [Departure("acme", "MOVED", "db2")]
