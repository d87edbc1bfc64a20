"""When the canary is written: one row, in place, in a table of its own, beside what tenants keep there.

The row's key names who watches and which database: where databases replicate one another in a circle, each
row is written on one of them only.
"""

import threading
import time

from services.dbwatch.reading import Failure

TABLE = "tenantbus_canary"
KEY_MAX = 190
"""Characters of a row's key."""

AGAIN = 60.0
"""Seconds until it is tried again where it is not allowed."""


class Canary:
    """The canary of one database, shared by its watchdogs: one that was replaced may have left a write."""

    def __init__(self, watcher: str, every: float) -> None:
        self.watcher = watcher[-KEY_MAX:]
        self._every = every
        self._lock = threading.Lock()
        self._next = 0.0
        self._begun: float | None = None
        self.unwritten = ""
        """Why it is not written, when it is not allowed."""

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._next

    @property
    def waiting(self) -> float | None:
        """Seconds for which a write has been waiting whose end nobody saw."""
        with self._lock:
            return None if self._begun is None else time.monotonic() - self._begun

    def begin(self) -> None:
        with self._lock:
            self._begun = time.monotonic()

    def end(self, failure: Failure | None = None, unwritten: str = "") -> None:
        """Take in what became of a write: a failed one is tried again with the next check."""
        self.unwritten = unwritten
        pause = AGAIN if unwritten else 0.0 if failure else self._every
        with self._lock:
            self._begun = None
            self._next = time.monotonic() + pause
