"""Watches the directories of tenants and releases and our own settings, and says once what really changed."""

import asyncio
import logging
import signal
import time
from contextlib import suppress

from bus.api import Bus
from bus.settings import Settings
from services.base import Service
from services.pathwatch.decide import (
    UNKNOWN,
    BadNews,
    Gone,
    Key,
    Known,
    Said,
    believed,
    decide,
    learn,
    recall,
)
from services.pathwatch.look import Signature, UnclearError, look, signature
from services.pathwatch.sense import Tree
from services.pathwatch.settle import Patience
from services.pathwatch.spots import Spot

log = logging.getLogger(__name__)

SETTLE = 0.3
"""Seconds that something must have been deleted or invalid before that is told."""
RETRY = 0.5
"""Seconds until a file that somebody writes is looked at again, should nobody tell that it was closed."""
PATIENCE = 120
"""Looks in a row at a file being written, after which the log says so."""
TICK = 1.0
"""Seconds between two looks at what inotify cannot tell: the roots, and what symbolic links lead to."""
TICK_BLIND = 0.5
"""Seconds between two comparisons of everything, while inotify does not tell everything."""
RECONCILE = 60.0
"""Seconds between two comparisons of everything, as long as inotify tells everything."""
RESCAN = 0.2
"""Seconds between two scans, at least, however often the kernel's queue overflows."""
SLICE = 0.01
"""Seconds of work after which everything else gets its turn."""
RACY = 0.1
"""Seconds within which two changes of a file might have the same time."""


class PathWatch(Service):
    """Says USER_, PACKAGE_ and SETTINGS_ events: each real change once, also over its own restart."""

    name = "pathwatch"

    def __init__(self, settings: Settings, bus: Bus) -> None:
        super().__init__(settings, bus)
        self._tree = Tree(settings)
        self._known: dict[Key, Known] = {}
        self._patience: Patience[Spot] = Patience(SETTLE, RETRY)
        self._signatures: dict[Spot, Signature] = {}
        self._unclear: dict[Spot, int] = {}
        """How often in a row nothing could be seen."""
        self._wake = asyncio.Event()
        self._listening = -1
        self._tick_at = self._reconcile_at = self._rescan_at = 0.0

    @property
    def degraded(self) -> bool:
        """Not everything is told by inotify; a scan twice a second stands in for it."""
        return self._tree.watches.degraded

    async def start(self) -> None:
        await self._recall()
        self._scan(self._now())
        self._tree.expect(believed(self._known.values()))
        await self._work()
        while self._patience.settling:
            await self._turn()
        log.info("watching %s and %s", *(root.path for root in self._tree.roots if root.depth))

    async def run(self) -> None:
        while True:
            await self._turn()

    async def stop(self, by: signal.Signals) -> None:
        del by  # either way: the next start compares the disk with the bus
        if self._listening >= 0:
            asyncio.get_running_loop().remove_reader(self._listening)
        self._tree.watches.close()

    async def _recall(self) -> None:
        newest = await self.bus.latest("USER_*", "PACKAGE_*", "SETTINGS_*")
        added = await self.bus.latest("USER_ADDED")
        deleted = await self.bus.latest("USER_DELETED")
        self._known = recall(newest.events, added.events, deleted.events)

    async def _turn(self) -> None:
        """Wait until there is something to do, and do it."""
        if self._tree.due:
            await asyncio.sleep(0)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._next()):
                    await self._wake.wait()
        self._wake.clear()
        self._tree.take()
        now = self._now()
        if self._tree.overflown and now >= self._rescan_at:
            log.info(
                "more happened than the kernel keeps (fs.inotify.max_queued_events): comparing everything"
            )
            self._scan(now)
        if now >= self._tick_at:
            self._tick(now)
        for spot in self._patience.due(now):
            self._tree.due[spot] = True
        await self._work()

    def _next(self) -> float:
        rescan = self._rescan_at if self._tree.overflown else self._tick_at
        return min(self._tick_at, self._patience.next(), rescan)

    def _tick(self, now: float) -> None:
        self._tick_at = now + (TICK_BLIND if self.degraded else TICK)
        if self.degraded or now >= self._reconcile_at:
            self._scan(now)
        else:
            self._tree.check()

    def _scan(self, now: float) -> None:
        self._rescan_at = now + RESCAN
        self._reconcile_at = now + RECONCILE
        self._tree.scan()
        descriptor = self._tree.watches.descriptor
        if descriptor is not None and self._listening < 0:
            asyncio.get_running_loop().add_reader(descriptor, self._wake.set)
            self._listening = descriptor

    async def _work(self) -> None:
        """Look at everything that is due; in slices, since a thousand files take their time."""
        until = self._now() + SLICE
        for spot, noted in self._tree.pick().items():
            self._consider(spot, noted=noted)
            if self._now() >= until:
                await asyncio.sleep(0)
                self._tree.take()  # before the kernel's queue overflows
                until = self._now() + SLICE

    def _consider(self, spot: Spot, *, noted: bool) -> None:
        marks = signature(spot.path, spot.root.files)
        self._tree.link(spot, linked=marks.linked)
        if marks.value == self._signatures.pop(spot, None) and not noted:
            self._signatures[spot] = marks.value
            return
        settled = self._settled(spot)
        if settled and spot in self._tree.subjects and time.time() - marks.changed > RACY:
            self._signatures[spot] = marks.value

    def _settled(self, spot: Spot) -> bool:
        """Look, and say what is new; False when it has to be looked at again even if nothing changes."""
        now = self._now()
        try:
            seen = look(spot.subject, self.settings)
        except UnclearError as error:
            self._wait_for(spot, str(error), now)
            return False
        self._unclear.pop(spot, None)
        said = decide(spot.subject, self._known.get(spot.subject.key, UNKNOWN), seen)
        if isinstance(said, BadNews) and not self._believed(spot, now):
            return False
        self._patience.forget(spot)
        if said is not None:
            self._say(said)
        if isinstance(seen, Gone):
            self._tree.forget(spot)
        return True

    def _believed(self, spot: Spot, now: float) -> bool:
        """Tell whether bad news is to be told: it held for a while, and does not come from a lost root."""
        if not self._tree.intact(spot.root):
            self._patience.forget(spot)
            self._tree.visit(Spot(spot.root))
            return False
        return not self._patience.holds(spot, now)

    def _wait_for(self, spot: Spot, reason: str, now: float) -> None:
        self._patience.unclear(spot, now)
        self._unclear[spot] = self._unclear.get(spot, 0) + 1
        if self._unclear[spot] == PATIENCE:
            log.warning("%s %s for %g s now; it is not read before", spot.path, reason, PATIENCE * RETRY)

    def _say(self, said: Said) -> None:
        log.debug("%s %s", said.type, said.subject)
        self.bus.publish(said)
        key = said.family, said.subject
        self._known[key] = learn(self._known.get(key, UNKNOWN), said)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
