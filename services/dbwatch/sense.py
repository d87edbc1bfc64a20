"""Finds out about databases: threads that check, and that can be left behind when a check hangs."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple
from urllib.parse import urlsplit

from bus.errors import FileError
from bus.events import DbDown, DbMisconfigured
from bus.settings import Settings
from services.dbwatch.canary import Canary
from services.dbwatch.decide import Outcome
from services.dbwatch.mysql import MySql
from services.dbwatch.probe import DownError, MisconfiguredError, Probe, Progress
from services.dbwatch.reading import Reading, tidy
from services.dbwatch.sqlite import Sqlite

log = logging.getLogger(__name__)

LEFT_MAX = 4
"""Threads of one database that may hang at the same time; cut ones end at once, so these hang in a resolver
or a dead disk."""


def open_canary(settings: Settings, database: str) -> Canary | None:
    """Make what all watchdogs of a database share; None when nothing is to be written there."""
    if not settings.databases[database].canary:
        return None
    return Canary(f"{socket.gethostname()}/{database}", settings.checks.database_write_every)


def open_probe(settings: Settings, database: str, canary: Canary | None) -> Probe:
    """Make the driver that the database's URL asks for; touches nothing yet."""
    table = settings.databases[database]
    timeout = settings.checks.database_timeout
    if urlsplit(table.url).scheme == "sqlite":
        return Sqlite(Path(settings.database_url(database).removeprefix("sqlite:///")), timeout, canary)
    key = "password_file" if table.password_file else "password_env" if table.password_env else "url"
    return MySql(lambda: settings.database_url(database), key, timeout, canary)


def find(database: str, probe: Probe, reached: Progress) -> Outcome:
    """Check once; blocks as long as the probe does."""
    started = time.monotonic()
    try:
        return probe.check(reached)
    except DownError as error:
        return DbDown(database=database, reason=tidy(str(error)), latency=time.monotonic() - started)
    except MisconfiguredError as error:
        key, reason = f"databases.{database}.{error.key}", tidy(str(error))
    except FileError as error:
        key, reason = error.key, error.reason
    return DbMisconfigured(database=database, key=key, reason=reason, latency=time.monotonic() - started)


class Ear(NamedTuple):
    """Whom a watchdog tells, in its thread: how far a task has come, and what it came to."""

    reached: Callable[[int, Reading], None]
    report: Callable[[int, Outcome], None]


class Watchdog:
    """A thread that does tasks until it is abandoned."""

    def __init__(self, database: str, probe: Probe, ear: Ear) -> None:
        self._database, self._probe, self._ear = database, probe, ear
        self._tasks: SimpleQueue[int | None] = SimpleQueue()
        # daemon: the end of the service must not wait for a check that hangs
        self._thread = threading.Thread(target=self._work, name=f"watchdog-{database}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def hand_out(self, task: int) -> None:
        self._tasks.put(task)

    def abandon(self) -> None:
        """Want nothing more of it; it ends when its check does."""
        self._tasks.put(None)
        self._probe.cut()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            with suppress(RuntimeError):  # the loop it would report to has ended
                self._do(task)

    def _do(self, task: int) -> None:
        outcome = find(self._database, self._probe, lambda reading: self._ear.reached(task, reading))
        self._ear.report(task, outcome)


class Kennel:
    """The watchdog of one database, and those that were replaced and still hang."""

    def __init__(self, database: str, make: Callable[[], Watchdog]) -> None:
        self._database, self._make = database, make
        self._watchdog: Watchdog | None = None
        self._left: list[Watchdog] = []

    def hand_out(self, task: int) -> None:
        """Give the task to the watchdog; to nobody while too many hang, and then the deadline tells."""
        self._left = [watchdog for watchdog in self._left if watchdog.alive]
        if self._watchdog is None and len(self._left) < LEFT_MAX:
            self._watchdog = self._make()
        if self._watchdog is not None:
            self._watchdog.hand_out(task)

    def replace(self) -> None:
        """Leave the watchdog behind; the next task gets another one."""
        if self._watchdog is None:
            return
        self._watchdog.abandon()
        self._left.append(self._watchdog)
        self._watchdog = None
        log.debug("database=%s watchdog replaced, %d left behind", self._database, len(self._left))

    def renew(self) -> None:
        """Leave the watchdog behind, and give those that hang up for lost: a person asked for a fresh one."""
        self.replace()
        self._left = []
