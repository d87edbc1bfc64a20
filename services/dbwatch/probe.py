"""What a driver offers: one check of one database, and a way to be left behind."""

from typing import Protocol


class DownError(Exception):
    """The database does not answer, or answers with an error of its own."""


class MisconfiguredError(Exception):
    """The database refuses our settings; `key` is the key in its table that is to be corrected."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(reason)


class Probe(Protocol):
    """Checks one database. A new one is made when a check hangs."""

    def check(self) -> str:
        """Use the database as a tenant would, and tell what answered; blocks, maybe for ever.

        Raises DownError, MisconfiguredError, and FileError when the password cannot be read.
        """

    def cut(self) -> None:
        """Make a check that hangs in the network end soon; called from another thread."""
