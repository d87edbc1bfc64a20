"""Takes bytes from the head of a file while somebody else appends to it; Linux only, fallocate(2)."""

import ctypes
import os

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE = 0x01, 0x02, 0x08  # linux/falloc.h
WAIT_BEFORE, WRITE, WAIT_AFTER = 1, 2, 4  # sync_file_range(2)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


STEP = 8 << 20
"""Bytes that become a hole at once: meanwhile nobody else can write."""


def punch(descriptor: int, start: int, end: int) -> None:
    """Give the disk space of these bytes back; they read as zeros, the others stay in place."""
    for place in range(start, end, STEP):
        _fallocate(descriptor, PUNCH_HOLE | KEEP_SIZE, place, min(STEP, end - place))


def collapse(descriptor: int, length: int) -> None:
    """Cut the first `length` bytes off: the others move to the front, in one step for everybody.

    Raises OSError with EOPNOTSUPP where the filesystem cannot do that.
    """
    _fallocate(descriptor, COLLAPSE_RANGE, 0, length)


def write_out(descriptor: int) -> None:
    """Write what is in memory only to the disk, without keeping anybody from writing meanwhile."""
    _libc.sync_file_range(descriptor, 0, 0, WAIT_BEFORE | WRITE | WAIT_AFTER)  # an optimisation: it may fail


def _fallocate(descriptor: int, mode: int, start: int, length: int) -> None:
    if _libc.fallocate(descriptor, mode, start, length):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
