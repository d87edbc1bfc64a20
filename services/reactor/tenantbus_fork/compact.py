"""Puts what tenants touch close together, so that each copies fewer pages of the memory that it shares.

To call a function is to write on it: its code counts who uses it. The few hundred functions that every tenant
calls lie scattered among ten thousand that none does, nearly each on a page of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import struct
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any

PATIENCE = 10
"""Seconds after which a rehearsal is ended that does not end by itself."""

AGAIN = 10
"""Times that what is moved is used, after which the interpreter has adapted it to its use (PEP 659)."""

SMALL_MAX = 512
"""Bytes of the largest object that Python's own allocator serves (Objects/obmalloc.c)."""

ALIGNMENT = 16

POOL = (16 if sys.version_info >= (3, 10) else 4) * 1024
"""Bytes of memory in which Python's allocator keeps objects of one size."""

TRIES_MAX = 10_000

LARGE_MAX = 4096
TRIES_LARGE_MAX = 100
AT_THE_END = 3
"""Blocks in a row that come one behind the other: there is no hole of their size any more."""

EMPTY = sys.getsizeof(b"")

_filling: list[bytes] = []


def gather(rehearse: Callable[[], object], use: Callable[[], object], within: int = PATIENCE) -> None:
    """Move the code of all functions that a rehearsal calls together, and have what comes next behind it.

    The rehearsal takes place in a process of its own, for so many seconds at most; `use` is called here.
    """
    _move(_called(rehearse, within))
    for _ in range(AGAIN):
        use()
    gc.collect()
    _fill_holes()


def _called(rehearse: Callable[[], object], within: int) -> set[int]:
    """Tell where the codes are that a forked process runs, beginning with what Python itself does there."""
    called = set[int]()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add(id(frame.f_code))

    result, end = os.pipe()
    sys.setprofile(note)
    pid = os.fork()
    if pid == 0:
        signal.alarm(within)
        try:
            rehearse()
        finally:
            sys.setprofile(None)
            os.write(end, struct.pack(f"{len(called)}Q", *called))
            os._exit(0)
    sys.setprofile(None)
    os.close(end)
    with os.fdopen(result, "rb") as told:
        places = told.read()
    os.waitpid(pid, 0)
    return {place for (place,) in struct.iter_unpack("Q", places)}


def _move(called: set[int]) -> None:
    """Give the functions of these codes copies of them; and ours, which rehearse not all that they do."""
    codes: dict[int, CodeType] = {}
    copies: dict[int, CodeType] = {}  # two functions of the same code keep that in common
    for function in [each for each in gc.get_objects() if isinstance(each, FunctionType)]:
        code = function.__code__
        if id(code) in called or (function.__module__ or "").startswith(f"{__package__}."):
            codes[id(code)] = code  # until all are copied, no other object shall be where it is
            function.__code__ = copies.setdefault(id(code), code.replace())


def _fill_holes() -> None:
    """Use up the room that was freed among other objects: new ones would be scattered over it."""
    for size in range(EMPTY + ALIGNMENT - EMPTY % ALIGNMENT, SMALL_MAX + 1, ALIGNMENT):
        in_a_row, last = 0, 0
        for _ in range(TRIES_MAX):
            block = bytes(size - EMPTY)
            _filling.append(block)
            in_a_row = in_a_row + 1 if id(block) // POOL == last else 1
            last = id(block) // POOL
            if in_a_row >= POOL // size - 1:  # a pool that was empty, as the next one will be
                break
    for size in range(SMALL_MAX + ALIGNMENT, LARGE_MAX, ALIGNMENT):  # which malloc(3) serves
        in_a_row, last = 0, 0
        for _ in range(TRIES_LARGE_MAX):
            block = bytes(size - EMPTY)
            _filling.append(block)
            in_a_row = in_a_row + 1 if id(block) > last else 0
            last = id(block)
            if in_a_row >= AT_THE_END:
                break
