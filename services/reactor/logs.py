"""Keeps the logs of all tenants small, without any help of theirs."""

import asyncio
import errno
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bus.log_files import Piece, read_index
from bus.model import TENANT_NAME
from bus.settings import Settings
from services.reactor import log_plan
from services.reactor.log_cut import CutLog

log = logging.getLogger(__name__)

FIRST = 1.0
"""Seconds before the first sweep: a start has more urgent things to do."""

SWEEP = 5.0
"""Seconds between two looks at all tenants, as long as the disk does not fill up."""

SWEEP_AGAIN = 1.0
"""Seconds between two looks at all tenants, when it does."""

GLANCE = 0.25
"""Seconds between two looks at what room the disk has left: one call, for all tenants together."""

MARK_EVERY = 10.0
"""Seconds between two lines of an index, while a tenant writes: how exact `bus logs --since` is."""

AGE_EVERY = 3600.0
"""Seconds between two searches for what is too old."""


class Growth(NamedTuple):
    """How a tenant grew that was looked at: `at` is monotonic, the rate in bytes a second."""

    at: float
    rate: float


class LogKeeper:
    """Looks at all logs every few seconds, and more often at those that grow fast."""

    def __init__(self, settings: Settings, *, collapse: bool = True) -> None:
        self._tenants = settings.tenants_dir
        self._limits = log_plan.Limits.of(settings.logs)
        self._collapse = collapse
        self._cannot_collapse: set[int] = set()
        self._logs: dict[str, CutLog] = {}
        self._hot: dict[str, Growth] = {}
        self._troubles: dict[str, int | None] = {}
        self._dropped: Counter[str] = Counter()
        self._ending = threading.Event()
        self._aged_at = -AGE_EVERY
        self._room = 0

    async def run(self) -> None:
        """Work until cancelled; the work is done beside the event loop."""
        await asyncio.sleep(FIRST)
        swept = -SWEEP
        try:
            while True:
                since = time.monotonic() - swept
                if since >= (SWEEP_AGAIN if await asyncio.to_thread(self._fills_up) else SWEEP):
                    swept = time.monotonic()
                    await asyncio.to_thread(self.sweep)
                elif self._hot:
                    await asyncio.to_thread(self._look_at, list(self._hot))
                rest = swept + SWEEP - time.monotonic()
                await asyncio.sleep(self._pause() if self._hot else max(log_plan.HOT, min(GLANCE, rest)))
        finally:
            self._ending.set()

    def _pause(self) -> float:
        return log_plan.pause((growth.rate for growth in self._hot.values()), self._limits)

    def _fills_up(self) -> bool:
        """Tell whether somebody has written so much since the last look that it may be a log."""
        try:
            disk = os.statvfs(self._tenants)
        except OSError:
            return False
        before, self._room = self._room, disk.f_bavail * disk.f_frsize
        return before - self._room > self._limits.size

    def sweep(self) -> None:
        """Look at every tenant once, and do what is due."""
        try:
            with os.scandir(self._tenants) as entries:
                names = [entry.name for entry in entries if TENANT_NAME.fullmatch(entry.name)]
        except OSError:  # pathwatch reads it too, and says so
            return
        for gone in self._logs.keys() - set(names):
            self._forget(gone)
        self._look_at(names)
        if time.monotonic() - self._aged_at >= AGE_EVERY:
            self._aged_at = time.monotonic()
            self._each(list(self._logs), self._drop_aged)
        self._relieve()
        for tenant, dropped in self._dropped.items():
            log.warning("tenant=%s it writes too much: %d bytes of its log were dropped", tenant, dropped)
        self._dropped.clear()

    def _forget(self, tenant: str) -> None:
        for known in (self._logs, self._hot, self._troubles):
            known.pop(tenant, None)

    def _look_at(self, names: Iterable[str]) -> None:
        self._each(names, self._look)

    def _each(self, names: Iterable[str], work: Callable[[str], None]) -> None:
        """Do something for each; what goes wrong with one tenant's log is said once and concerns no other."""
        for name in names:
            if self._ending.is_set():
                return
            try:
                work(name)
            except (FileNotFoundError, NotADirectoryError):  # it has never been started, or is gone
                self._forget(name)
            except OSError as error:
                self._logs.pop(name, None)  # begin anew the next time, from what is on the disk
                if self._troubles.get(name) != error.errno:
                    self._troubles[name] = error.errno
                    log.warning("tenant=%s its log cannot be rotated: %s", name, error)

    def _look(self, tenant: str) -> None:
        known = self._logs.get(tenant)
        before = known.written if known else 0
        if known is None or not known.look():
            known = self._logs[tenant] = CutLog(self._tenants / tenant / "log")
            self._cut(tenant, known)
        elif known.written > before or known.hole or tenant in self._hot:
            self._note_speed(tenant, known, known.written - before)
            self._cut(tenant, known)
        if known.written > known.marked.offset and time.time() - known.marked.time >= MARK_EVERY:
            known.mark(time.time())
        self._troubles.pop(tenant, None)

    def _note_speed(self, tenant: str, known: CutLog, grown: int) -> None:
        now = time.monotonic()
        former = self._hot.pop(tenant, None)
        seconds = max(now - former.at, 0.001) if former else SWEEP
        if log_plan.is_hot(known.live, grown, seconds, SWEEP, self._limits):
            self._hot[tenant] = Growth(now, grown / seconds)

    def _cut(self, tenant: str, known: CutLog) -> None:
        todo = log_plan.plan(known.live, known.pieces, self._limits, known.block)
        self._drop(known, todo.drop)
        if todo.skip:
            self._skip(tenant, known, todo.skip)
        for length in todo.cuts:
            if not self._ending.is_set():
                known.cut(length, known.time)
        self._tidy(tenant, known)

    def _skip(self, tenant: str, known: CutLog, length: int) -> None:
        self._dropped[tenant] += known.skip(length, known.time)

    def _drop(self, known: CutLog, old: Iterable[Piece]) -> None:
        for piece in old:
            known.drop(piece)

    def _tidy(self, tenant: str, known: CutLog) -> None:
        if not known.hole or not self._collapse or known.device in self._cannot_collapse:
            return
        try:
            known.tidy()
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._cannot_collapse.add(known.device)
            log.info(
                "tenant=%s the filesystem cannot cut files at their head: output.log keeps holes", tenant
            )

    def _drop_aged(self, tenant: str) -> None:
        known, now = self._logs[tenant], time.time()
        mark = log_plan.aged(read_index(known.directory), now, self._limits)
        if mark:
            length = mark.offset - known.state.base - known.hole
            length = log_plan.whole(length, known.block, known.live)
            if length:
                known.cut(length, mark.time)
                self._tidy(tenant, known)
        self._drop(known, log_plan.expired(known.pieces, now, self._limits))

    def _relieve(self) -> None:
        """Keep all logs together below their limit."""
        if sum(known.used for known in self._logs.values()) <= self._limits.total:
            return
        holdings = {name: known.holding for name, known in self._logs.items()}
        given = log_plan.relieve(holdings, self._limits)

        def give(tenant: str) -> None:
            known = self._logs[tenant]
            self._drop(known, given[tenant].drop)
            length = log_plan.whole(given[tenant].skip, known.block, known.live)
            if length:
                self._skip(tenant, known, length)
                self._tidy(tenant, known)

        self._each(given, give)
