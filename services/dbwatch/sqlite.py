"""Checks an SQLite database: its file can be read and its directory be written."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from services.dbwatch.probe import DownError


class Sqlite:
    """A missing file is fine: the application makes it, if the directory lets it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> str:
        self._check_directory(self._path.parent)
        if not self._path.exists():
            return "no file yet"
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise DownError(f"{self._path}: may not be read and written")
        try:
            return self._read()
        except sqlite3.DatabaseError as error:
            raise DownError(f"{self._path}: {error}") from error

    def cut(self) -> None:
        """Nothing can be cut here: a thread that waits for a dead disk is beyond anybody's reach."""

    def _check_directory(self, directory: Path) -> None:
        if not directory.exists():
            raise DownError(f"{directory}: no such directory")
        if not directory.is_dir():
            raise DownError(f"{directory}: not a directory")
        if not os.access(directory, os.W_OK | os.X_OK):  # the journal is made beside the file
            raise DownError(f"{directory}: may not be written")

    def _read(self) -> str:
        # "rw" makes no file, and rolls back what a crashed writer left, as the application would; "ro" cannot
        uri = f"file:{quote(str(self._path))}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as connection:
            try:
                connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    raise
                return "somebody writes"
        return f"SQLite {sqlite3.sqlite_version}"
