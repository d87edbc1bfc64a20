"""Hears who comes to the sockets of tenants that have no process, and accepts nobody."""

import asyncio
import select
from collections.abc import Callable, Iterable

AT_ONCE = 64
"""Visitors heard in one turn, after which somebody else has one."""


class Bell:
    """Tells each tenant's first visitor, once a `listen`: whoever waits goes on to wait in the kernel."""

    def __init__(self, rung: Callable[[str], None]) -> None:
        self._rung = rung
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()  # one for all: the loop itself looks at one descriptor more
        self._listening: dict[str, list[int]] = {}
        self._tenants: dict[int, str] = {}
        self._loop.add_reader(self._epoll.fileno(), self._hear)

    def listen(self, tenant: str, descriptors: Iterable[int]) -> None:
        """Hear who comes to one of a tenant's listening sockets; call `forget` before they are closed."""
        self.forget(tenant)
        self._listening[tenant] = list(descriptors)
        for descriptor in self._listening[tenant]:
            self._tenants[descriptor] = tenant
            self._epoll.register(descriptor, select.EPOLLIN)

    def forget(self, tenant: str) -> None:
        """Hear nobody of a tenant's any more; harmless when repeated."""
        for descriptor in self._listening.pop(tenant, ()):
            del self._tenants[descriptor]
            self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Hear nothing any more; harmless when repeated."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _hear(self) -> None:
        for descriptor, _ in self._epoll.poll(0, AT_ONCE):
            tenant = self._tenants.get(descriptor)
            if tenant:  # and not heard at its other socket just now
                self.forget(tenant)
                self._rung(tenant)
