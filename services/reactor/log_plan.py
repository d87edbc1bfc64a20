"""Decides what is rotated out of a tenant's log and what is dropped: pure.

Sizes and offsets in bytes, times in seconds of the wall clock, since they are compared with those of files.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bus.log_files import Mark, Piece
from bus.sections import LogSettings

MB = 1 << 20
DAY = 86_400.0

LEAST = 4096
"""What a file takes on the disk at least."""

NOTES = 100
"""Pieces, on top of those of full size, that may be there: such as only say how much was dropped."""

HOT, HOTTEST = 0.1, 0.01
"""Seconds between two looks at a tenant that would be far too large at the next sweep: most and least."""

STEPS = 16
"""The part of what a tenant may keep that it may write between two looks."""

MARKS = 4096
"""Lines that an index may have: 11 hours of a tenant that writes all the time, and then ever less exactly."""


class Limits(NamedTuple):
    size: int
    keep: int
    total: int
    age: float

    @classmethod
    def of(cls, settings: LogSettings) -> "Limits":
        return cls(
            settings.max_mb * MB, settings.keep_mb * MB, settings.total_mb * MB, settings.max_age_days * DAY
        )


class Plan(NamedTuple):
    """What is to be done, in this order: pieces dropped, the live head skipped, pieces cut from it."""

    drop: tuple[Piece, ...]
    skip: int
    cuts: tuple[int, ...]


def plan(live: int, pieces: Sequence[Piece], limits: Limits, block: int) -> Plan:
    """Bring a log with `live` bytes below its limits; `block` is what cuts are a multiple of.

    A piece that is being cut is on the disk twice for a moment: there is room for that as well. Where there
    is not, the tenant writes faster than anybody needs copies: its newest bytes stay where they are.
    """
    room = limits.keep - limits.size
    if live > room:
        skip = whole(live - room + block - 1, block, live)
        return Plan(tuple(_oldest_above(limits.size, pieces, limits)), skip, ())
    cut = limits.size // block * block
    cuts = (cut,) * ((live - 1) // cut) if live > limits.size else ()
    needed = live + (cut if cuts else 0)
    return Plan(tuple(_oldest_above(limits.keep - needed, pieces, limits)), 0, cuts)


def _oldest_above(room: int, pieces: Sequence[Piece], limits: Limits) -> Iterator[Piece]:
    used, count = sum(map(on_disk, pieces)), len(pieces)
    for piece in pieces:
        if used <= room and count <= limits.keep // limits.size + NOTES:
            return
        used, count = used - on_disk(piece), count - 1
        yield piece


def on_disk(piece: Piece) -> int:
    return max(piece.size, LEAST)


def whole(size: int, block: int, live: int) -> int:
    """Give as much of `size` as can be cut from a file of `live` bytes: whole blocks, and never all of it."""
    return max(0, min(size, live - 1)) // block * block


def expired(pieces: Sequence[Piece], now: float, limits: Limits) -> list[Piece]:
    """Tell the pieces whose newest line is too old."""
    return [piece for piece in pieces if piece.time < now - limits.age]


def aged(marks: Sequence[Mark], now: float, limits: Limits) -> Mark | None:
    """Tell up to where the log is too old."""
    old = [mark for mark in marks if mark.time < now - limits.age]
    return old[-1] if old else None


class Holding(NamedTuple):
    """What one tenant has on the disk."""

    live: int
    pieces: tuple[Piece, ...]

    @property
    def used(self) -> int:
        return self.live + sum(map(on_disk, self.pieces))


class Sacrifice(NamedTuple):
    """What a tenant gives for the sake of all: its oldest pieces, and what is left too much after that."""

    drop: tuple[Piece, ...]
    skip: int


def relieve(holdings: Mapping[str, Holding], limits: Limits) -> dict[str, Sacrifice]:
    """Bring all logs together below the total: again and again, whoever has most gives the oldest it has.

    A live file is cut in half at most, the next time again.
    """
    over = sum(holding.used for holding in holdings.values()) - limits.total
    largest = [(-holding.used, name) for name, holding in holdings.items()]
    heapq.heapify(largest)
    given: dict[str, Sacrifice] = {}
    while over > 0 and largest:
        used, name = heapq.heappop(largest)
        drop, skip = given.get(name, Sacrifice((), 0))
        left = holdings[name].pieces[len(drop) :]
        if left:
            given[name] = Sacrifice((*drop, left[0]), skip)
            over -= on_disk(left[0])
            heapq.heappush(largest, (used + on_disk(left[0]), name))
        else:
            skip = holdings[name].live // 2
            given[name] = Sacrifice(drop, skip)
            over -= skip
    return given


def is_hot(live: int, grown: int, seconds: float, sweep: float, limits: Limits) -> bool:
    """Tell whether a tenant that has grown so much in so many seconds cannot wait for the next sweep."""
    return live + grown / seconds * sweep > 2 * limits.size


def pause(rates: Iterable[float], limits: Limits) -> float:
    """Tell how many seconds tenants may be left alone that write so many bytes in each."""
    fastest = max(rates, default=0.0)
    return min(HOT, max(HOTTEST, limits.keep / STEPS / fastest)) if fastest > 0 else HOT


def thin(marks: Sequence[Mark], oldest: int) -> list[Mark]:
    """Shorten an index: what is before the offset `oldest` goes, but for one, then every other old mark."""
    first = max((i for i, mark in enumerate(marks) if mark.offset <= oldest), default=0)
    kept = list(marks[first:])
    if len(kept) > MARKS // 2:
        middle = len(kept) // 2
        kept[:middle] = kept[:middle:2]
    return kept
