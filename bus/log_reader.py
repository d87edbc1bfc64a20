"""Reads a tenant's log while the tenant writes it and somebody else rotates it: every line once and whole.

No lock is taken: a reader that is stopped must never keep a log from being rotated. What was read from the
live file is believed only if nothing was cut off in the meantime.
"""

import os
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from bus import log_files
from bus.log_files import LIVE, Piece

CHUNK = 1 << 18
"""Bytes that are read at once."""

LONGEST_LINE = 1 << 20
"""Bytes of a line without an end that are held back; what is longer is given in parts."""


class Chunk(NamedTuple):
    """Bytes from the offset `start`; the next ones begin at `end`."""

    start: int
    end: int
    data: bytes


class Log:
    """One tenant's log, read by offset."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def end(self) -> int:
        """Tell how much the tenant has written in all."""
        end = self._rotated()
        try:
            descriptor = self._open()
        except FileNotFoundError:
            return end
        try:
            while True:
                state = log_files.locate(self.directory, descriptor, end)
                size = os.fstat(descriptor).st_size
                if log_files.locate(self.directory, descriptor, end) == state:
                    return max(end, state.base + size)
        finally:
            os.close(descriptor)

    def offset_at(self, time: float) -> int:
        """Tell how much had been written at a time (wall clock, seconds), or less if nobody knows."""
        marks = log_files.read_index(self.directory)
        number = bisect_right([mark.time for mark in marks], time)
        if number:
            return marks[number - 1].offset
        older = [piece.end for piece in log_files.pieces(self.directory) if piece.time <= time]
        return max(older, default=0)

    def read(self, at: int) -> Chunk | None:
        """Give what follows `at`, or, where that was dropped, what comes next; None if nothing does yet."""
        next_one = -1
        while True:
            try:
                chunk = self._try(at)
            except FileNotFoundError:  # it has not written anything yet
                return None
            if chunk is None:
                continue
            if not chunk.data:
                return None
            # A listing may lack a piece that got its name meanwhile. What lies before the next one that was
            # seen had its name by then: the second time it is there, or it is gone.
            if chunk.start <= at or chunk.start == next_one:
                return chunk
            next_one = chunk.start

    def _try(self, at: int) -> Chunk | None:
        for piece in log_files.pieces(self.directory):
            if piece.end > at:
                return self._read_piece(piece, at)
        return self._read_live(at)

    def _read_piece(self, piece: Piece, at: int) -> Chunk | None:
        """Read in a piece; None when it is gone."""
        try:
            with (self.directory / piece.name).open("rb") as file:
                if piece.size != piece.end - piece.start:  # it is small, and says that something is missing
                    return Chunk(piece.start, piece.end, file.read())
                start = max(at, piece.start)
                file.seek(start - piece.start)
                data = file.read(CHUNK)
                return Chunk(start, start + len(data), data)
        except FileNotFoundError:
            return None

    def _read_live(self, at: int) -> Chunk | None:
        """Read in the live file, behind its hole; None when it was cut meanwhile."""
        descriptor = self._open()
        try:
            end = self._rotated()
            state = log_files.locate(self.directory, descriptor, end)
            place = at - state.base
            if place > os.fstat(descriptor).st_size:  # somebody emptied it
                place = 0
            place = log_files.first_data(descriptor, max(place, 0))
            data = os.pread(descriptor, CHUNK, place)
            cut = data and log_files.first_data(descriptor, place) != place
            if cut or log_files.locate(self.directory, descriptor, end) != state:
                return None
            return Chunk(state.base + place, state.base + place + len(data), data)
        finally:
            os.close(descriptor)

    def _rotated(self) -> int:
        rotated = log_files.pieces(self.directory) if self.directory.exists() else []
        return rotated[-1].end if rotated else 0

    def _open(self) -> int:
        return os.open(self.directory / LIVE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


class Lines:
    """The lines of a log from an offset on: the first one that begins there or later comes first."""

    def __init__(self, log: Log, at: int) -> None:
        self._log = log
        self.at = max(0, at - 1)  # the byte before tells whether a line begins at `at`
        self._searching = at > 0
        self._rest = b""

    def read(self) -> list[bytes] | None:
        """Give the next lines that are complete, without their ends; None when there is nothing new."""
        chunk = self._log.read(self.at)
        if chunk is None:
            return None
        data, before = chunk.data, []
        if chunk.start != self.at:  # what was there is gone, the rest of a line perhaps
            before = self.unfinished()
            self._rest, self._searching = b"", True
        self.at = chunk.end
        if self._searching:
            _, found, data = data.partition(b"\n")
            self._searching = not found
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines.append(self._rest)
            self._rest = b""
        return before + lines

    def unfinished(self) -> list[bytes]:
        """Give the line that has no end yet, if there is one."""
        return [self._rest] if self._rest else []
