"""Damps what flaps: bad news is told soon, good news later each time it proved wrong; pure.

Times are seconds of one monotonic clock, passed in.
"""

from msgspec import Struct, structs

WINDOW = 300.0
"""Seconds that a fall counts."""
FIRST, LONGEST = 3.0, 60.0
"""Seconds that good must last to be told after the second fall, and after many: each fall doubles them."""


def stable_for(falls: int) -> float:
    """Seconds that good must last to be told after so many falls; none after the first."""
    return 0.0 if falls < 2 else min(LONGEST, FIRST * 2.0 ** min(falls - 2, 10))  # noqa: PLR2004 - the second one


class Hold(Struct, frozen=True, kw_only=True):
    """One thing that is good or bad, and what is told of it."""

    told: bool | None = None
    """True for good; None before anything was seen."""
    good: bool | None = None
    """What was seen last."""
    since: float = 0.0
    """When it was first seen to be so."""
    fell: bool = False
    """True when the bad time that lasts has been counted."""
    falls: tuple[float, ...] = ()
    """When it turned bad, of late."""

    @property
    def held(self) -> bool:
        """True while it is good and not yet told so."""
        return bool(self.good) and self.told is False

    @property
    def pause(self) -> float:
        """Seconds that good must last to be told."""
        return stable_for(len(self.falls))

    def see(self, good: bool, at: float, patience: float = 0.0) -> "Hold":  # noqa: FBT001
        """Take in what is seen now. Bad counts once it has lasted for `patience`, or if it is all we know."""
        falls = tuple(fall for fall in self.falls if at - fall < WINDOW)
        hold = structs.replace(self, good=good, falls=falls, since=self.since if good == self.good else at)
        if good:
            hold = structs.replace(hold, fell=False)
            return structs.replace(hold, told=True) if at - hold.since >= hold.pause else hold
        if self.told is not None and at - hold.since < patience:
            return hold
        if not hold.fell:
            hold = structs.replace(hold, fell=True, falls=(*falls, at))
        return structs.replace(hold, told=False)
