"""The score page: what a tenant's process tells about itself without being asked.

One page of shared memory a tenant, `<run>/score/<tenant>`: a row of unsigned 64-bit numbers in the machine's
byte order, each written by one store, so that a reader sees the old or the new number and never half of one.
The writers live in the fork server (`forkserver`), which runs under the release's own interpreter and can
import nothing of ours: it has these positions of its own, and a test holds the two together.
Times are CLOCK_MONOTONIC in nanoseconds, which all processes of one machine share.
"""

from enum import IntEnum

PAGE_SIZE = 4096
MAGIC = 0x7365_7261_6E74_0001
"""In slot 0 once the page is filled in; the last digits are the layout's version."""


class Slot(IntEnum):
    """Which number stands where. Written by the tenant (T) or by its parent, the fork server (P)."""

    MAGIC = 0  # P
    PID = 1  # P
    STARTED = 2  # P: kernel start time in clock ticks since boot; pid and this are the identity
    READY_AT = 3  # P: when READY=1 came; 0 before
    BUSY_SINCE = 4  # T: when the event loop left its selector; 0 while it waits
    LOOPS = 5  # T: how often the event loop came round; 0 in a program that has no such loop
    REQUESTS = 6  # T: requests answered
    IN_FLIGHT = 7  # T: requests being answered
    WEBSOCKETS = 8  # T: open websockets
    ERRORS = 9  # T: answers with a status of 500 and above
    BEAT_AT = 10  # P: when WATCHDOG=1 came last; 0 if never
    BEAT_EVERY = 11  # P: WATCHDOG_USEC as nanoseconds; 0 when no beats are expected
    STOPPED_SINCE = 12  # P: since when the process is stopped (SIGSTOP); 0 while it is not
    EXITED_AT = 13  # P: when the process ended; 0 while it lives
    STOPPING_AT = 14  # P: when it was told to stop, or said STOPPING=1; 0 before
