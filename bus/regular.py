"""Reads files that people wrote, whatever they put there: a device without end, a pipe that nobody fills."""

import os
import stat
from pathlib import Path

from bus.errors import FileError

LARGEST = 256 * 1024
"""Bytes that a file written by a person may have; what it says has to fit into an event."""


def read(file: Path) -> bytes:
    """Read a whole file.

    Raises FileError when it is no regular file or too large, OSError when it cannot be opened or read.
    """
    descriptor = open_regular(file)
    try:
        return read_open(descriptor, file)
    finally:
        os.close(descriptor)


def read_text(file: Path) -> str:
    """Read a whole file in UTF-8; raises FileError for everything that is wrong with it."""
    try:
        return read(file).decode()
    except UnicodeDecodeError as error:
        raise FileError(file, f"is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise FileError(file, error.strerror or str(error)) from error


def open_regular(file: Path) -> int:
    """Open a regular file, without waiting for anybody; raises FileError when it is none, and OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise FileError(file, "is not a regular file")


def read_open(descriptor: int, file: Path) -> bytes:
    """Read the rest of an open file; raises FileError when that is too large."""
    content = bytearray()
    while piece := os.read(descriptor, LARGEST):
        content += piece
        if len(content) > LARGEST:
            raise FileError(file, f"is larger than {LARGEST} bytes")
    return bytes(content)
