"""Which processes of tenants are watched, and which one of each tenant others see."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

from services.reactor import tree
from services.reactor.actions import Process
from services.reactor.watched import Watched


class Registry:
    """All that is watched, by tenant: one process, or two while the one replaces the other."""

    def __init__(self, parents: Callable[[], Iterable[Process | None]]) -> None:
        self._parents = parents
        """Tells the fork servers, whose children are looked at as well."""
        self._loop = asyncio.get_running_loop()
        self._watched: dict[str, list[Watched]] = {}
        self._snapshot: tree.Snapshot | None = None

    def __iter__(self) -> Iterator[Watched]:
        return chain.from_iterable(self._watched.values())

    def of(self, tenant: str) -> Collection[Watched]:
        return self._watched.get(tenant, ())

    def find(self, process: Process, tenant: str) -> Watched | None:
        return next((each for each in self.of(tenant) if each.process == process), None)

    def add(self, watched: Watched) -> None:
        self._watched.setdefault(watched.tenant, []).append(watched)

    def remove(self, watched: Watched) -> None:
        """Watch a process no more; whoever is left of its tenant is shown."""
        tenant = watched.tenant
        self._watched[tenant].remove(watched)
        if self._watched[tenant]:
            self.show_foremost(tenant)
        else:
            del self._watched[tenant]
            watched.places.pid.unlink(missing_ok=True)

    def show_foremost(self, tenant: str) -> None:
        """Let people and the dispatcher see the one of a tenant's processes that counts."""
        foremost = max(self._watched[tenant], key=lambda each: each.rank)
        foremost.places.show(foremost.process.pid)

    def show_all(self) -> None:
        for tenant in self._watched:
            self.show_foremost(tenant)

    def look(self) -> tree.Snapshot:
        """Look at what runs: once for all who do so in one turn of the loop."""
        if self._snapshot is None:
            known = [each.process.pid for each in self]
            known += [parent.pid for parent in self._parents() if parent]
            self._snapshot = tree.Snapshot(known)
            self._loop.call_soon(self._look_anew)
        return self._snapshot

    def _look_anew(self) -> None:
        self._snapshot = None
