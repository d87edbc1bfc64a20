"""What can go wrong on the bus and in files, each error with its facts as attributes."""

from pathlib import Path
from typing import Protocol


class BusError(Exception):
    """Something about the bus or its settings is wrong."""


class DecodeError(BusError):
    """Bytes from somebody else do not fit the protocol; they are counted and dropped."""


class BusUnavailableError(BusError):
    """The broker did not answer in time."""

    def __init__(self, endpoint: str, waited: float) -> None:
        self.endpoint, self.waited = endpoint, waited
        super().__init__(f"no answer from the broker at {endpoint} within {waited:g} s; is it running?")


class AlreadyRunningError(BusError):
    """Another process holds the lock of this directory."""

    def __init__(self, what: str, lock: Path, holder: str) -> None:
        self.what, self.lock, self.holder = what, lock, holder
        super().__init__(f"{what} is already running: {lock} is held by {holder}")


class Mistake(Protocol):
    """Where a file is wrong, and why: FileError, and the events that tell of one."""

    @property
    def file(self) -> str: ...

    @property
    def line(self) -> int: ...

    @property
    def key(self) -> str: ...

    @property
    def reason(self) -> str: ...


def mistake(made: Mistake) -> str:
    """Tell it in short, as "tenant.toml:3: plan: reason"."""
    name = made.file.rpartition("/")[2]
    place = f"{name}:{made.line}" if made.line else name
    return ": ".join(filter(None, (place, made.key, made.reason)))


class FileError(BusError):
    """A file that a person wrote is not valid; says where and why."""

    def __init__(self, file: Path | str, reason: str, *, key: str = "", line: int = 0) -> None:
        self.file, self.key, self.line, self.reason = str(file), key, line, reason
        place = f"{file}:{line}" if line else str(file)
        super().__init__(f"{place}: {key}: {reason}" if key else f"{place}: {reason}")
