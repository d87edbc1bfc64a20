"""All fork servers: one for each release that has tenants, and former ones that end with their last."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from bus.events import PackageReleased
from bus.settings import Settings
from services.reactor import environment, identity, link
from services.reactor.actions import Process
from services.reactor.link import Heard, Link

log = logging.getLogger(__name__)

LISTING = 5.0
"""Seconds that a fork server has to tell what it has, after which it counts as hung."""

KILLS = 3
"""Times that a fork server which cannot be listened to is killed, before it is given up."""

QUITTING = 5.0
"""Seconds that fork servers have to end at the end of the product."""


class ForkServers:
    """Finds, starts and ends fork servers; what they say goes to `heard`."""

    def __init__(self, settings: Settings, heard: Heard) -> None:
        self._settings = settings
        self._heard = heard
        self._directory = settings.run_dir / "fork"
        self._links: set[Link] = set()
        self._current: dict[str, Link] = {}
        """Of each release, the one that new tenants come from."""
        self._packages: dict[str, PackageReleased] = {}
        """Each release as it was when a tenant was to come from it last."""
        self._reapers: set[Callable[[], None]] = set()

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.copy())

    async def find(self) -> None:
        """Connect to all that run, and hear what they have."""
        for path in sorted(self._directory.glob("*.sock")):
            peer = link.connect(path)
            if peer:
                self._links.add(Link(peer, self._heard))
            else:
                path.unlink(missing_ok=True)
        await asyncio.gather(*(self._list(each) for each in self))
        for each in self:
            if "~" not in each.socket:  # which is how one that was retired is named
                self._current[each.release] = each

    def of(self, package: PackageReleased) -> Link:
        """Tell the release's fork server; a new one when there is none, or when the release has changed.

        Raises OSError when the release's interpreter cannot be started.
        """
        self._packages[package.release] = package
        running = self._current.get(package.release)
        if running and running.stamp == package.stamp:
            return running
        path = self._settings.fork_socket(package.release)
        if running:
            self._retire(running, path)
        environ = environment.for_fork_server(self._settings, os.environ)
        pid, peer = link.start(path, self._log_of(package.release), package, environ)
        self._reap_when_ended(pid)
        started = Link(peer, self._heard, package.release, package.stamp, identity.identify(pid))
        self._links.add(started)
        self._current[package.release] = started
        return started

    def explain(self, gone: Link) -> str:
        """Tell why one is gone."""
        how = gone.hung or f"of {gone.release} ended"
        return gone.broken or f"the fork server {how}; see {self._log_of(gone.release)}"

    def _log_of(self, release: str) -> Path:
        """Tell where the release's fork servers print to."""
        return self._settings.state_dir / "log" / f"fork-{release}.log"

    def again(self, release: str) -> Link | None:
        """Tell the fork server of a release that had one, a new one if it is gone; None if that cannot be."""
        package = self._packages.get(release)
        try:
            return self.of(package) if package else None
        except OSError as error:
            log.warning("%s: no fork server: %s", release, error.strerror)
            return None

    def lose(self, gone: Link) -> None:
        """Take no tenant from it any more."""
        self._links.discard(gone)
        if self._current.get(gone.release) is gone:
            del self._current[gone.release]

    def kill(self, hung: Process | None, why: str) -> None:
        """End a fork server that does not answer; what comes of that is told when it is gone."""
        killed = hung is not None and identity.send(hung, signal.SIGKILL)
        log.error("the fork server %s: it %s", why, "is killed" if killed else "cannot be found")

    def leave(self, tenant: str, homes: Collection[Link]) -> None:
        """Have fork servers that a tenant has come from let go of it, once it lives in others.

        Those have its sockets as well. Who has nobody left is retired.
        """
        former = [each for each in self if tenant in each.tenants and each not in homes]
        for each in former:
            each.ask("drop", tenant=tenant)
        if former:
            asyncio.get_running_loop().call_soon(self.retire_idle)

    def retire_idle(self) -> None:
        """Let those end that no tenant has anything from any more: whoever comes gets a new one."""
        for release, each in list(self._current.items()):
            if each.worked and not each.tenants:
                self._retire(each, self._settings.fork_socket(release))

    async def quit(self) -> None:
        """End them all."""
        for each in self:
            each.ask("quit")
        ends = [asyncio.ensure_future(each.gone.wait()) for each in self]
        if ends:
            _, late = await asyncio.wait(ends, timeout=QUITTING)
            for end in late:
                end.cancel()
        for each in self:
            self.kill(each.process, f"of {each.release} has not ended within {QUITTING:g} s")

    def close(self) -> None:
        """Let go of them: they run on."""
        for each in self:
            each.close()
        self._current.clear()
        for stop_waiting in self._reapers.copy():
            stop_waiting()

    async def _list(self, each: Link) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(each.listed.wait(), LISTING)
        if each.listed.is_set():
            return
        path = each.peer.getpeername()
        for _ in range(KILLS):  # it must not do later what it was ordered before
            self.kill(link.listener(path), f"at {path} has not answered for {LISTING:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(each.gone.wait(), LISTING)
                break
        each.hang_up()

    def _retire(self, former: Link, path: Path) -> None:
        """Let a fork server end with its last tenant; until then it is found under another name."""
        del self._current[former.release]
        if former.process:
            aside = path.with_name(f"{former.release}~{former.process.pid}.sock")
            path.rename(aside)
            former.ask("retire", socket=str(aside))

    def _reap_when_ended(self, pid: int) -> None:
        """See that a child does not stay a zombie, nor leaves its socket behind when it was killed."""
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(pid)

        def stop_waiting() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self._reapers.discard(stop_waiting)

        def reap() -> None:
            stop_waiting()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            (self._directory / f"n{pid}").unlink(missing_ok=True)

        self._reapers.add(stop_waiting)
        loop.add_reader(pidfd, reap)
