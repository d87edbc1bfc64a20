"""A reactor's end of fork servers in a process of its own, to be killed: starts tenants, then waits."""

import asyncio
import sys
from pathlib import Path

from services.reactor.actions import BecameReady
from tests.integration.forking import Stage


async def main(directory: Path, first_port: int, tenants: list[str]) -> None:
    here = Stage(directory, first_port)
    await here.begin()
    for tenant in tenants:
        here.ask(tenant)
    for tenant in tenants:
        await here.told(BecameReady, tenant)
    print("all are ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
