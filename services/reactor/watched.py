"""One tenant's process: its end is noticed also when nobody tells, and nothing of it may be left over."""

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path

from services.reactor import identity, tree
from services.reactor.actions import Process
from services.reactor.link import Link
from services.reactor.orders import Places
from services.reactor.probe import until_served

log = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds that a fork server has to tell how a process ended that is seen to be gone."""

INSIST = 5.0
"""Seconds after which a SIGKILL that has not worked is reported, and tried again."""

PAUSE, PAUSE_MAX = 0.002, 1.0
"""Seconds between two looks at what is left of a tenant: the first, and the longest."""


class Watched:
    """A process from its start until it, and everything that it has started, is gone."""

    def __init__(
        self,
        process: Process,
        places: Places,
        link: Link | None,
        look: Callable[[], tree.Snapshot],
        ended: "Callable[[Watched, int | None, str], None]",
    ) -> None:
        self.process, self.tenant, self.link = process, places.tenant, link
        self.places = places
        self.ready = self.told_to_stop = False
        self.user: Callable[[], int] = int
        """Tells the number of the user whose processes are all this one's; 0 when there is none."""
        self._marks, self._look, self._tell = places.marks(process), look, ended
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self._pidfd = identity.open_pidfd(process)
        if link is None:
            self._be_orphan()
        if self._pidfd is None:
            self._loop.call_soon(self._seen_gone)
        else:
            self._loop.add_reader(self._pidfd, self._seen_gone)

    @property
    def rank(self) -> tuple[bool, int, int]:
        """Of a tenant's processes the highest counts: one that serves, then the youngest."""
        return self.ready and not self.told_to_stop, self.process.started, self.process.pid

    def ask_until_ready(
        self, place: Path | int, health: str, is_it: Callable[[], bool], served: "Callable[[Watched], None]"
    ) -> None:
        """Ask a program that may not tell whether it serves, until it does; `is_it` as for until_served."""
        if self._ending:  # what clears up after it must not be put off
            return

        async def ask() -> None:
            await until_served(place, health, is_it)
            if not self.ready and not self._ending:
                served(self)

        self._replace_task(asyncio.create_task(ask()))

    def lose_parent(self) -> None:
        """The fork server is gone: nobody will tell how this process ends."""
        self.link = None
        self._be_orphan()
        if self._timer and self._pidfd is None:
            self.end(None, "")

    def _be_orphan(self) -> None:
        """Take back what only a parent can go on to tell, or the process would look silent, or stopped."""
        self.places.note(beat_every=0, stopped_since=0)

    def end(self, code: int | None, signal: str) -> None:
        """The process is gone: see that everything is, and tell; harmless when repeated.

        That is done a moment later: all who end at once are looked for in one look.
        """
        if self._ending:
            return
        self._ending = True
        self._unwatch()
        self._replace_task(asyncio.create_task(self._clear(code, signal)))

    def kill(self) -> None:
        """End the process and all that it has started; tried again until that has worked."""
        if self._ending:
            return
        self._kill(self._members())
        self._cancel_timer()
        self._timer = self._loop.call_later(INSIST, self._insist)

    def close(self) -> None:
        """Watch no longer."""
        self._unwatch()
        self._replace_task(None)

    def _insist(self) -> None:
        if self._pidfd is None:  # gone, and its fork server tells nothing: it hangs
            self.end(None, "")
            return
        log.warning("%s: pid %d is not gone %g s after SIGKILL", self.tenant, self.process.pid, INSIST)
        self.kill()

    def _seen_gone(self) -> None:
        self._unwatch()
        if self.link is None:
            self.end(None, "")
        else:
            self._timer = self._loop.call_later(GRACE, self.end, None, "")

    def _members(self) -> list[Process]:
        parent = self.link and self.link.process
        held = self.places.group.pids() if self.places.group else set()
        marks = self._marks._replace(uid=self.user())
        return tree.members(self._look(), self.process, parent.pid if parent else 0, marks, held)

    def _kill(self, members: Collection[Process]) -> None:
        if self.places.group:
            self.places.group.kill()
        tree.kill(members)

    async def _clear(self, code: int | None, signal: str) -> None:
        pause, waited = PAUSE, 0.0
        while left := self._members():
            self._kill(left)
            await asyncio.sleep(pause)
            waited += pause
            pause = min(2 * pause, PAUSE_MAX)
            if waited > INSIST:
                waited = 0.0
                pids = [process.pid for process in left]
                log.warning("%s: %s are not gone %g s after SIGKILL", self.tenant, pids, INSIST)
        self._tell(self, code, signal)

    def _replace_task(self, task: asyncio.Task[None] | None) -> None:
        if self._task:
            self._task.cancel()
        self._task = task

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _unwatch(self) -> None:
        self._cancel_timer()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
