"""What a driver offers: one check of one database, and a way to be left behind."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from services.dbwatch.reading import Reading

Progress: TypeAlias = Callable[[Reading], None]
"""Told what was read before a write is tried: that may hang while all else works."""


class DownError(Exception):
    """The database does not answer, or answers with an error of its own."""


class MisconfiguredError(Exception):
    """The database refuses our settings; `key` is the key in its table that is to be corrected."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(reason)


class Probe(Protocol):
    """Checks one database. A new one is made when a check hangs."""

    def check(self, reached: Progress) -> Reading:
        """Use the database as a tenant would, and tell what it says of itself; blocks, maybe for ever.

        Raises DownError, MisconfiguredError, and FileError when the password cannot be read.
        """

    def cut(self) -> None:
        """Make a check that hangs in the network end soon; called from another thread."""
