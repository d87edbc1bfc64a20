"""When a service that has ended is started again: at once, then with growing pauses. Pure."""

from typing import NamedTuple

STABLE = 30.0
"""Seconds of life after which earlier failures are forgotten."""
FIRST, LONGEST = 0.5, 30.0
"""Seconds of the first pause, and of the longest."""


class Again(NamedTuple):
    failures: int
    """Failures in a row, the one at hand included."""
    pause: float
    """Seconds to wait before the next start."""


def again(failures: int, lived: float) -> Again:
    """Tell what a failure after so many others, and after so many seconds of life, leads to."""
    count = 1 if lived >= STABLE else failures + 1
    pause = 0.0 if count == 1 else min(FIRST * 2.0 ** min(count - 2, 16), LONGEST)
    return Again(count, pause)
