"""What is wrong with a tenant that does not work, told from two looks at its threads; pure.

The look when the case was opened and the one at its verdict are some tenths of a second apart. What the main
thread did in between tells the kinds apart; times and counters only ever grow.
"""

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct


class Claim(StrEnum):
    """What speaks against a tenant: words for its reason."""

    BUSY = "loop busy"
    STOPPED = "stopped by a signal"
    SILENT = "no heartbeat"
    DEAF = "HTTP check failed"


class Kind(StrEnum):
    """What is wrong with it: `kind` of PROC_STUCK."""

    BLOCKED = "loop blocked"
    BUSY = "busy loop"
    DEADLOCK = "deadlock"
    STOPPED = "stopped"
    UNINTERRUPTIBLE = "uninterruptible"
    ZOMBIE = "zombie"
    SILENT = "no heartbeat"
    DEAF = "no answer"
    FULL = "out of file descriptors"
    STRANGER = "answers for another tenant"
    FAILING = "answers with errors"


GIL_NAPS = 50
"""Sleeps a second of a thread that does nothing else but ask for the GIL: CPython asks every 5 ms."""

AWAKE = "0"
"""Where a thread sleeps that does not, proc_pid_wchan(5)."""

SPARE = 2
"""Descriptors below its limit at which a process counts as full: who fails to open one may close another."""


class Thread(Struct, frozen=True, kw_only=True):
    """One thread at one moment."""

    number: int
    state: str
    wchan: str
    """What it sleeps in, proc_pid_wchan(5)."""
    ran: float
    """Seconds of processor time."""
    waited: float
    """Seconds that it could have run and had no processor."""
    naps: int
    """How often it has gone to sleep of its own will."""


class Sample(Struct, frozen=True, kw_only=True):
    """A process at one moment."""

    at: float
    started: int
    threads: tuple[Thread, ...]
    """The main thread first."""
    parent: str = ""
    """The state of its parent, who hears its heartbeats."""

    @property
    def main(self) -> Thread:
        return self.threads[0]

    @property
    def state(self) -> str:
        return self.main.state

    @property
    def wchan(self) -> str:
        return self.main.wchan

    @property
    def ended(self) -> bool:
        """Tell whether nothing of the process runs any more."""
        return all(thread.state in "ZX" for thread in self.threads)


class Files(Struct, frozen=True, kw_only=True):
    """Descriptors of a process."""

    count: int
    limit: int
    """0 when there is none."""

    @property
    def full(self) -> bool:
        return 0 < self.limit <= self.count + SPARE


def diagnose(claim: Claim, before: Sample, now: Sample, files: Files | None) -> Kind:
    """Tell the kind of trouble; what explains the others comes first."""
    if now.state in "ZX":
        return Kind.ZOMBIE
    if now.state in "Tt" or claim is Claim.STOPPED:
        return Kind.STOPPED
    if before.state == now.state == "D":
        return Kind.UNINTERRUPTIBLE
    if claim is Claim.DEAF and files and files.full:
        return Kind.FULL
    if _is_hungry(before.main, now.main, now.at - before.at):
        return Kind.BUSY
    pairs, seconds = list(_pairs(before, now)), now.at - before.at
    if any(_wants_gil(*pair, seconds) for pair in pairs):
        return Kind.BUSY if any(_is_hungry(*pair, seconds) for pair in pairs) else Kind.DEADLOCK
    return {Claim.BUSY: Kind.BLOCKED, Claim.SILENT: Kind.SILENT, Claim.DEAF: Kind.DEAF}[claim]


def _is_hungry(before: Thread, now: Thread, seconds: float) -> bool:
    """Tell whether a thread ran for most of the time, or would have, had it got a processor."""
    return now.ran + now.waited - before.ran - before.waited > seconds / 2


def _wants_gil(before: Thread, now: Thread, seconds: float) -> bool:
    """Tell whether a thread asks for the GIL again and again: somebody holds it and runs no bytecode.

    At each look it may just be awake, to ask, also between the reading of its state and of where it sleeps.
    """
    places = {each.wchan for each in (before, now)} - {AWAKE}
    asks = not places or any(place.startswith(("futex", "unknown")) for place in places)
    return asks and now.naps - before.naps > GIL_NAPS * seconds


def _pairs(before: Sample, now: Sample) -> Iterator[tuple[Thread, Thread]]:
    known = {thread.number: thread for thread in before.threads}
    yield from ((known[thread.number], thread) for thread in now.threads if thread.number in known)
