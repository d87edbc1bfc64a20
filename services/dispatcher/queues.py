"""Where each tenant stands in the round of HTTP checks: due, in flight, or suspect; pure.

Rule: a tenant stands in one queue at most. Inserting, finding and deleting cost the same at ten tenants and
at ten thousand. Times are seconds of one monotonic clock, passed in.
"""

from collections.abc import Iterator


class TimeQueue:
    """Names in the order of their times, in any order of arrival.

    A calendar of slots, each `width` seconds wide and holding its names in a dict (a timing wheel without the
    wheel: Varghese and Lauck, 1987, scheme 5). No order within a slot; a name comes out up to `width` late,
    never early.
    """

    def __init__(self, width: float) -> None:
        self._width = width
        self._slots: dict[int, dict[str, float]] = {}
        self._slot_of: dict[str, int] = {}
        self._next = 0
        """The first slot that may hold anything."""

    def put(self, name: str, at: float) -> None:
        """Insert a name, or move it to another time."""
        self.discard(name)
        slot = int(at / self._width) + 1
        if not self._slot_of or slot < self._next:
            self._next = slot
        self._slot_of[name] = slot
        self._slots.setdefault(slot, {})[name] = at

    def discard(self, name: str) -> bool:
        """Delete a name; tells whether it was there."""
        slot = self._slot_of.pop(name, None)
        if slot is None:
            return False
        names = self._slots[slot]
        del names[name]
        if not names:
            del self._slots[slot]
        return True

    def at(self, name: str) -> float | None:
        """Find a name: its time, None when it is not here."""
        slot = self._slot_of.get(name)
        return None if slot is None else self._slots[slot][name]

    def pop_due(self, now: float) -> list[str]:
        """Take out all whose time has come. Costs a look at each slot passed since the last call."""
        if not self._slot_of:
            return []
        last = int(now / self._width)
        if last - self._next > len(self._slots):  # a long sleep: fewer slots than time that passed
            passed = sorted(slot for slot in self._slots if slot <= last)
        else:
            passed = [slot for slot in range(self._next, last + 1) if slot in self._slots]
        self._next = max(self._next, last + 1)
        due = [name for slot in passed for name in self._slots.pop(slot)]
        for name in due:
            del self._slot_of[name]
        return due

    def __iter__(self) -> Iterator[tuple[str, float]]:
        """Names with their times, earliest first."""
        everything = [entry for names in self._slots.values() for entry in names.items()]
        return iter(sorted(everything, key=lambda entry: entry[1]))

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, name: object) -> bool:
        return name in self._slot_of


class Round:
    """The three queues as one: moving a tenant into one takes it out of the others."""

    def __init__(self, width: float) -> None:
        self.due = TimeQueue(width)
        """Next check, at its time."""
        self.in_flight = TimeQueue(width)
        """Asked, with the time by which it must have answered."""
        self.suspect = TimeQueue(width)
        """Failed a check; asked again at this time, which is soon."""

    def move(self, name: str, queue: TimeQueue, at: float) -> None:
        self.leave(name)
        queue.put(name, at)

    def leave(self, name: str) -> None:
        """Take a tenant out of the round; harmless when it is not in it."""
        for queue in (self.due, self.in_flight, self.suspect):
            if queue.discard(name):
                return

    def __contains__(self, name: object) -> bool:
        return name in self.due or name in self.in_flight or name in self.suspect
