"""Gets the stack of every thread of a tenant that does not work, from the tenant itself.

Our runtime lets faulthandler answer SIGQUIT: a handler in C, which needs neither the event loop nor the GIL,
and writes to the tenant's log. Whoever has no handler for that signal would die of it, and is not asked.
"""

import asyncio
import os
import signal

from bus.log_reader import Log
from services.dispatcher import kernel

POLL = 0.004
"""Seconds between two looks at the log."""

WITHIN = 0.08
"""Seconds that a tenant has to write its stack; the verdict waits so long."""

STACK_MAX = 65536
"""Bytes of a stack that are read: faulthandler stops after 100 threads of 100 frames each."""

MARK = "(most recent call first)"


class NoStackError(Exception):
    """There is no stack to be had; the message is the reason."""


async def stack(pid: int, started: int, log: Log) -> str:
    """Have the process write its stack into its log, and give it; raises NoStackError."""
    sample = kernel.sample(pid)
    if sample is None or sample.started != started:
        raise NoStackError("the process has ended")
    if sample.state in "TtDZX":
        raise NoStackError(f"the process is in state {sample.state}, in which it cannot answer")
    if not kernel.catches(pid, signal.SIGQUIT):
        raise NoStackError("the program has no handler for SIGQUIT")
    before = log.end()
    _signal(pid, started)
    return await _what_follows(log, before)


def _signal(pid: int, started: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise NoStackError("the process has ended") from None
    try:
        if kernel.started(pid) != started:  # the pidfd is of whoever had the pid when it was opened
            raise NoStackError("the process has ended")
        signal.pidfd_send_signal(pidfd, signal.SIGQUIT)
    finally:
        os.close(pidfd)


async def _what_follows(log: Log, at: int) -> str:
    """Read what the log grows by, until that is a stack and grows no more."""
    clock = asyncio.get_running_loop().time
    end, found = clock() + WITHIN, ""
    while clock() < end:
        await asyncio.sleep(POLL)
        more = read(log, at)
        if MARK in more and more == found:
            return more
        found = more
    if MARK not in found:
        raise NoStackError(f"the process wrote none within {WITHIN:g} s")
    return found


def read(log: Log, at: int) -> str:
    """Give what a log has from an offset on, or its beginning when that is much."""
    chunk = log.read(at)
    return chunk.data[:STACK_MAX].decode(errors="replace") if chunk else ""
