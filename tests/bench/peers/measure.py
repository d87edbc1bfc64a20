"""What is measured of each manager, in the same way: at the tenants' ports, and by what the kernel tells."""

import os
import signal
import socket
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple

import psutil

from tests import arrivals
from tests.arrivals import Outcome
from tests.bench.density import pss
from tests.bench.peers.peer import Mode, NotMeasuredError, Peer
from tests.harness import DEADLINE, free_ports

TENANTS = 50

KILLS = 11
DEFAULT_TENANTS = 3
"""Of which each is killed once: many have pauses for those that crash again."""

PAUSE = 0.5
"""Seconds before a kill; each time a bit more, so that kills meet every phase of a manager that polls."""

SETTLE = 3.0
IDLE = 10.0
"""Seconds of doing nothing that are measured."""

LONGEST = 90.0
"""Seconds that a manager may take for anything."""


class Figures(NamedTuple):
    """Of one manager, in the order in which they are shown; None: it has no such thing."""

    kill: float
    """Milliseconds from kill -9 to the first 200 of another process, median."""
    kill_p95: float
    kill_default: float
    """The median of it as the manager comes."""
    failed: float
    """Of 200 new connections a second over one kill."""
    cold: float
    """Seconds from nothing to all tenants serving."""
    pss: float
    """MiB of a tenant."""
    pss_manager: float
    """MiB of the manager's processes, with all that it needs to find blocked loops."""
    idle: float
    """% of a core that these use."""
    stuck: float | None
    """Seconds from a blocked loop to the first 200 of another process."""


def measure(peer: Peer) -> Figures:
    """Run a manager three times: at its best, with its checks, as it comes."""
    ports = _ports()
    begin = time.monotonic()
    with peer.running(ports, Mode.BEST) as manager:
        tenants = [serving(port) for port in ports]
        cold = time.monotonic() - begin
        time.sleep(SETTLE)
        each = statistics.mean(pss(pid) for pid in tenants)
        took = kills(ports[0], KILLS)
        failed = failed_over_a_kill(ports[0])
        if not peer.checks:
            own, idle = at_rest(manager, tenants)
    stuck = None
    if peer.checks:
        ports = _ports()
        with peer.running(ports, Mode.CHECKED) as manager:
            own, idle = at_rest(manager, settled(ports))
            stuck = blocked(ports[0])
    ports = _ports(DEFAULT_TENANTS)
    with peer.running(ports, Mode.DEFAULT):
        for port in ports:
            serving(port)
        time.sleep(SETTLE)
        by_default = [kills(port, 1)[0] for port in ports]
    return Figures(
        kill=statistics.median(took),
        kill_p95=statistics.quantiles(took, n=20)[18],
        kill_default=statistics.median(by_default),
        failed=failed,
        cold=cold,
        pss=each,
        pss_manager=own,
        idle=idle,
        stuck=stuck,
    )


def _ports(count: int = TENANTS) -> Sequence[int]:
    first = free_ports(count)
    return range(first, first + count)


def ask(port: int, path: str = "/") -> int:
    """Give the process that answers, 0 when none does."""
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: tenant\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return 0
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(body) if b" 200 " in head.partition(b"\r\n")[0] else 0


def serving(port: int, not_pid: int = 0) -> int:
    """Wait until a process serves, another one than `not_pid`; gives it."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        pid = ask(port)
        if pid not in (0, not_pid):
            return pid
        time.sleep(0.0005)
    raise NotMeasuredError(f"nobody serves on port {port} within {LONGEST:g} s")


def settled(ports: Sequence[int]) -> list[int]:
    """Wait until all serve and go on to do so: some managers first kill those that are slow to begin."""
    tenants = [serving(port) for port in ports]
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        time.sleep(SETTLE)
        before, tenants = tenants, [serving(port) for port in ports]
        if tenants == before:
            return tenants
    raise NotMeasuredError(f"tenants have been restarted for {LONGEST:g} s")


def kills(port: int, count: int) -> list[float]:
    """Milliseconds without service, kill by kill."""
    pid = serving(port)
    took = []
    for number in range(count):
        time.sleep(PAUSE + 0.09 * number)
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        pid = serving(port, pid)
        took.append(1e3 * (time.perf_counter() - begin))
    return took


def failed_over_a_kill(port: int) -> int:
    """Count visitors who got no answer while the tenant was killed and came back."""
    pid = serving(port)

    def kill() -> None:
        os.kill(pid, signal.SIGKILL)
        serving(port, pid)

    return sum(visit.outcome is not Outcome.ANSWERED for visit in arrivals.during(kill, port))


def at_rest(manager: list[int], tenants: list[int]) -> tuple[float, float]:
    """Give MiB and % of a core of the manager's processes and all below them that are no tenants."""
    roots = [psutil.Process(pid) for pid in manager]
    below = [child for root in roots for child in root.children(recursive=True)]
    own = [process for process in {*roots, *below} if process.pid not in tenants]
    before, begin = _cpu(own), time.monotonic()
    time.sleep(IDLE)
    used, took = _cpu(own) - before, time.monotonic() - begin
    return sum(pss(process.pid) for process in own), 100 * used / took


def _cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def blocked(port: int) -> float:
    """Block a tenant's loop; gives the seconds until another process answers."""
    pid = serving(port)
    with closing(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)) as connection:
        begin = time.monotonic()
        connection.sendall(b"GET /block HTTP/1.1\r\nHost: tenant\r\n\r\n")
        serving(port, pid)
        return time.monotonic() - begin
