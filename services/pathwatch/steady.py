"""Reads files that nobody is writing: what is open for writing is not looked at before it is closed.

A read lease (fcntl(2), F_SETLEASE) is refused while anybody has the file open for writing, and while we hold
it, whoever wants to write waits in the kernel, for the few microseconds that reading takes.
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bus import regular


class BusyError(Exception):
    """Somebody has the file open for writing, or changes it while it is read."""


@contextmanager
def closed(file: Path) -> Iterator[int]:
    """Open a regular file that nobody writes, and keep writers waiting meanwhile; gives the descriptor.

    Raises BusyError, FileError when it is no regular file, OSError when it cannot be opened.
    """
    try:
        descriptor = regular.open_regular(file)
    except BlockingIOError:
        raise BusyError from None
    try:
        _lease(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)  # lets go of the lease


def _lease(descriptor: int) -> None:
    try:
        # A writer that waits makes the kernel signal us: SIGIO, which would end us, unless we name one
        # that is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        raise BusyError from None
    except OSError:
        # The file is somebody else's, or the file system has no leases: `read` compares before and after.
        return


def read(file: Path) -> bytes:
    """Read a whole file; raises as `closed` does, and FileError when it is too large."""
    with closed(file) as descriptor:
        before = os.fstat(descriptor)
        content = regular.read_open(descriptor, file)
        after = os.fstat(descriptor)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise BusyError
    return content


def status(file: Path) -> os.stat_result:
    """Tell size, times and mode of a file that we may read, without reading; raises as `closed` does."""
    with closed(file) as descriptor:
        return os.fstat(descriptor)
