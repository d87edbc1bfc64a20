"""Which process is meant: a pid alone may be somebody else's by now."""

import os
import select
import signal
from functools import cache

from services.reactor.actions import Process
from services.reactor.tenantbus_fork import kernel


@cache
def boot_id() -> str:
    """/proc/sys/kernel/random/boot_id: start times are counted from this boot."""
    return kernel.boot_id()


def identify(pid: int) -> Process | None:
    """Tell the identity of the process that has this pid now; None when there is none."""
    started = kernel.started(pid)
    return Process(pid=pid, started=started, boot=boot_id()) if started else None


def open_pidfd(process: Process) -> int | None:
    """Get a descriptor of exactly this process; None when it is gone, reaped or not.

    The identity is read after the descriptor was opened: if it is right then, it was right before. It is read
    before as well, since the kernel refuses what is no process: by now the pid may be the number of a thread.
    """
    if identify(process.pid) != process:
        return None
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if identify(process.pid) == process and not has_ended(pidfd):
        return pidfd
    os.close(pidfd)
    return None


def has_ended(pidfd: int) -> bool:
    """Tell whether a process has ended, with all its threads; that it is reaped may take for ever."""
    look = select.poll()
    look.register(pidfd, select.POLLIN)
    return bool(look.poll(0))


def send(process: Process, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone."""
    pidfd = open_pidfd(process)
    if pidfd is None:
        return False
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True
