"""What the reactor does to the world: publishes, starts and ends processes, sets its alarms."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, assert_never

from bus.api import Bus, Cause
from bus.events import PackageReleased
from bus.settings import Settings
from services.reactor.actions import (
    AnyAction,
    AnyNews,
    BecameReady,
    Ended,
    Forget,
    Kill,
    Listen,
    Process,
    Publish,
    Spawn,
    SpawnFailed,
    Switch,
    Terminate,
    TimeCame,
    WakeAt,
    Withdraw,
    Withdrawn,
)
from services.reactor.doors import Door
from services.reactor.pace import Pace
from services.reactor.requests import Requests
from services.reactor.wants import Release

STARTS_PER_PROCESSOR = 4
"""A start also waits: for its fork server, for its own sockets, for its READY to be heard."""


class Parents(Protocol):
    """What it takes to have processes: `forks.Forks`, whose answers come as news."""

    def spawn(self, order: Spawn, package: PackageReleased) -> None: ...

    def switch(self, order: Switch) -> None: ...

    def terminate(self, process: Process, tenant: str) -> None: ...

    def kill(self, process: Process, tenant: str) -> None: ...

    def listen(self, tenant: str, package: PackageReleased) -> None: ...

    def forget(self, tenant: str) -> None: ...

    def show(self, tenant: str, door: Door) -> None: ...

    def complete(self) -> None: ...


class Act:
    """Performs actions; nothing here waits, or decides."""

    def __init__(
        self, bus: Bus, parents: Parents, hear: Callable[[AnyNews], None], settings: Settings
    ) -> None:
        self.releases: Mapping[str, Release] = {}
        self._bus = bus
        self._parents = parents
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self.requests = Requests(settings.tenants_dir)
        self._pace = Pace(settings.tenants.parallel_starts or _parallel_starts(), settings.moves)
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._next_place: asyncio.TimerHandle | None = None
        self._causes: dict[str, Cause] = {}
        """Of each tenant, what happened last: the event heard, or the one published because of it."""

    def because(self, tenant: str, seq: int) -> None:
        """Take an event on the bus for the cause of what the tenant does next."""
        self._causes[tenant] = seq

    def take_note(self, news: AnyNews) -> None:
        """See what news means for those who wait to be started."""
        if isinstance(news, BecameReady | Ended | SpawnFailed):
            self._pace.leave(news.tenant)
            self._start_next()

    def drop(self, tenant: str) -> None:
        """Forget a name that never was a tenant's."""
        self._causes.pop(tenant, None)

    def show(self, tenant: str, door: Door) -> None:
        """Tell nginx how a tenant meets its visitors; harmless when repeated."""
        self._parents.show(tenant, door)

    def complete(self) -> None:
        """Tell nginx that it knows of every tenant."""
        self._parents.complete()

    def perform(self, actions: Sequence[AnyAction]) -> None:
        for action in actions:
            self._perform(action)
        if any(isinstance(action, Spawn | Switch) for action in actions):
            self._start_next()

    def close(self) -> None:
        """Let go of all alarms."""
        for alarm in self._alarms.values():
            alarm.cancel()
        if self._next_place:
            self._next_place.cancel()

    def _perform(self, action: AnyAction) -> None:
        tenant = action.tenant
        match action:
            case Publish():
                cause = 0 if action.spontaneous else self._causes.get(tenant, 0)
                self._causes[tenant] = self._bus.publish(action.event, cause=cause)
            case Spawn() | Switch():
                self._pace.ask(action)
            case Withdraw():
                if self._pace.withdraw(tenant):
                    self._hear(Withdrawn(tenant=tenant))
            case Terminate() | Kill():
                end = self._parents.kill if isinstance(action, Kill) else self._parents.terminate
                end(action.process, tenant)
            case Listen():
                self._listen(action)
            case WakeAt():
                self._wake_at(tenant, action.at)
            case Forget():
                self._parents.forget(tenant)
            case _:
                assert_never(action)

    def _listen(self, action: Listen) -> None:
        release = self.releases.get(action.release)
        if release and release.package:  # a release that is gone is decided about anew
            self._parents.listen(action.tenant, release.package)

    def _wake_at(self, tenant: str, at: float) -> None:
        former = self._alarms.pop(tenant, None)
        if former:
            former.cancel()
        self._alarms[tenant] = self._loop.call_at(at, self._ring, tenant)

    def _ring(self, tenant: str) -> None:
        del self._alarms[tenant]
        self._hear(TimeCame(tenant=tenant))

    def _start(self, order: Spawn) -> None:
        release = self.releases.get(order.release)
        if release and release.package:
            self._parents.spawn(order, release.package)
        else:
            reason = f"{order.release} was withdrawn while it waited for its start"
            self._hear(SpawnFailed(tenant=order.tenant, reason=reason, never=False))

    def _start_next(self) -> None:
        while order := self._pace.take(self._loop.time()):
            if isinstance(order, Switch):
                self._parents.switch(order)
            else:
                self._start(order)
        if self._next_place:
            self._next_place.cancel()
        at = self._pace.look_again_at()
        self._next_place = self._loop.call_at(at, self._start_next) if at else None


def _parallel_starts() -> int:
    """Tell how many starts keep all our processors busy, and leave those who serve their share of them."""
    return STARTS_PER_PROCESSOR * len(os.sched_getaffinity(0))
