"""The processes of tenants: started through fork servers, watched, ended, and found again."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bus.errors import FileError
from bus.events import PackageReleased
from bus.settings import Settings
from services.reactor import environment, identity, link, tree
from services.reactor.actions import AnyNews, BecameReady, Ended, Found, Process, Spawn, Spawned, SpawnFailed
from services.reactor.link import Link, Message
from services.reactor.sockets import ListeningSockets, SocketError, take_from
from services.reactor.tenantbus_fork import page
from services.reactor.tenantbus_fork.wire import MessageTooLongError
from services.reactor.watched import Watched

log = logging.getLogger(__name__)

LISTING = 5.0
"""Seconds that a fork server has to tell what it has, after which it counts as hung."""

QUITTING = 5.0
"""Seconds that fork servers have to end at the end of the product."""

MICRO = 1_000_000


class Asked(NamedTuple):
    """A Spawn that is not answered yet."""

    link: Link
    health: str | None
    """What to ask a program that may not say when it serves."""
    alarm: asyncio.TimerHandle


class PidFile(msgspec.Struct, frozen=True):
    """tenants/<tenant>/run/pid, written by the fork server and never believed alone."""

    tenant: str
    pid: int
    started: int
    boot: str
    release: str
    database: str
    port: int
    stamp: str


class Forks:
    """All tenants' processes. No call waits; what comes of it is told as news, in order."""

    def __init__(self, settings: Settings, news: Callable[[AnyNews], None]) -> None:
        self._settings = settings
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._sockets = ListeningSockets(settings)
        self._links: dict[str, Link] = {}
        """Of each release, the fork server that new tenants come from."""
        self._all_links: set[Link] = set()
        self._asked: dict[str, Asked] = {}
        self._watched: dict[str, Watched] = {}
        self._found: list[Found] = []
        self._reapers: list[Callable[[], None]] = []

    async def adopt(self) -> list[Found]:
        """Take back what runs and the sockets; what ended meanwhile is told as news right after."""
        self._sockets.read_claims()
        for path in sorted((self._settings.run_dir / "fork").glob("*.sock")):
            peer = link.connect(path)
            if peer:
                self._all_links.add(Link(peer, self._hear))
            else:
                path.unlink(missing_ok=True)
        await asyncio.gather(*(self._list(each) for each in list(self._all_links)))
        for file in self._settings.tenants_dir.glob("*/run/pid"):
            if file.parent.parent.name not in self._watched:
                self._adopt_orphan(file)
        self._remove_stale_files()
        found, self._found = self._found, []
        return found

    def spawn(self, order: Spawn, package: PackageReleased) -> None:
        """Start a process; answered by Spawned, then BecameReady or Ended, or by SpawnFailed."""
        try:
            self._spawn(order, package)
        except SocketError as error:
            self._fail(order.tenant, str(error), never=False)
        except (FileError, MessageTooLongError) as error:
            self._fail(order.tenant, str(error), never=True)
        except KeyError:
            self._fail(order.tenant, f"the settings have no database {order.database!r}", never=True)
        except OSError as error:
            hopeless = isinstance(error, FileNotFoundError | PermissionError)
            self._fail(order.tenant, f"{error.strerror}: {error.filename}", never=hopeless)

    def terminate(self, process: Process, tenant: str) -> None:
        """Send SIGTERM to exactly this process."""
        watched = self._watched.get(tenant)
        if watched and watched.process == process:
            self._put(tenant, stopping_at=page.now())
            identity.send(process, signal.SIGTERM)
        else:
            self._tell_if_gone(process, tenant)

    def kill(self, process: Process, tenant: str) -> None:
        """End a process and everything that it has started; Ended is told when all of it is gone."""
        watched = self._watched.get(tenant)
        if watched and watched.process == process:
            watched.kill()
        else:
            self._tell_if_gone(process, tenant)

    def forget(self, tenant: str) -> None:
        """Close a tenant's sockets and remove what was written for it; it must not run any more."""
        for each in self._all_links:
            each.ask("drop", tenant=tenant)
        self._sockets.forget(tenant)
        self._settings.score_page(tenant).unlink(missing_ok=True)
        self._pid_file(tenant).unlink(missing_ok=True)

    async def close(self) -> None:
        """Let go: fork servers and tenants run on."""
        for watched in self._watched.values():
            watched.close()
        for asked in self._asked.values():
            asked.alarm.cancel()
        for each in self._all_links:
            each.close()
        for stop_waiting in self._reapers:
            stop_waiting()
        self._sockets.close()

    async def shut_down(self) -> None:
        """End the fork servers, and let go."""
        for each in self._all_links:
            each.ask("quit")
        ends = [asyncio.ensure_future(each.gone.wait()) for each in self._all_links]
        if ends:
            _, late = await asyncio.wait(ends, timeout=QUITTING)
            for end in late:
                end.cancel()
        for each in self._all_links.copy():
            self._kill_fork_server(each, f"has not ended within {QUITTING:g} s")
        await self.close()

    # ------------------------------------------------------------ starting

    def _spawn(self, order: Spawn, package: PackageReleased) -> None:
        tenant = order.tenant
        watched = self._watched.get(tenant)
        if watched or tenant in self._asked:
            pid = watched.process.pid if watched else 0
            raise SocketError(f"a process runs already, pid {pid}")
        directory = self._settings.tenants_dir / tenant
        for name in ("run", "log"):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
        alone = environment.binds_itself(package)
        held = self._sockets.open(tenant, listen_on_port=not alone, needs_port=alone)
        score = _open_page(self._settings.score_page(tenant))
        try:
            message = self._message(order, package, held.port, directory)
            parent = self._parent(package)
            parent.ask("spawn", [score, *held.descriptors], **message, sockets=len(held.descriptors))
        finally:
            os.close(score)
        alarm = self._loop.call_later(
            self._settings.tenants.start_timeout, self._kill_fork_server, parent, f"did not start {tenant}"
        )
        health = package.settings.health if package.settings.command else None
        self._asked[tenant] = Asked(parent, health, alarm)

    def _message(self, order: Spawn, package: PackageReleased, port: int, directory: Path) -> Message:
        command = environment.command(package, order.tenant, port)
        return {
            "tenant": order.tenant,
            "release": order.release,
            "plan": order.settings.plan,
            "database": order.database,
            "stamp": order.stamp,
            "port": port,
            "settings": order.settings.env,
            "env": environment.for_tenant(self._settings, order, port, directory),
            "limits": environment.limits(self._settings.tenants.limits, order.settings.limits),
            "command": command,
            "watchdog": int(self._settings.checks.stuck_after * MICRO) if command else 0,
            "directory": str(directory),
            "log": str(directory / "log" / "output.log"),
            "pid_file": str(self._pid_file(order.tenant)),
        }

    def _parent(self, package: PackageReleased) -> Link:
        """Tell the release's fork server; a new one when there is none, or when the release has changed."""
        running = self._links.get(package.release)
        if running and running.stamp == package.stamp and not running.broken and not running.gone.is_set():
            return running
        path = self._settings.fork_socket(package.release)
        if running:
            self._retire(running, path)
        log_file = self._settings.state_dir / "log" / f"fork-{package.release}.log"
        environ = environment.for_fork_server(self._settings, os.environ)
        pid, peer = link.start(path, log_file, package, environ)
        self._reapers.append(link.reap_when_ended(pid))
        started = Link(peer, self._hear)
        started.release, started.stamp = package.release, package.stamp
        started.process = identity.identify(pid)
        self._links[package.release] = started
        self._all_links.add(started)
        return started

    def _retire(self, former: Link, path: Path) -> None:
        """Let a fork server end with its last tenant; until then it is found under another name."""
        if former.gone.is_set() or former.broken or not former.process:
            return
        aside = path.with_name(f"{former.release}~{former.process.pid}.sock")
        path.rename(aside)
        former.ask("retire", socket=str(aside))

    def _fail(self, tenant: str, reason: str, *, never: bool) -> None:
        self._loop.call_soon(self._news, SpawnFailed(tenant=tenant, reason=reason, never=never))

    # ------------------------------------------------------------ what fork servers say

    def _hear(self, speaker: Link, message: Message, descriptors: list[int]) -> None:
        said = message.pop("say")
        if said == "hello":
            self._links.setdefault(speaker.release, speaker)
            if speaker.broken:
                speaker.hang_up()
        elif said == "have":
            self._take_back(speaker, message, descriptors)
        elif said == "spawned":
            self._spawned(speaker, _process(message), message["tenant"])
        elif said == "failed":
            self._refused(message)
        elif said == "ready":
            self._ready(message["tenant"], _process(message))
        elif said == "ended":
            self._ended(speaker, message)
        elif said == "lost":
            self._lost(speaker)

    def _spawned(self, speaker: Link, process: Process, tenant: str) -> None:
        asked = self._asked.pop(tenant)
        asked.alarm.cancel()
        watched = self._watch(process, tenant, speaker)
        self._news(Spawned(tenant=tenant, process=process, port=self._sockets.port(tenant)))
        if asked.health:
            watched.ask_until_ready(self._sockets.place(tenant), asked.health, self._answered)

    def _refused(self, message: Message) -> None:
        asked = self._asked.pop(message["tenant"])
        asked.alarm.cancel()
        self._news(SpawnFailed(tenant=message["tenant"], reason=message["reason"], never=message["never"]))

    def _answered(self, watched: Watched) -> None:
        """A program that said nothing answers requests: that is what READY means."""
        if watched.link:
            watched.link.ask("served", pid=watched.process.pid)
        else:
            self._put(watched.tenant, ready_at=page.now())
        self._ready(watched.tenant, watched.process)

    def _ready(self, tenant: str, process: Process) -> None:
        watched = self._watched.get(tenant)
        if watched and watched.process == process and not watched.ready:
            watched.ready = True
            self._news(BecameReady(tenant=tenant, process=process))

    def _ended(self, speaker: Link, message: Message) -> None:
        watched = self._watched.get(message["tenant"])
        if watched and watched.process == _process(message):
            watched.end(message["code"], message["signal"])
        else:
            speaker.ask("heard", tenant=message["tenant"], pid=message["pid"])

    def _over(self, watched: Watched, code: int | None, signal_name: str) -> None:
        del self._watched[watched.tenant]
        if watched.link:
            watched.link.ask("heard", tenant=watched.tenant, pid=watched.process.pid)
        self._pid_file(watched.tenant).unlink(missing_ok=True)
        self._news(Ended(tenant=watched.tenant, process=watched.process, code=code, signal=signal_name))

    def _lost(self, speaker: Link) -> None:
        """A fork server is gone: its tenants go on, and are watched without it."""
        self._all_links.discard(speaker)
        if self._links.get(speaker.release) is speaker:
            del self._links[speaker.release]
        why = (
            speaker.broken
            or f"the fork server of {speaker.release} ended; see log/fork-{speaker.release}.log"
        )
        for tenant, asked in list(self._asked.items()):
            if asked.link is speaker:
                self._refused({"tenant": tenant, "reason": why, "never": bool(speaker.broken)})
        for watched in list(self._watched.values()):
            if watched.link is speaker:
                watched.lose_parent()
                if not watched.ready:
                    self._ask_orphan(watched)

    def _kill_fork_server(self, hung: Link, why: str) -> None:
        """End a fork server that does not answer; what comes of that is told when it is gone."""
        log.error("the fork server of %s %s: it is killed", hung.release, why)
        if hung.process:
            identity.send(hung.process, signal.SIGKILL)

    # ------------------------------------------------------------ finding again

    async def _list(self, each: Link) -> None:
        try:
            await asyncio.wait_for(each.listed.wait(), LISTING)
        except TimeoutError:
            log.exception(
                "a fork server has not answered for %g s; its tenants are watched without it", LISTING
            )
            self._all_links.discard(each)
            each.close()

    def _take_back(self, speaker: Link, told: Message, descriptors: list[int]) -> None:
        tenant, process = told["tenant"], _process(told["exit"] or told)
        self._sockets.take_back(tenant, told["port"], descriptors)
        if tenant in self._watched or not process.pid:
            return
        watched = self._watch(process, tenant, speaker)
        self._find(watched, told, ready=told["ready"])
        if told["exit"]:
            self._loop.call_soon(watched.end, told["exit"]["code"], told["exit"]["signal"])
        elif not told["ready"]:
            self._ask_orphan(watched)

    def _adopt_orphan(self, file: Path) -> None:
        """Take back a tenant whose fork server is gone, if it is what the pid file says."""
        try:
            told = msgspec.json.decode(file.read_bytes(), type=PidFile)
        except (OSError, msgspec.DecodeError):
            return
        tenant = file.parent.parent.name
        process = Process(pid=told.pid, started=told.started, boot=told.boot)
        pidfd = identity.open_pidfd(process) if told.tenant == tenant else None
        if pidfd is None:
            return
        try:
            if not self._marks(tenant).are_on(process.pid):
                log.warning("%s: pid %d is no process of %s; it is left alone", file, process.pid, tenant)
                return
            self._sockets.take_back(tenant, told.port, take_from(pidfd))
        finally:
            os.close(pidfd)
        watched = self._watch(process, tenant, None)
        ready = self._is_ready(tenant, process)
        self._find(watched, msgspec.structs.asdict(told), ready=ready)
        if not ready:
            self._ask_orphan(watched)

    def _ask_orphan(self, watched: Watched) -> None:
        """Nobody hears its READY: whether it serves is found by asking."""
        watched.ask_until_ready(self._sockets.place(watched.tenant), "/", self._answered)

    def _find(self, watched: Watched, told: dict[str, Any], *, ready: bool) -> None:
        watched.ready = ready
        facts = {name: told[name] for name in ("release", "database", "port", "stamp")}
        self._found.append(Found(tenant=watched.tenant, process=watched.process, ready=ready, **facts))

    def _remove_stale_files(self) -> None:
        """Remove the notify sockets of fork servers that are gone."""
        living = {f"n{each.process.pid}" for each in self._all_links if each.process}
        for path in (self._settings.run_dir / "fork").glob("n*"):
            if path.name not in living and path.suffix != ".sock":
                path.unlink(missing_ok=True)

    # ------------------------------------------------------------ small things

    def _watch(self, process: Process, tenant: str, parent: Link | None) -> Watched:
        watched = Watched(process, self._marks(tenant), parent, self._known, self._over)
        self._watched[tenant] = watched
        return watched

    def _known(self) -> set[int]:
        fork_servers = {each.process.pid for each in self._all_links if each.process}
        return fork_servers | {watched.process.pid for watched in self._watched.values()}

    def _tell_if_gone(self, process: Process, tenant: str) -> None:
        """Whoever asks for the end of what is gone has missed its end."""
        if identity.identify(process.pid) != process:
            self._loop.call_soon(self._news, Ended(tenant=tenant, process=process, code=None, signal=""))
        else:
            log.error("%s: pid %d is not ours to signal", tenant, process.pid)

    def _marks(self, tenant: str) -> tree.Marks:
        return tree.Marks(tenant, self._settings.run_dir, self._settings.score_page(tenant))

    def _pid_file(self, tenant: str) -> Path:
        return self._settings.tenants_dir / tenant / "run" / "pid"

    def _put(self, tenant: str, **slots: int) -> None:
        descriptor = os.open(self._settings.score_page(tenant), os.O_RDWR | os.O_CLOEXEC)
        page.put(descriptor, **slots)
        os.close(descriptor)


def _process(told: Message) -> Process:
    return Process(pid=told["pid"], started=told["started"], boot=identity.boot_id())


def _open_page(path: Path) -> int:
    """Open a tenant's score page; who has it mapped keeps it over all the tenant's processes."""
    if not path.exists():
        draft = path.with_name(f".{path.name}")
        draft.write_bytes(bytes(page.SIZE))
        draft.chmod(0o600)
        draft.rename(path)
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)
