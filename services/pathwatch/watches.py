"""Which directory has which inotify watch, and what to do when the kernel gives no more of them."""

import logging
from collections.abc import Hashable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from services.pathwatch.notify import Inotify, LimitError, Note

log = logging.getLogger(__name__)


class Located(Hashable, Protocol):
    @property
    def path(self) -> Path: ...


S = TypeVar("S", bound=Located)


class Watches(Generic[S]):
    """Watches directories by their spots; several spots may lead to one directory, by symbolic links."""

    def __init__(self) -> None:
        self._inotify: Inotify | None = None
        self._numbers: dict[S, int] = {}
        self._spots: dict[int, set[S]] = {}
        self._unwatched: set[S] = set()
        self._refused = ""
        """Why the kernel gave no watch, since we last hoped for one."""
        self._told = False

    @property
    def descriptor(self) -> int | None:
        """Readable when there is something to `read`; None as long as the kernel gives no inotify."""
        return self._inotify.descriptor if self._inotify else None

    @property
    def degraded(self) -> bool:
        """Not everything is watched: only looking tells what happens there."""
        return self._inotify is None or bool(self._unwatched)

    def hope(self) -> None:
        """Let what was refused be tried again."""
        self._refused = ""
        self._unwatched.clear()
        if self._inotify is None:
            try:
                self._inotify = Inotify()
            except LimitError as error:
                self._refused = f"no inotify instance ({error}; fs.inotify.max_user_instances, open files)"

    def tell(self) -> None:
        """Log it once when not everything is watched, and once when everything is again."""
        if self.degraded and not self._told:
            log.error(
                "%s: %s; looking at everything all the time instead, which is slower and costs more",
                f"{len(self._unwatched)} directories are not watched"
                if self._inotify
                else "nothing is watched",
                self._refused,
            )
        elif self._told and not self.degraded:
            log.warning("everything is watched again")
        self._told = self.degraded

    def watch(self, spot: S) -> None:
        """Watch what is at a spot now, be it something, something else than before, or nothing."""
        number = self._add(spot)
        before = self._numbers.get(spot)
        if number == before:
            return
        if before is not None:
            self._unlink(spot, before)
        if number is not None:
            self._numbers[spot] = number
            self._spots.setdefault(number, set()).add(spot)

    def watched(self, spot: S) -> bool:
        return spot in self._numbers

    def _add(self, spot: S) -> int | None:
        if self._inotify is None:
            return None
        if self._refused and spot not in self._numbers:
            self._unwatched.add(spot)
            return None
        self._unwatched.discard(spot)
        try:
            return self._inotify.add(str(spot.path))
        except LimitError as error:
            self._refused = f"the kernel gives no more watches ({error}; fs.inotify.max_user_watches)"
            self._unwatched.add(spot)
        except OSError:  # nothing to watch; whoever looks will see why
            pass
        return None

    def _unlink(self, spot: S, number: int) -> None:
        del self._numbers[spot]
        spots = self._spots[number]
        spots.discard(spot)
        if not spots:
            del self._spots[number]
            if self._inotify:
                self._inotify.remove(number)

    def read(self) -> list[Note]:
        return self._inotify.read() if self._inotify else []

    def spots(self, note: Note) -> list[S]:
        """Tell what a note is about; nothing when its directory is of no interest any more."""
        spots = list(self._spots.get(note.watch, ()))
        if note.ended and spots:
            del self._spots[note.watch]
            for spot in spots:
                del self._numbers[spot]
        return spots

    def close(self) -> None:
        if self._inotify:
            self._inotify.close()
            self._inotify = None
