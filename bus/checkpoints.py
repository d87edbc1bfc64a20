"""Brings what was written to the journal's log (WAL) to its place, while the broker goes on writing.

To do so means to wait for the disk, ten milliseconds and more, and all who publish would wait as well.
"""

import logging
import os
import sqlite3
import threading
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger(__name__)

EVERY = 1_000
"""Pages after which it is time, about."""
LONG = 16_000
"""Pages from which on the log is too long: it begins anew only when everything in it is in its place, and
while somebody writes all the time that is never so unless the writer waits."""


class Checkpoints:
    """A thread that does nearly all of it, and the writer's own part."""

    def __init__(self, file: Path, disk: BinaryIO) -> None:
        self._file = file
        self._disk = disk
        """The same file, to wait for the disk with."""
        self._pages = 0
        self._due = threading.Event()
        self._too_long = False
        self._over = False
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def written(self, pages: int, writer: sqlite3.Connection) -> None:
        """Say that about so many pages were; waits for the disk, not long, when the log is too long."""
        self._pages += pages
        if self._pages >= EVERY:
            self._pages = 0
            self._due.set()
        if self._too_long:
            self._too_long = False
            checkpoint(writer)

    def close(self) -> None:
        """Wait for the thread; the writer must be closed already. Harmless when repeated."""
        self._over = True
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while self._due.wait() and not self._over:
            self._due.clear()
            try:
                db = sqlite3.connect(self._file, isolation_level=None)
                try:
                    pages = checkpoint(db)
                finally:
                    db.close()
                os.fdatasync(self._disk.fileno())  # SQLite does it only when nothing was added meanwhile
            except (sqlite3.Error, OSError) as error:  # of which the writer will hear soon enough
                log.debug("no checkpoint: %s", error)
            else:
                self._too_long = pages >= LONG


def checkpoint(db: sqlite3.Connection) -> int:
    """Do what can be done without making anybody wait for us; tells how many pages the log has."""
    try:
        _, pages, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except sqlite3.Error as error:  # as after a commit, where SQLite keeps it to itself: nothing is lost
        log.debug("no checkpoint: %s", error)
        return 0
    return int(pages)
