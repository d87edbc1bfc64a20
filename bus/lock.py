"""A lock that one process holds on a directory; the kernel lets go of it when the process ends."""

import fcntl
import os
from pathlib import Path

from bus.errors import AlreadyRunningError


def hold(lock: Path, what: str) -> int:
    """Take the lock and write our pid into it; gives the descriptor, which keeps the lock while open.

    Raises AlreadyRunningError with the holder's pid. A stale file is no obstacle.
    """
    lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise AlreadyRunningError(what, lock, f"pid {holder}" if holder else "a process") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
