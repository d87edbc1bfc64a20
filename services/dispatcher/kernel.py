"""What the kernel says about one process: its threads, what they wait for, what it has open.

All of it is proc(5), read at one moment; a process that ends meanwhile has nothing to tell.
"""

import os
import re
import resource
import time
from contextlib import suppress
from pathlib import Path

from services.dispatcher.kinds import Files, Sample, Thread

NANO = 1_000_000_000

PAGE = os.sysconf("SC_PAGE_SIZE")

THREADS_MAX = 64
"""Threads that are looked at; the main thread is always among them."""


def started(pid: int) -> int | None:
    """Tell the start time of a process in clock ticks since boot; None when there is no such process."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return int(fields[19]) if fields else None


def sample(pid: int) -> Sample | None:
    """Look at the threads of a process; None when there is no such process."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    if not fields:
        return None
    tasks = Path(f"/proc/{pid}/task")
    try:
        numbers = sorted(map(int, os.listdir(tasks)), key=lambda each: (each != pid, each))  # noqa: PTH208 - names alone
    except (FileNotFoundError, ProcessLookupError):
        return None
    threads = [thread for number in numbers[:THREADS_MAX] if (thread := _thread(tasks / str(number)))]
    if not threads:
        return None
    parent = _stat(Path(f"/proc/{fields[1]}/stat"))
    return Sample(
        at=time.monotonic(),
        started=int(fields[19]),
        threads=tuple(threads),
        parent=parent[0] if parent else "",
    )


def files(pid: int) -> Files | None:
    """Tell how many descriptors a process has, and may have; None when it is gone or not ours to look at."""
    directory = f"/proc/{pid}/fd"
    try:
        limit, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        count = os.stat(directory).st_size or len(os.listdir(directory))  # noqa: PTH116, PTH208 - the size: Linux 6.2
    except OSError:
        return None
    return Files(count=count, limit=0 if limit == resource.RLIM_INFINITY else limit)


def memory(pid: int) -> int:
    """Tell the bytes of anonymous memory of a process and of all that it has started, 0 when it is gone.

    That is what leaks: pages of programs and of shared memory are left out.
    """
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        with suppress(OSError, ValueError, IndexError):
            _, resident, shared = Path(f"/proc/{each}/statm").read_text(encoding="ascii").split()[:3]
            total += (int(resident) - int(shared)) * PAGE
            for task in os.listdir(f"/proc/{each}/task"):  # noqa: PTH208 - names alone
                children = Path(f"/proc/{each}/task/{task}/children").read_text(encoding="ascii")
                waiting += map(int, children.split())
    return total


def catches(pid: int, signal: int) -> bool:
    """Tell whether a process has a handler for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (signal - 1) & 1)


def _thread(directory: Path) -> Thread | None:
    """Look at one thread; None when it has ended."""
    fields = _stat(directory / "stat")
    if not fields:
        return None
    wchan, ran, waited, naps = "", 0.0, 0.0, 0
    with suppress(
        OSError, ValueError, IndexError
    ):  # what a kernel does not tell, or not us, has to do without
        wchan = (directory / "wchan").read_text(encoding="ascii")
        ran, waited = (int(each) / NANO for each in (directory / "schedstat").read_text().split()[:2])
        status = (directory / "status").read_text(encoding="utf-8", errors="replace")
        naps = int(status.partition("\nvoluntary_ctxt_switches:")[2].split(maxsplit=1)[0])
    return Thread(
        number=int(directory.name),
        state=fields[0],
        wchan=wchan or "unknown",
        ran=ran,
        waited=waited,
        naps=naps,
    )


def _stat(file: Path) -> list[str] | None:
    """Give the fields after the name, which may hold spaces and brackets: proc_pid_stat(5) has state as 3."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")  # the name is any bytes
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # the last where proc(5) has hidepid=1
        return None
    return text.rpartition(")")[2].split()
