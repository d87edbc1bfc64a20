"""Bad news has to hold for a moment before it is told, since scripts and editors work in several steps. Pure.

`mkdir; echo > tenant.toml`, `cp; chmod 600`, an editor that moves the old file away before it writes the new
one: in between all of them look deleted or invalid, and telling that would stop a customer for nothing.
"""

from typing import Generic, TypeVar

T = TypeVar("T")


class Patience(Generic[T]):
    """What is to be looked at again, and when; times are seconds of one monotonic clock."""

    def __init__(self, settle: float, retry: float) -> None:
        self._settle, self._retry = settle, retry
        # Both delays are constant, so that each of these is in the order of its times.
        self._bad: dict[T, float] = {}
        self._unclear: dict[T, float] = {}

    @property
    def settling(self) -> bool:
        """Bad news is being held."""
        return bool(self._bad)

    def holds(self, item: T, now: float) -> bool:
        """Bad news was seen: tell whether to hold it, which is so until it was seen for long enough."""
        self._unclear.pop(item, None)
        due = self._bad.setdefault(item, now + self._settle)
        if now < due:
            return True
        del self._bad[item]
        return False

    def unclear(self, item: T, now: float) -> None:
        """Nothing could be seen, since it is being written: look again later."""
        self.forget(item)
        self._unclear[item] = now + self._retry

    def forget(self, item: T) -> None:
        """All is well, or said."""
        self._bad.pop(item, None)
        self._unclear.pop(item, None)

    def due(self, now: float) -> list[T]:
        """Tell what is to be looked at now."""
        items = []
        for waiting in (self._bad, self._unclear):
            for item, due in waiting.items():
                if due > now:
                    break
                items.append(item)
        return items

    def next(self) -> float:
        """Tell when something is to be looked at; infinity for never."""
        firsts = (next(iter(waiting.values()), float("inf")) for waiting in (self._bad, self._unclear))
        return min(firsts)
