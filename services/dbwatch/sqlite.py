"""Checks an SQLite database: its file can be read and written, and its directory too."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from msgspec import structs

from bus.events import Ailment
from services.dbwatch.canary import KEY_MAX, TABLE, Canary
from services.dbwatch.probe import DownError, Progress
from services.dbwatch.reading import Failure, Reading

CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (watcher VARCHAR({KEY_MAX}) NOT NULL PRIMARY KEY,"
    " beat INTEGER NOT NULL) WITHOUT ROWID"
)
WRITE = f"REPLACE INTO {TABLE} (watcher, beat) VALUES (?, ?)"  # noqa: S608 - a constant

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
NOT_OURS = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
"""The table is another than the one that we make, or a view: tenants can write all the same."""
KINDS: dict[int, Ailment] = {
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_CANTOPEN: "read-only",  # the journal beside it cannot be made
    sqlite3.SQLITE_FULL: "disk-full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
}


class Sqlite:
    """A missing file is fine: the application makes it, if the directory lets it.

    `timeout` is how long a check may take, in seconds; `canary` is None when nothing is to be written.
    """

    def __init__(self, path: Path, timeout: float, canary: Canary | None) -> None:
        self._path = path
        self._timeout = timeout
        self._canary = canary

    def check(self, reached: Progress) -> Reading:
        try:
            return self._check(reached)
        except OSError as error:  # of a disk that fails, or a directory further up that is closed to us
            raise DownError(f"{self._path}: {error.strerror}") from error

    def _check(self, reached: Progress) -> Reading:
        self._check_directory(self._path.parent)
        if not self._path.exists():
            return Reading(server="no file yet")
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise DownError(f"{self._path}: may not be read and written")
        started = time.monotonic()
        try:
            reading = self._check_file(reached)
        except sqlite3.DatabaseError as error:
            raise DownError(f"{self._path}: {error}") from error
        return reading if reading.failure else structs.replace(reading, latency=time.monotonic() - started)

    def cut(self) -> None:
        """Nothing can be cut here: a thread that waits for a dead disk is beyond anybody's reach."""

    def _check_directory(self, directory: Path) -> None:
        if not directory.exists():
            raise DownError(f"{directory}: no such directory")
        if not directory.is_dir():
            raise DownError(f"{directory}: not a directory")
        if not os.access(directory, os.W_OK | os.X_OK):  # the journal is made beside the file
            raise DownError(f"{directory}: may not be written")

    def _check_file(self, reached: Progress) -> Reading:
        # "rw" makes no file, and rolls back what a crashed writer left, as the application would; "ro" cannot
        uri = f"file:{quote(str(self._path))}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as connection:
            try:
                connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
            except sqlite3.OperationalError as error:
                if _code(error) not in BUSY:
                    raise  # else somebody writes: that is what it is for
            reading = Reading(server=f"SQLite {sqlite3.sqlite_version}")
            if self._canary is None:
                return reading
            if not self._canary.due:
                return structs.replace(reading, unwritten=self._canary.unwritten)
            reached(reading)
            failure = self._write(connection, self._canary)
        return structs.replace(reading, failure=failure, unwritten=self._canary.unwritten)

    def _write(self, connection: sqlite3.Connection, canary: Canary) -> Failure | None:
        connection.execute(f"PRAGMA busy_timeout = {self._timeout / 2 * 1000:.0f}")
        canary.begin()
        try:
            connection.execute(CREATE)
            connection.execute(WRITE, (canary.watcher, int(time.time() * 1000)))
        except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
            if _code(error) in NOT_OURS:
                canary.end(unwritten=f"not written to: {error}")
                return None
            kind = KINDS.get(_code(error), "not-writable")
            failure = Failure(kind=kind, reason=f"a write failed: {error}")
            canary.end(failure)
            return failure
        canary.end()
        return None


def _code(error: sqlite3.Error) -> int:
    """Give the primary result code (https://www.sqlite.org/rescode.html)."""
    return error.sqlite_errorcode & 0xFF
