"""tenantbus itself, measured in the same way."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from tests.bench.crash import FORGIVING
from tests.bench.peers.peer import Mode, Peer
from tests.bench.product import running


class Tenantbus(Peer):
    name = "tenantbus"
    best = "stable_after 0.1"
    checks = "stuck_after 1"

    def install(self) -> str:
        return version("tenantbus")

    @contextmanager
    def running(self, ports: Sequence[int], mode: Mode) -> Iterator[list[int]]:
        settings = f"[tenants]\nport_range = [{ports[0]}, {ports[-1]}]\n"
        if mode is not Mode.DEFAULT:
            settings += f"{FORGIVING}\n[checks]\nstuck_after = 1.0\n"
        with running(settings) as product:
            for number in range(len(ports)):
                product.add(f"tenant-{number}")
            yield [service.pid for service in product.services.values()]
