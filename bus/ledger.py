"""The journal, whatever happens to its file: a full disk or a spoilt file must not silence the bus."""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

from bus.events import AnyEvent, JournalDegraded, JournalReset, JournalRestored
from bus.journal import ForeignJournalError, Journal
from bus.memory import MemoryJournal
from bus.wire import Newest, Page, Record

log = logging.getLogger(__name__)

T = TypeVar("T")

TAIL = 10_000
"""Events kept in memory while the journal cannot be written."""
FAILURES = (sqlite3.Error, OSError)
SPOILT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def spoilt(error: Exception) -> bool:
    """Tell a file that will never be readable again from a disk that is full or in trouble."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in SPOILT or isinstance(error, ForeignJournalError)


class Highest:
    """The highest seq ever given, beside the journal: eight bytes, overwritten in place.

    So a seq is never given twice, even when the events that had it never reached the journal.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file = self._open()
        self.seq = int.from_bytes(self._file.read(8), "little")
        self.note(self.seq)  # takes its place on the disk now

    def _open(self) -> FileIO:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return FileIO(descriptor, "r+b")

    def write_anew(self) -> None:
        """Write it into a new file, since somebody has removed the other; raises OSError."""
        former, self._file = self._file, self._open()
        former.close()
        self.note(self.seq)

    def note(self, seq: int) -> None:
        self.seq = seq
        with suppress(OSError):  # the disk was full from the start: then only a crash could give a seq twice
            os.pwrite(self._file.fileno(), seq.to_bytes(8, "little"), 0)

    def close(self) -> None:
        self._file.close()


class Ledger:
    """Behaves as the journal; what has to be said about it waits in `notices`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._highest = Highest(file.with_suffix(".seq"))
        self._journal: Journal | None = None
        self._tail: MemoryJournal | None = None
        self.head = self._highest.seq
        self.notices: list[AnyEvent] = []
        try:
            self._journal = Journal(file)
        except FAILURES as error:
            self._fail(error, self._fresh(error))
        else:
            self._go_on(self._journal.head)

    def _fresh(self, error: Exception) -> int:
        """A seq that is above all that may have been given before."""
        now = int(time.time() * 1000)
        return max(self.head, now) if spoilt(error) else self.head or now

    def _go_on(self, head: int) -> None:
        """Go on after the journal's last event, or after later ones that it never got."""
        if head < self.head:
            self._say_reset(f"events {head + 1} to {self.head} were given out and are lost")
        self.head = max(head, self.head)

    @property
    def degraded(self) -> bool:
        return self._tail is not None

    def close(self) -> None:
        if self._journal:
            self._journal.close()
        self._highest.close()

    # ------------------------------------------------------------ trouble

    def _fail(self, error: Exception, head: int) -> None:
        """Go on after `head` with a new file, when the old one is spoilt, or in memory."""
        if spoilt(error):
            try:
                self._begin_anew(error, head)
            except FAILURES as another:
                error = another
            else:
                return
        log.error("the journal cannot be written (%s): going on without it", error)
        self.notices.append(JournalDegraded(journal=str(self._file), reason=str(error)))
        self.head = head
        self._tail = MemoryJournal(head, limit=TAIL)

    def _begin_anew(self, error: Exception, head: int) -> None:
        if self._journal:
            self._journal.close()
            self._journal = None
        aside = self._file.with_name(f"{self._file.name}.corrupt-{time.time_ns() // 1_000_000}")
        for suffix in ("-wal", "-shm", ""):
            part = self._file.with_name(self._file.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        self._journal = Journal(self._file)
        self.head = head
        self._say_reset(f"{error}; the old file is {aside.name}")

    def _say_reset(self, reason: str) -> None:
        log.error("the journal is not complete: %s", reason)
        self.notices.append(JournalReset(journal=str(self._file), reason=reason))

    def look(self) -> None:
        """Begin anew when somebody has removed the file: what is written to it would be lost, and unseen."""
        if self._journal is None or self._tail is not None or self._journal.is_there():
            return
        self._journal.close()
        self._journal = None
        self._say_reset("somebody has removed it")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._highest.write_anew()
            self._journal = Journal(self._file)
        except FAILURES as error:
            self._fail(error, self.head)

    def restore(self) -> None:
        """Try to write the journal again, with what was said meanwhile."""
        tail = self._tail
        if tail is None:
            return
        try:
            journal = self._journal = self._journal or Journal(self._file)
            journal.make_room()
            journal.append([record for record in tail.records if record.seq > journal.head])  # not again
            journal.commit(tail.cursors)
        except FAILURES as error:
            log.debug("the journal still cannot be written: %s", error)
            return
        self._tail = None
        log.warning("the journal can be written again")
        reason = f"{len(tail.records)} events were written late"
        self.notices.append(JournalRestored(journal=str(self._file), reason=reason))

    def _write(self, write: Callable[[Journal | MemoryJournal], None]) -> None:
        if self._tail is None and self._journal:
            try:
                write(self._journal)
            except FAILURES as error:
                self._fail(error, self.head)
            else:
                return
        store = self._tail or self._journal
        if store:
            write(store)

    def _read(self, read: Callable[[Journal], T], otherwise: T) -> T:
        if self._journal is None:
            return otherwise
        try:
            return read(self._journal)
        except FAILURES as error:
            if self._tail is None:
                self._fail(error, self.head)
            return otherwise

    # ------------------------------------------------------------ the journal's own verbs

    def append(self, records: Sequence[Record]) -> None:
        self._write(lambda store: store.append(records))
        self.head = records[-1].seq
        self._highest.note(self.head)

    def commit(self, cursors: dict[str, int]) -> None:
        self._write(lambda store: store.commit(cursors))

    def last_n(self, instance: str) -> int:
        in_tail = self._tail.last_n(instance) if self._tail else 0
        return in_tail or (self._journal.last_n(instance) if self._journal else 0)

    def seq_of(self, instance: str, n: int) -> int:
        in_tail = self._tail.seq_of(instance, n) if self._tail else 0
        return in_tail or self._read(lambda journal: journal.seq_of(instance, n), 0)

    def replay(self, patterns: tuple[str, ...], subject: str, after: int, limit: int) -> Page:
        written = self._journal.head if self._journal else 0
        if self._tail and after >= written:
            return self._tail.replay(patterns, subject, after, limit)
        nothing = Page([], max(after, self.head))
        return self._read(lambda journal: journal.replay(patterns, subject, after, limit), nothing)

    def latest(self, patterns: tuple[str, ...], subject: str) -> Newest:
        newest = self._read(lambda journal: journal.latest(patterns, subject), Newest())
        return {**newest, **(self._tail.latest(patterns, subject) if self._tail else {})}

    def seq_at(self, time: float) -> int:
        in_tail = self._tail.seq_at(time) if self._tail else 0
        return in_tail or self._read(lambda journal: journal.seq_at(time), 0)

    def cursor(self, consumer: str) -> int:
        in_tail = self._tail.cursor(consumer) if self._tail else 0
        return max(in_tail, self._read(lambda journal: journal.cursor(consumer), 0))

    def trim(self, before: float, size: int) -> bool:
        """Drop a few old events; tells whether there are more. See Journal.trim."""
        if self._tail:
            return False
        return self._read(lambda journal: journal.trim(before, size), otherwise=False)

    def forget_publishers(self, before: float) -> None:
        if not self._tail:
            self._read(lambda journal: journal.forget_publishers(before), None)
