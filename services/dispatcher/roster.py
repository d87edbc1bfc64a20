"""What the bus has told about tenants: which processes they have, and how one asks them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec import structs

from bus.events import (
    AnyEvent,
    PackageReleased,
    ProcEvent,
    ProcExited,
    ProcMoved,
    ProcReady,
    ProcStarted,
    ProcStopped,
    ProcStuck,
    UserPresent,
)
from bus.model import HEALTH, PackageSettings, parse_size
from bus.settings import Settings
from services.dispatcher.answers import IDENTITY, Run

RUNS = 3
"""Processes of a tenant that are remembered: there are never more."""


class Door(NamedTuple):
    """Where a tenant serves, and what it is asked for there."""

    place: Path | int
    """Its unix socket, or the loopback port that its program binds itself."""
    paths: tuple[str, ...]


class Roster:
    """Everybody who was ever heard of, until told that he is stopped."""

    def __init__(self, settings: Settings) -> None:
        self.known: dict[str, ProcEvent] = {}
        """What each tenant runs, as the bus told last."""
        self._settings = settings
        self._packages: dict[str, PackageSettings] = {}
        """How each release is started."""
        self._runs: dict[str, dict[int, Run]] = {}
        self._soft_limits: dict[str, int] = {}

    def learn(self, event: AnyEvent) -> None:
        match event:
            case PackageReleased():
                self._packages[event.release] = event.settings
            case UserPresent():
                self._limit(event)
            case ProcStarted() | ProcReady():
                self._remember(event)
            case ProcStuck() if not event.serving:
                self.known[event.tenant] = event
            case ProcMoved():
                self._move(event)
            case ProcExited():
                self._runs.get(event.tenant, {}).pop(event.pid, None)
            case ProcStopped():
                self.known.pop(event.tenant, None)
                self._runs.pop(event.tenant, None)
            case _:
                pass

    def of(self, tenant: str) -> ProcEvent:
        """Tell what a tenant runs, as far as that is known."""
        return self.known.get(tenant) or ProcStarted(tenant=tenant)

    def soft_limit(self, tenant: str) -> int:
        """Tell the bytes of memory above which a tenant is to be replaced; 0 for none."""
        return self._soft_limits.get(tenant, 0)

    def door(self, tenant: str) -> Door:
        """Tell where and what to ask a tenant."""
        known = self.known.get(tenant)
        package = self._packages.get(known.release) if known else None
        place = self._settings.http_socket(tenant)
        if known is None or package is None:
            return Door(place, (HEALTH,))
        paths = (IDENTITY if package.entry else None, package.health_path)
        port = known.port if package.binds_port else 0
        return Door(port or place, tuple(filter(None, paths)))

    def runs(self, tenant: str, pid: int) -> Mapping[int, Run]:
        """Tell the processes that may answer for a tenant: those that were told of, and `pid`."""
        return {pid: Run(), **self._runs.get(tenant, {})}

    def _limit(self, event: UserPresent) -> None:
        limits = event.settings.limits.above(self._settings.defaults_of(event.settings.plan).limits)
        self._soft_limits[event.tenant] = parse_size(limits.memory_soft)

    def _remember(self, event: ProcStarted | ProcReady) -> None:
        if not event.serving:
            self.known[event.tenant] = event
        runs = self._runs.setdefault(event.tenant, {})
        runs.pop(event.pid, None)
        runs[event.pid] = Run(
            release=event.release, databases=frozenset(self._names(event.database)), port=event.port
        )
        for pid in list(runs)[:-RUNS]:
            del runs[pid]

    def _move(self, event: ProcMoved) -> None:
        """Take a process that runs on for one of either database: it may be told of the other where it is."""
        runs, names = self._runs.get(event.tenant, {}), frozenset(self._names(event.target))
        for pid, run in runs.items():
            runs[pid] = structs.replace(run, databases=frozenset(run.databases) | names)

    def _names(self, database: str) -> Iterable[str]:
        """Tell what a program may call its database, which has only got its URL."""
        yield from filter(None, [database])
        if database in self._settings.databases:
            url = urlsplit(self._settings.databases[database].url)
            yield from filter(None, (url.hostname, url.path.strip("/")))
