"""Cuts one tenant's live log file while the tenant writes it; killed anywhere, it loses and doubles nothing.

1. The head of the live file is copied to a draft, which becomes a piece by its name. From then on the piece
   is the truth, and nobody looks at what the live file has of that range.
2. The head becomes a hole. Doing that again does no harm.
3. Where the filesystem can, the hole is cut off. The state says before that this is about to happen; whether
   it did is seen from the hole, for which there is data again behind it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bus import log_files
from bus.log_files import INDEX, LIVE, MARK_SIZE, Mark, Piece, State
from services.reactor import holes, log_plan

DRAFT = ".output.piece"

LOOK_FOR_LINE = 1 << 16
"""Bytes in which the end of a line is looked for, where something is dropped."""

CALM = 1 << 18
"""Bytes that a tenant may write while its log is written out; a faster one would have to wait for us."""


class CutLog:
    """One tenant's log, as its only keeper knows it."""

    def __init__(self, directory: Path) -> None:
        """Finish what an earlier keeper may have begun; raises OSError, FileNotFoundError without a log."""
        self.directory = directory
        self._live = str(directory / LIVE)
        self.pieces = log_files.pieces(directory)
        self._kept = sum(map(log_plan.on_disk, self.pieces))
        self.marked = log_files.newest_mark(directory)
        (directory / DRAFT).unlink(missing_ok=True)
        descriptor = self._open()
        try:
            facts = os.fstat(descriptor)
            self.block = os.fstatvfs(descriptor).f_frsize
            rotated = self.pieces[-1].end if self.pieces else 0
            self.state = log_files.locate(directory, descriptor, rotated)
            self.size, self.device, self.time = facts.st_size, facts.st_dev, facts.st_mtime
            self._start = max(rotated, self.state.base + log_files.first_data(descriptor))
            if log_files.read_state(directory) != self.state:
                log_files.write_state(directory, self.state)
            holes.punch(descriptor, 0, self.hole)
        finally:
            os.close(descriptor)

    @property
    def hole(self) -> int:
        """Bytes at the head of the live file that count no more."""
        return self._start - self.state.base

    @property
    def live(self) -> int:
        return self.size - self.hole

    @property
    def written(self) -> int:
        return self.state.base + self.size

    @property
    def used(self) -> int:
        return self.live + self._kept

    @property
    def holding(self) -> log_plan.Holding:
        return log_plan.Holding(self.live, tuple(self.pieces))

    def look(self) -> bool:
        """See how large it is by now; False when it is another file, or was emptied: then begin anew."""
        facts = os.lstat(self._live)
        shrunk = facts.st_size < self.size
        self.size, self.time = facts.st_size, facts.st_mtime
        return facts.st_ino == self.state.inode and not shrunk

    def mark(self, now: float) -> None:
        """Note in the index how much has been written by now."""
        self.marked = Mark(now, self.written)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.directory / INDEX, flags, 0o600)
        try:
            os.write(descriptor, log_files.write_marks([self.marked]))
            long = os.fstat(descriptor).st_size > log_plan.MARKS * MARK_SIZE
        finally:
            os.close(descriptor)
        if long:
            oldest = self.pieces[0].start if self.pieces else self.state.base
            marks = log_plan.thin(log_files.read_index(self.directory), oldest)
            log_files.replace(self.directory / INDEX, log_files.write_marks(marks))

    def drop(self, piece: Piece) -> None:
        """Remove the oldest piece."""
        (self.directory / piece.name).unlink(missing_ok=True)
        self.pieces.remove(piece)
        self._kept -= log_plan.on_disk(piece)

    def cut(self, length: int, time: float) -> None:
        """Rotate so much out of the live file; what is newest of it was written at `time`."""
        with self._opened() as (live, draft):
            place, left = self.hole, length
            while left:
                copied = os.sendfile(draft, live, place, left)
                if not copied:
                    raise OSError(errno.ENODATA, "became shorter while it was read", LIVE)
                place, left = place + copied, left - copied
            self._finish(live, draft, length, time)

    def skip(self, length: int, time: float) -> int:
        """Drop so much from the live file, and say so in its place; gives how much is gone.

        The lines that are cut at either end stay whole.
        """
        with self._opened() as (live, draft):
            near = min(LOOK_FOR_LINE, length // 2)
            first, last = os.pread(live, near, self.hole), os.pread(live, near, self.hole + length - near)
            head = first[: first.find(b"\n") + 1]
            tail = last.rpartition(b"\n")[2] if b"\n" in last else b""
            dropped = length - len(head) - len(tail)
            with suppress(OSError):  # a full disk is no reason not to make room
                os.write(draft, b"%btenantbus: %d bytes dropped\n%b" % (head or b"\n", dropped, tail))
            self._finish(live, draft, length, time)
        return dropped

    def tidy(self) -> None:
        """Cut the hole off, unless the tenant writes so fast that it would notice.

        Raises OSError with EOPNOTSUPP where the filesystem cannot do that.
        """
        hole = self.hole
        live = self._open()
        try:
            size = os.fstat(live).st_size
            holes.write_out(live)
            if os.fstat(live).st_size - size > CALM:
                return
            log_files.write_state(self.directory, self.state._replace(collapsing=hole))
            try:
                holes.collapse(live, hole)
            except OSError:
                log_files.write_state(self.directory, self.state)
                raise
            self.state = State(self.state.inode, self.state.base + hole)
            self.size = os.fstat(live).st_size
            log_files.write_state(self.directory, self.state)
        finally:
            os.close(live)

    def _finish(self, live: int, draft: int, length: int, time: float) -> None:
        piece = Piece(self._start, self._start + length, os.fstat(draft).st_size, time)
        os.utime(draft, (time, time))
        (self.directory / DRAFT).rename(self.directory / piece.name)
        hole, self._start = self.hole, piece.end
        self.pieces.append(piece)
        self._kept += log_plan.on_disk(piece)
        holes.punch(live, hole, self.hole)

    @contextmanager
    def _opened(self) -> Iterator[tuple[int, int]]:
        """Open the live file and an empty draft."""
        live = self._open()
        try:
            draft = log_files.create(self.directory / DRAFT)
            try:
                yield live, draft
            finally:
                os.close(draft)
        finally:
            os.close(live)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._live, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "is no plain file", LIVE)
        return descriptor
