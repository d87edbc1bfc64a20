"""Tenants without a process that somebody may wake: their sockets are held, copied, and listened at."""

import asyncio
import logging
from collections.abc import Callable
from socket import socket
from typing import NamedTuple

from bus.events import PackageReleased
from services.reactor.actions import AnyNews, Knocked
from services.reactor.bell import Bell
from services.reactor.forkservers import ForkServers
from services.reactor.link import Link, Message
from services.reactor.sockets import ListeningSockets, SocketError
from services.reactor.tenantbus_fork.kept import Kept, from_packet, in_packets

log = logging.getLogger(__name__)


class Keeper(NamedTuple):
    """Who has copies of a tenant's sockets, for when we are gone; and of which."""

    link: Link
    release: str
    """Of the tenant when it fell asleep."""
    copied: tuple[socket | None, ...]


class Sleepers:
    """The fork server that will start a tenant runs already, and keeps its sockets over our own restarts."""

    def __init__(
        self, sockets: ListeningSockets, parents: ForkServers, news: Callable[[AnyNews], None]
    ) -> None:
        self._sockets, self._parents, self._news = sockets, parents, news
        self._loop = asyncio.get_running_loop()
        self._bell = Bell(self._knocked)
        self._keepers: dict[str, Keeper] = {}
        self._unsent: dict[str, None] = {}
        """Whose copies are to be sent, in order."""

    def listen(self, tenant: str, package: PackageReleased) -> None:
        """Tell of the next visitor by Knocked. Who cannot sleep is started: that shows what is wrong."""
        self._bell.forget(tenant)
        try:
            held = self._sockets.open(tenant, listen_on_port=True, needs_port=False)
            self._keep(tenant, self._parents.of(package), package.release)
            self._bell.listen(tenant, held.descriptors)
        except (SocketError, OSError) as error:
            log.warning("%s cannot sleep: %s", tenant, error)
            self._loop.call_soon(self._knocked, tenant)

    def wake(self, tenant: str) -> None:
        """Leave the sockets to whoever is started now."""
        self._bell.forget(tenant)
        keeper = self._keepers.pop(tenant, None)
        if keeper:
            keeper.link.ask("drop", tenant=tenant)

    def forget(self, tenant: str) -> None:
        """Let go of a tenant that is no more, before its sockets are closed."""
        self._bell.forget(tenant)
        self._keepers.pop(tenant, None)

    def take_back(self, keeper: Link, told: Message, descriptors: list[int]) -> None:
        """Hold again what a fork server has kept for us."""
        for tenant, port, sockets in from_packet(descriptors, told["kept"]):
            if self._sockets.take_back(tenant, port, sockets):
                held = self._sockets.of(tenant)
                self._keepers[tenant] = Keeper(keeper, keeper.release, (held.unix, held.tcp))
            else:  # others have better ones
                keeper.ask("drop", tenant=tenant)

    def lose(self, gone: Link) -> None:
        """Have others keep what a fork server has kept that is gone."""
        orphans = {tenant: keeper for tenant, keeper in self._keepers.items() if keeper.link is gone}
        for tenant, keeper in orphans.items():
            del self._keepers[tenant]
            link = self._parents.again(keeper.release) if gone.worked else None
            if link:
                self._keep(tenant, link, keeper.release)

    def close(self) -> None:
        """Listen no more; what is kept stays so."""
        self._bell.close()
        self._keepers.clear()
        self._unsent.clear()

    def _knocked(self, tenant: str) -> None:
        self._news(Knocked(tenant=tenant))

    def _keep(self, tenant: str, link: Link, release: str) -> None:
        keeper, held = self._keepers.get(tenant), self._sockets.of(tenant)
        if keeper and keeper.copied == (held.unix, held.tcp):
            return
        if keeper:
            keeper.link.ask("drop", tenant=tenant)
        self._keepers[tenant] = Keeper(link, release, (held.unix, held.tcp))
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent[tenant] = None

    def _send(self) -> None:
        """Send copies to who shall keep them, those of many tenants together."""
        by_link: dict[Link, list[Kept]] = {}
        for tenant in self._unsent:
            if tenant in self._keepers:  # and not woken again
                held = self._sockets.of(tenant)
                kept = Kept(tenant, held.port, held.descriptors)
                by_link.setdefault(self._keepers[tenant].link, []).append(kept)
        self._unsent.clear()
        for link, all_of_them in by_link.items():
            for descriptors, about in in_packets(all_of_them):
                link.ask("keep", descriptors, kept=about)
