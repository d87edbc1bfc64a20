"""inotify(7) without a thread: the kernel interface is watchdog's, reading is ours (ADR-0003).

The only file that knows watchdog.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from typing import NamedTuple, cast

from watchdog.observers.inotify_c import (
    InotifyConstants,
    inotify_add_watch,
    inotify_init,
    inotify_rm_watch,
)

# One mask for all: a directory that is watched for two reasons has one watch, with the mask given last.
MASK = (
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
)

HEADER = struct.Struct("iIII")
"""struct inotify_event: wd, mask, cookie, length of the name that follows."""
BUFFER = 64 * 1024
"""Bytes read at a time; the largest event has 16 + NAME_MAX + 1."""
READS = 16
"""Buffers taken at a time, so that somebody who writes without end does not keep us from everything else."""


class Note(NamedTuple):
    """Something happened to an entry of a watched directory, or to the directory itself (name "")."""

    watch: int
    name: str
    ended: bool
    """The kernel dropped the watch."""
    overflow: bool
    """Notes were lost; the rest of this one means nothing."""


class LimitError(Exception):
    """The kernel gives no more watches or instances."""


class Inotify:
    """One inotify instance. Raises LimitError when there are too many of them."""

    def __init__(self) -> None:
        self.descriptor = inotify_init()
        if self.descriptor < 0:
            raise LimitError(os.strerror(ctypes.get_errno()))
        os.set_blocking(self.descriptor, False)
        os.set_inheritable(self.descriptor, False)

    def add(self, directory: str) -> int:
        """Watch a directory; a directory that is watched already keeps its number.

        Raises LimitError, or OSError when there is no such directory.
        """
        watch: int = inotify_add_watch(self.descriptor, os.fsencode(directory), MASK)
        if watch >= 0:
            return watch
        number = ctypes.get_errno()
        if number in (errno.ENOSPC, errno.ENOMEM):
            raise LimitError(os.strerror(number))
        raise OSError(number, os.strerror(number), directory)

    def remove(self, watch: int) -> None:
        """Watch no longer; harmless when the kernel dropped the watch before."""
        remove = cast("Callable[[int, int], int]", inotify_rm_watch)  # watchdog 7 has a type of its own here
        remove(self.descriptor, watch)

    def read(self) -> list[Note]:
        """Take what the kernel has for us, without waiting; there may be more."""
        notes: list[Note] = []
        for _ in range(READS):
            try:
                data = os.read(self.descriptor, BUFFER)
            except BlockingIOError:
                break
            notes += _parse(data)
        return notes

    def close(self) -> None:
        os.close(self.descriptor)


def _parse(data: bytes) -> list[Note]:
    notes = []
    start = 0
    while start < len(data):
        watch, mask, _, length = HEADER.unpack_from(data, start)
        start += HEADER.size + length
        name = os.fsdecode(data[start - length : start].rstrip(b"\0"))
        ended = bool(mask & InotifyConstants.IN_IGNORED)
        notes.append(Note(watch, name, ended, overflow=bool(mask & InotifyConstants.IN_Q_OVERFLOW)))
    return notes
