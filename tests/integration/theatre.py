"""A stage whose broker and reactor are real processes: to be killed, stopped, started again."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bus.client import connect
from bus.events import ServiceUp
from tests.harness import DEADLINE, Program
from tests.integration.stage import Stage, settings_in


class Theatre:
    """A stage whose broker and reactor are real processes."""

    def __init__(self, stage: Stage, broker: Program, config: Path) -> None:
        self.stage = stage
        self.broker = broker
        self.config = config
        self.reactor = Program.module("services.reactor", config)

    async def again(self) -> None:
        """Start the reactor again and wait until it says that it is ready."""
        seq = await self.stage.head()
        self.reactor = Program.module("services.reactor", self.config)
        await self.reactor_is_up(seq)

    async def reactor_is_up(self, after: int = 0) -> None:
        ups = await self.stage.bus.subscribe("SERVICE_UP", subject="reactor", after=after)
        async with asyncio.timeout(DEADLINE):
            async for envelope in ups:
                assert isinstance(envelope.event, ServiceUp)
                if envelope.event.pid == self.reactor.pid:
                    break
        await ups.aclose()


@asynccontextmanager
async def theatre(directory: Path) -> AsyncIterator[Theatre]:
    settings = settings_in(directory)
    config = directory / "tenantbus.toml"
    with Program.module("bus", config) as broker:
        bus = await connect(settings, "test", within=DEADLINE)
        one = Theatre(Stage(settings, bus), broker, config)
        try:
            await one.reactor_is_up()
            yield one
        finally:
            one.reactor.signal(signal.SIGINT)  # so that it ends its tenants
            one.reactor.process.wait(DEADLINE)
            await bus.close()
            one.broker.stop()


def play(directory: Path, scene: Callable[[Theatre, Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        async with theatre(directory) as one:
            await scene(one, one.stage)

    asyncio.run(main())
