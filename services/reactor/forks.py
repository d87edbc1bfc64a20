"""The processes of tenants: started through fork servers, watched, ended, and found again."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec

from bus.errors import FileError
from bus.events import PackageReleased
from bus.settings import Settings
from services.reactor import environment, identity, orders, probe
from services.reactor.actions import (
    AnyNews,
    BecameReady,
    Ended,
    Found,
    Process,
    Spawn,
    Spawned,
    SpawnFailed,
    Switch,
)
from services.reactor.doors import Door, Doors
from services.reactor.forkservers import ForkServers
from services.reactor.isolation import Isolation
from services.reactor.link import Link, Message
from services.reactor.orders import Asked, Places, RunsAlreadyError
from services.reactor.registry import Registry
from services.reactor.sleepers import Sleepers
from services.reactor.sockets import ClaimedError, ListeningSockets, SocketError, take_from
from services.reactor.switches import Switches
from services.reactor.tenantbus_fork import page
from services.reactor.tenantbus_fork.wire import MessageTooLongError
from services.reactor.users import UserError
from services.reactor.watched import Watched

log = logging.getLogger(__name__)

FORKING = 5.0
"""Seconds that a fork server has to fork, once it is there; it takes milliseconds."""


class Forks:
    """All tenants' processes. No call waits; what comes of it is told as news, in order."""

    def __init__(self, settings: Settings, news: Callable[[AnyNews], None]) -> None:
        self._settings = settings
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._sockets = ListeningSockets(settings)
        self._isolation = Isolation(settings)
        self._doors = Doors(settings.run_dir / "http")
        self._parents = ForkServers(settings, self._hear)
        self._switches = Switches(settings, news)
        self._sleepers = Sleepers(self._sockets, self._parents, news)
        self._asked: dict[str, Asked] = {}
        self._watched = Registry(lambda: [parent.process for parent in self._parents])
        self._found: list[Found] = []

    async def adopt(self) -> list[Found]:
        """Take back what runs and the sockets; what ended meanwhile is told as news right after."""
        self._sockets.read_claims()
        self._isolation.begin()
        await self._parents.find()
        taken = {watched.places.process for watched in self._watched}
        for file in self._settings.tenants_dir.glob("*/run/process~*.json"):
            if file not in taken:
                self._adopt_orphan(file)
        self._watched.show_all()
        self._remove_leftovers()
        self._loop.call_soon(self._parents.retire_idle)
        found, self._found = self._found, []
        return found

    def spawn(self, order: Spawn, package: PackageReleased) -> None:
        """Start a process; answered by Spawned, then BecameReady or Ended, or by SpawnFailed."""
        try:
            self._spawn(order, package)
        except (ClaimedError, FileError, UserError, MessageTooLongError) as error:
            self._fail(order.tenant, str(error), never=True)
        except (SocketError, RunsAlreadyError) as error:
            self._fail(order.tenant, str(error), never=False)
        except KeyError:
            self._fail(order.tenant, f"the settings have no database {order.database!r}", never=True)
        except OSError as error:
            hopeless = isinstance(error, FileNotFoundError | PermissionError)
            where = f": {error.filename}" if error.filename else ""
            self._fail(order.tenant, f"{error.strerror}{where}", never=hopeless)

    def switch(self, order: Switch) -> None:
        """Tell a process to use another database; answered by Switched or NotSwitched, or by its end."""
        watched = self._watched.find(order.process, order.tenant)
        if watched:
            self._switches.tell(order, watched.link)

    def listen(self, tenant: str, package: PackageReleased) -> None:
        """Hold a tenant's sockets; answered by Knocked when somebody comes there."""
        self._sleepers.listen(tenant, package)

    def terminate(self, process: Process, tenant: str) -> None:
        """Send SIGTERM to exactly this process."""
        watched = self._watched.find(process, tenant)
        if watched:
            watched.told_to_stop = True
            watched.places.note(stopping_at=page.now())
            identity.send(process, signal.SIGTERM)
        else:
            self._tell_if_gone(process, tenant)

    def kill(self, process: Process, tenant: str) -> None:
        """End a process and everything that it has started; Ended is told when all of it is gone."""
        watched = self._watched.find(process, tenant)
        if watched:
            watched.kill()
        else:
            self._tell_if_gone(process, tenant)

    def show(self, tenant: str, door: Door) -> None:
        """Let a tenant's visitors in or not; those who wait already go as well when it is shut."""
        if self._doors.show(tenant, door):
            self._sockets.turn_away(tenant)

    def complete(self) -> None:
        """Say that all tenants have been shown."""
        self._doors.complete()

    def forget(self, tenant: str) -> None:
        """Close a tenant's sockets and remove what was written for it; it must not run any more."""
        for parent in self._parents:
            parent.ask("drop", tenant=tenant)
        self._loop.call_soon(self._parents.retire_idle)
        self._sleepers.forget(tenant)
        self._sockets.forget(tenant)
        self._isolation.users.forget(tenant)
        Places(self._settings, tenant).remove_all()

    async def close(self) -> None:
        """Let go: fork servers and tenants run on."""
        for watched in self._watched:
            watched.close()
        for asked in self._asked.values():
            asked.alarm.cancel()
        self._switches.close()
        self._sleepers.close()
        self._parents.close()
        self._sockets.close()

    async def shut_down(self) -> None:
        """End the fork servers, and let go: nothing is left to connect to but what runs on all the same."""
        self._sleepers.close()  # or a new fork server would be asked to keep what another has kept
        await self._parents.quit()
        self._sockets.remove()
        await self.close()
        self._isolation.cgroups.close()

    # ------------------------------------------------------------ starting

    def _spawn(self, order: Spawn, package: PackageReleased) -> None:
        tenant = order.tenant
        for watched in self._watched.of(tenant):
            if watched.process != order.beside:
                raise RunsAlreadyError(f"pid {watched.process.pid} runs already")
        if tenant in self._asked:
            raise RunsAlreadyError("a process is being started already")
        places = Places(self._settings, tenant, token_hex(4))
        with places.prepared():
            rights = self._isolation.settle(order, places.name)
            places.group = rights.group
            alone = environment.binds_itself(package)
            self._sleepers.wake(tenant)
            held = self._sockets.open(tenant, listen_on_port=not alone, needs_port=alone)
            message = orders.write(order, package, held.port, places, rights)
            with os.fdopen(orders.private(order, held.port, places, rights.user), "rb", 0) as private:
                parent = self._parents.of(package)
                with os.fdopen(places.make_page(), "r+b", 0) as score:
                    descriptors = [score.fileno(), private.fileno(), *held.descriptors]
                    parent.ask("spawn", descriptors, **message, sockets=len(held.descriptors))
        timeout = self._settings.tenants.start_timeout
        if parent.listed.is_set():  # it has imported what there is to import
            timeout = min(timeout, FORKING)
        why = f"of {package.release} has not started {tenant} within {timeout:g} s"
        alarm = self._loop.call_later(timeout, self._give_up, parent, why)
        health = package.settings.health_path if message["command"] else None
        self._asked[tenant] = Asked(parent, places, health, alarm)

    def _give_up(self, parent: Link, why: str) -> None:
        parent.hung = why
        self._parents.kill(parent.process, why)

    def _fail(self, tenant: str, reason: str, *, never: bool) -> None:
        self._loop.call_soon(self._news, SpawnFailed(tenant=tenant, reason=reason, never=never))

    # ------------------------------------------------------------ what fork servers say

    def _hear(self, speaker: Link, message: Message, descriptors: list[int]) -> None:
        match message.pop("say"):
            case "have":
                self._take_back(speaker, message, descriptors)
            case "kept":
                self._sleepers.take_back(speaker, message, descriptors)
            case "spawned":
                self._spawned(speaker, _process(message), message["tenant"])
            case "failed":
                self._refused(message["tenant"], message["reason"], never=message["never"])
            case "ready":
                self._ready(message["tenant"], _process(message), switches=message["switches"])
            case "switched":
                self._switches.switched(message["tenant"], _process(message), message["database"])
            case "not switched":
                self._switches.failed(_process(message), message["reason"])
            case "ended":
                self._ended(speaker, message)
            case "lost":
                self._lost(speaker)
            case unknown:
                log.error("the fork server of %s says %r, which is unknown", speaker.release, unknown)

    def _spawned(self, speaker: Link, process: Process, tenant: str) -> None:
        asked = self._asked.pop(tenant, None)
        places = asked.places if asked else Places(self._settings, tenant)
        watched = self._watch(process, places, speaker)
        if asked is None:
            log.error("%s: nobody asked for pid %d: it is killed", tenant, process.pid)
            watched.kill()
            return
        asked.alarm.cancel()
        self._watched.show_foremost(tenant)
        self._leave_former(tenant)
        self._news(Spawned(tenant=tenant, process=process, port=self._sockets.port(tenant)))
        if asked.health:
            self._ask_until_ready(watched, asked.health)

    def _refused(self, tenant: str, reason: str, *, never: bool) -> None:
        asked = self._asked.pop(tenant, None)
        if asked:
            asked.alarm.cancel()
            asked.places.remove()
            self._news(SpawnFailed(tenant=tenant, reason=reason, never=never))

    def _answered(self, watched: Watched) -> None:
        """A program that said nothing answers requests: that is what READY means."""
        if watched.link:
            watched.link.ask("served", pid=watched.process.pid)
        else:
            watched.places.note(ready_at=page.now())
        self._ready(watched.tenant, watched.process)

    def _ready(self, tenant: str, process: Process, *, switches: bool = False) -> None:
        watched = self._watched.find(process, tenant)
        if watched and not watched.ready:
            watched.ready = True
            self._watched.show_foremost(tenant)
            self._news(BecameReady(tenant=tenant, process=process, switches=switches))

    def _ended(self, speaker: Link, message: Message) -> None:
        watched = self._watched.find(_process(message), message["tenant"])
        if watched:
            watched.end(message["code"], message["signal"])
        else:
            speaker.ask("heard", tenant=message["tenant"], pid=message["pid"])

    def _over(self, watched: Watched, code: int | None, signal_name: str) -> None:
        tenant = watched.tenant
        if watched.link:
            watched.link.ask("heard", tenant=tenant, pid=watched.process.pid)
        if code is None and not signal_name:  # nobody saw it, so nobody wrote it down
            watched.places.note(exited_at=page.now())
        detail = watched.places.ran_out() if signal_name == "SIGKILL" or code is None else ""
        watched.places.remove()
        self._watched.remove(watched)
        self._leave_former(tenant)
        process = watched.process
        self._switches.forget(process)
        self._news(Ended(tenant=tenant, process=process, code=code, signal=signal_name, detail=detail))

    def _leave_former(self, tenant: str) -> None:
        """Have a tenant leave the fork servers that it has no process of any more."""
        homes = [watched.link for watched in self._watched.of(tenant) if watched.link]
        if homes and tenant not in self._asked:
            self._parents.leave(tenant, homes)

    def _lost(self, speaker: Link) -> None:
        """A fork server is gone: its tenants go on, and are watched without it."""
        self._parents.lose(speaker)
        self._switches.lose(speaker)
        self._sleepers.lose(speaker)
        why = self._parents.explain(speaker)
        for watched in list(self._watched):
            if watched.link is speaker:
                watched.lose_parent()
                if not watched.ready:
                    self._ask_until_ready(watched)
        for tenant, asked in list(self._asked.items()):
            if asked.link is speaker:
                self._refused(tenant, why, never=bool(speaker.broken))

    # ------------------------------------------------------------ finding again

    def _take_back(self, speaker: Link, told: Message, descriptors: list[int]) -> None:
        tenant, process = told["tenant"], _process(told["exit"] or told)
        self._sockets.take_back(tenant, told["port"], descriptors)
        if not process.pid or self._watched.find(process, tenant):
            return
        watched = self._watch(process, Places(self._settings, tenant, told["key"]), speaker)
        self._find(watched, told, ready=told["ready"])
        if told["exit"]:
            self._loop.call_soon(watched.end, told["exit"]["code"], told["exit"]["signal"])

    def _adopt_orphan(self, file: Path) -> None:
        """Take back a tenant whose fork server is gone, if it is what its file says."""
        told = orders.read_process_file(file)
        if told is None:
            return
        tenant, process = told.tenant, told.process
        places = Places(self._settings, tenant, told.key)
        if places.process != file or self._watched.find(process, tenant):
            return
        pidfd = identity.open_pidfd(process)
        if pidfd is None:
            file.unlink(missing_ok=True)
            return
        try:
            if not places.marks(process).are_on(process.pid):
                log.warning("%s: pid %d is no process of %s: it is left alone", file, process.pid, tenant)
                return
            self._sockets.take_back(tenant, told.port, take_from(pidfd))
        finally:
            os.close(pidfd)
        watched = self._watch(process, places, None)
        told, ready = places.find(told)
        self._find(watched, msgspec.structs.asdict(told), ready=ready)

    def _find(self, watched: Watched, told: dict[str, Any], *, ready: bool) -> None:
        watched.ready = ready
        watched.places.group = self._isolation.cgroups.holding(watched.places.name, watched.process.pid)
        watched.told_to_stop = watched.places.read(watched.process, page.STOPPING_AT) != 0
        facts = {name: told[name] for name in ("release", "database", "port", "stamp")}
        self._found.append(
            Found(
                tenant=watched.tenant,
                process=watched.process,
                ready=ready,
                stopping=watched.told_to_stop,
                switches=told.get("switches", False),
                **facts,
            )
        )
        if not ready:
            self._ask_until_ready(watched)

    def _ask_until_ready(self, watched: Watched, path: str = "/") -> None:
        """Ask one that may have nobody to tell that it serves: any answer will do, if it is not another's."""
        tenant, pid = watched.tenant, watched.process.pid

        def is_it() -> bool:
            alone = list(self._watched.of(tenant)) == [watched]
            return alone or probe.has_accepted(pid, self._sockets.kernel_name(tenant))

        watched.ask_until_ready(self._sockets.place(tenant), path, is_it, self._answered)

    # ------------------------------------------------------------ small things

    def _watch(self, process: Process, places: Places, parent: Link | None) -> Watched:
        watched = Watched(process, places, parent, self._watched.look, self._over)
        watched.user = partial(self._user_of_only, places.tenant)
        self._watched.add(watched)
        return watched

    def _user_of_only(self, tenant: str) -> int:
        """Tell a tenant's own user while its processes are all one process's; else it proves nothing."""
        only = len(self._watched.of(tenant)) <= 1 and tenant not in self._asked
        return self._isolation.users.number(tenant) if only else 0

    def _remove_leftovers(self) -> None:
        """Remove what is left of processes that ended while nobody looked."""
        kept = [watched.places for watched in self._watched]
        self._isolation.cgroups.clear({places.name for places in kept})
        orders.remove_pages(self._settings, kept)

    def _tell_if_gone(self, process: Process, tenant: str) -> None:
        """Whoever asks for the end of what is gone has missed its end."""
        pidfd = identity.open_pidfd(process)
        if pidfd is None:
            self._loop.call_soon(self._news, Ended(tenant=tenant, process=process, code=None, signal=""))
        else:
            os.close(pidfd)
            log.error("%s: pid %d is not ours to signal", tenant, process.pid)


def _process(told: Message) -> Process:
    return Process(pid=told["pid"], started=told["started"], boot=identity.boot_id())
