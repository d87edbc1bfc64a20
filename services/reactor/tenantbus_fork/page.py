"""The score page from its writers' side; services/score.py tells its meaning, a test compares."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from typing import NamedTuple

from . import kernel

SIZE = 4096
MAGIC_VALUE = 0x7365_7261_6E74_0001

MAGIC = 0
PID = 1
STARTED = 2
READY_AT = 3
BUSY_SINCE = 4
LOOPS = 5
REQUESTS = 6
IN_FLIGHT = 7
WEBSOCKETS = 8
ERRORS = 9
BEAT_AT = 10
BEAT_EVERY = 11
STOPPED_SINCE = 12
EXITED_AT = 13
STOPPING_AT = 14
SLOTS = 15

_Bytes = ctypes.c_char * SIZE


def open_page(descriptor: int) -> memoryview:
    """Map a page for as long as this process lives, and close it; each assignment to it is one store."""
    numbers, _ = _map(descriptor)
    os.close(descriptor)
    return numbers


class Lent(NamedTuple):
    """A page that is mapped in the parent of who will write on it, and that its child keeps.

    To map it in the child would take six pages of memory of each tenant's own.
    """

    numbers: memoryview
    address: int

    def take_back(self) -> None:
        """Unmap it again, in the parent: what it has mapped every later tenant would inherit."""
        self.numbers.release()
        kernel.unmap(self.address, SIZE)


def lend(descriptor: int) -> Lent:
    """Map a page for a child that is forked next; raises OSError."""
    return Lent(*_map(descriptor))


def _map(descriptor: int) -> tuple[memoryview, int]:
    """Map a page without keeping a descriptor, as Python's own mapping does.

    Who has one could shorten the file, and the kernel would end all who read it (SIGBUS).
    """
    address = kernel.map_shared(descriptor, SIZE)
    return memoryview(_Bytes.from_address(address)).cast("B").cast("Q"), address


def scratch() -> memoryview:
    """A page that nobody reads, mapped as a tenant's is: what that takes is in place before the fork then."""
    descriptor = os.memfd_create("scratch")
    os.truncate(descriptor, SIZE)
    return open_page(descriptor)


def put(descriptor: int, **slots: int) -> None:
    """Store single numbers, given by the slots' names in small letters.

    The page is mapped for this moment only: what the fork server has mapped, every tenant would inherit.
    """
    with mmap.mmap(descriptor, SIZE) as mapped, memoryview(mapped) as view, view.cast("Q") as page:
        for name, value in slots.items():
            page[globals()[name.upper()]] = value


def begin(descriptor: int, pid: int, started: int) -> None:
    """Begin the page anew for a process; a reader never takes the last one's numbers for this one's."""
    with mmap.mmap(descriptor, SIZE) as mapped, memoryview(mapped) as view, view.cast("Q") as page:
        for slot in range(SLOTS):
            page[slot] = 0
        page[PID], page[STARTED] = pid, started
        page[MAGIC] = MAGIC_VALUE


def now() -> int:
    return time.monotonic_ns()
