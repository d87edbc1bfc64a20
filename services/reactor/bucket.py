"""A token bucket: so many at once, and so many a second after that; pure."""


class Bucket:
    """Holds `burst` tokens when it is full, and gets `rate` of them a second.

    One number is all there is to it: when the bucket will be full again (GCRA, as ATM networks had it).
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._every = 1 / rate
        self._filling = (burst - 1) * self._every
        """Seconds before it is full at which there is one token."""
        self._full_at = float("-inf")

    @property
    def next_at(self) -> float:
        """Tell when there is a token, or since when: seconds of the clock that `take` is told."""
        return self._full_at - self._filling

    def take(self, at: float) -> None:
        """Take a token, which must be there."""
        self._full_at = max(self._full_at, at) + self._every
