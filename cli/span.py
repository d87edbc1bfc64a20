"""Spans of time: reads what --since may say, and shows how long something takes."""

import re
from typing import NamedTuple

SHORT = 10.0
DAY = 86_400.0

UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


class Ago(NamedTuple):
    seconds: float


class Seq(NamedTuple):
    seq: int


def parse(text: str) -> Ago | Seq:
    """Read "10m", "90s", "1.5h", "2d" as a span of time, "1234" as a seq; raises ValueError."""
    if re.fullmatch(r"[0-9]+", text):
        return Seq(int(text))
    span = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)", text)
    if not span:
        raise ValueError(f"{text!r} is neither a time ago such as 90s, 10m, 2h, 1d nor a seq")
    return Ago(float(span[1]) * UNITS[span[2]])


def duration(seconds: float) -> str:
    """Show a span of time in the unit that fits: 0.35 s, 12 s, 4 min, 3 h, 2 days."""
    if seconds < SHORT:
        return f"{seconds:.2g} s"
    for limit, unit, name in ((120.0, 1.0, "s"), (7200.0, 60.0, "min"), (2 * DAY, 3600.0, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / DAY:.0f} days"
