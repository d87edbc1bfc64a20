"""What Linux tells and does that Python has no call for."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
from pathlib import Path

PR_SET_NAME = 15  # prctl(2)
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

SYS_CLOSE_RANGE = 436  # the same numbers on all architectures
SYS_PIDFD_GETFD = 438
LAST_DESCRIPTOR = 2**32 - 1

OWN_DESCRIPTORS = 512
"""The fork server's own descriptors begin here, so that a tenant lets go of all of them in one call."""

STAT_MAX = 4096
"""Bytes of a line of proc_pid_stat(5), and more than enough: read as a file, it takes three times as long."""

MAP_FAILED = ctypes.c_void_p(-1).value  # mmap(2)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)


def set_name(name: str) -> None:
    """Name this process, as ps and top show it; 15 bytes are kept."""
    _libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def become_subreaper() -> None:
    """Get the orphans of all our descendants as children, so that somebody reaps them."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def give_up_privileges() -> None:
    """Get no rights by what is executed from now on, such as sudo: for this process and all below."""
    if _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")


def map_shared(descriptor: int, size: int) -> int:
    """Map the beginning of a file for reading and writing, for good; gives the address."""
    address: int = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, 0)
    if address == MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return address


def unmap(address: int, size: int) -> None:
    """Undo `map_shared`."""
    _libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))


def keep_high(descriptor: int) -> int:
    """Move a descriptor of the fork server out of the way of the application's."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, OWN_DESCRIPTORS)
    os.close(descriptor)
    return high


def close_own() -> None:
    """Close everything that `keep_high` has moved: in one call, where Linux has it (5.9)."""
    first, last = ctypes.c_uint(OWN_DESCRIPTORS), ctypes.c_uint(LAST_DESCRIPTOR)
    if _libc.syscall(SYS_CLOSE_RANGE, first, last, 0) == 0:
        return
    for descriptor in [int(file.name) for file in Path("/proc/self/fd").iterdir()]:
        if descriptor >= OWN_DESCRIPTORS:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(descriptor)


def stat(pid: int) -> list[str] | None:
    """Tell the fields of proc_pid_stat(5) from the third (state) on; None when there is no such process."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        line = os.read(descriptor, STAT_MAX)
    except ProcessLookupError:  # it ended just now
        return None
    finally:
        os.close(descriptor)
    return line.rpartition(b")")[2].decode("ascii").split()


def has_ended(fields: list[str]) -> bool:
    """Tell by its `stat` whether a process waits to be reaped; its first thread may end before others."""
    return fields[0] in "ZX" and int(fields[17]) <= 1


def started(pid: int) -> int:
    """Tell the kernel start time of a process in clock ticks since boot; 0 when there is none."""
    fields = stat(pid)
    return int(fields[19]) if fields else 0


def parent(pid: int) -> int:
    """Tell the parent of a process; 0 when there is none."""
    fields = stat(pid)
    return int(fields[1]) if fields else 0


def user(pid: int) -> int:
    """Tell the real user of a process; raises FileNotFoundError, ProcessLookupError."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    return int(text.partition("\nUid:")[2].split(maxsplit=1)[0])


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def copy_descriptor(pidfd: int, number: int) -> int | None:
    """Copy a descriptor of another process (pidfd_getfd(2)); None when it has none, or we may not."""
    copy: int = _libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
    return copy if copy >= 0 else None
