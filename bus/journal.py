"""The truth about what was said: an SQLite file that only the broker opens (ADR-0001)."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from bus.api import matches
from bus.checkpoints import Checkpoints, checkpoint
from bus.events import BY_TYPE, RequestEvent
from bus.wire import Newest, Page, Record

APPLICATION = 0x74_62_75_73  # "tbus"
SCHEMA = 1
FORCED = frozenset(name for name, event in BY_TYPE.items() if event.speaker == RequestEvent.speaker)
"""What a power cut must not take back once it was acknowledged: nobody but a person can say it again."""
PAGES = 5
"""Pages that one event alone changes; of many together ten fit on one."""
VACUUM = 1_000
"""Pages given back in one step of forgetting, at most."""
SCAN = 20_000
"""Rows that one page of a replay looks at, at most."""

_SCHEMA = f"""
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, time REAL NOT NULL, type TEXT NOT NULL, subject BLOB NOT NULL,
    publisher INTEGER NOT NULL, n INTEGER NOT NULL, packed BLOB NOT NULL);
CREATE UNIQUE INDEX once ON events (publisher, n);
CREATE TABLE latest (
    type TEXT NOT NULL, subject BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (type, subject)
) WITHOUT ROWID;
CREATE TABLE publishers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL UNIQUE,
    n INTEGER NOT NULL, seen REAL NOT NULL);
CREATE TABLE cursors (consumer TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
"""


class ForeignJournalError(sqlite3.DatabaseError):
    """The file is a database, but not a journal of ours."""


def _where(patterns: tuple[str, ...], subject: str) -> tuple[str, list[object]]:
    """Give SQL and values for what `bus.api.matches` tells."""
    where = ""
    values: list[object] = []
    if patterns:
        types = [name for name in BY_TYPE if matches(patterns, "", name, "")]
        where += f" AND type IN ({', '.join('?' * len(types))})"
        values += types
    if subject:
        where += " AND subject = ?"
        values.append(blob(subject))
    return where, values


def blob(subject: str) -> bytes:
    """SQLite's TEXT cannot hold every file name."""
    return subject.encode(errors="surrogateescape")


def text(subject: bytes) -> str:
    return subject.decode(errors="surrogateescape")


class Journal:
    """Raises sqlite3.DatabaseError and OSError; `Ledger` knows what to do about them."""

    def __init__(self, file: Path, first: int = 1) -> None:
        """Open the file, or make it so that its first event gets the seq `first`."""
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(file, isolation_level=None, timeout=0.1)
        self._disk = file.open("rb")
        """Stays open as long as the database: closing it takes all of SQLite's locks away."""
        self.file = file
        try:
            self._prepare()
            newest = self._number("SELECT max(seq) FROM events")
            self._publishers: dict[str, tuple[int, int]] = {
                instance: (number, n)
                for number, instance, n in self._db.execute("SELECT id, instance, n FROM publishers")
            }
            self._checkpoints = Checkpoints(file, self._disk)
        except BaseException:
            self._db.close()
            self._disk.close()
            raise
        self.head = newest or first - 1
        self._swept = 0

    def _prepare(self) -> None:
        # NORMAL: a commit is in the kernel's hands, which outlives this process; a power cut may take the
        # last moments, but then it has taken their publishers and subscribers as well.
        self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint = 0")  # Checkpoints does it
        if not self._number("SELECT count(*) FROM sqlite_schema"):
            self._db.executescript(f"BEGIN; {_SCHEMA} COMMIT")
        found = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        if found != (APPLICATION, SCHEMA):
            raise ForeignJournalError(f"{self.file} is another kind of database, or of another version")

    def _number(self, sql: str, *values: object) -> int:
        row = self._db.execute(sql, values).fetchone()
        return (row and row[0]) or 0

    def close(self) -> None:
        self._db.close()
        self._checkpoints.close()
        self._disk.close()

    def is_there(self) -> bool:
        """Tell whether the file is still the one of that name: somebody may have removed it."""
        try:
            return os.path.samestat(self.file.stat(), os.fstat(self._disk.fileno()))
        except OSError:
            return False

    # ------------------------------------------------------------ writing

    def append(self, records: Sequence[Record]) -> None:
        """Write all or nothing."""
        if not records:
            return
        publishers = dict(self._publishers)
        with self._forced(any(r.type in FORCED for r in records)), self._transaction():
            self._note_publishers(records, publishers)
            self._db.executemany(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (r.seq, r.time, r.type, blob(r.subject), publishers[r.instance][0], r.n, r.packed)
                    for r in records
                ],
            )
            newest = {(r.type, r.subject): r.seq for r in records}
            self._db.executemany(
                "INSERT INTO latest VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq",
                [(type_, blob(subject), seq) for (type_, subject), seq in newest.items()],
            )
        self._publishers = publishers
        self.head = records[-1].seq
        self._checkpoints.written(PAGES + len(records) // 10, self._db)

    def _note_publishers(self, records: Sequence[Record], publishers: dict[str, tuple[int, int]]) -> None:
        for instance, (n, time) in {r.instance: (r.n, r.time) for r in records}.items():
            number = self._number(
                "INSERT INTO publishers (instance, n, seen) VALUES (?, ?, ?)"
                " ON CONFLICT (instance) DO UPDATE SET n = excluded.n, seen = excluded.seen RETURNING id",
                instance,
                n,
                time,
            )
            publishers[instance] = (number, n)

    def commit(self, cursors: dict[str, int]) -> None:
        with self._transaction():
            self._db.executemany(
                "INSERT INTO cursors VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
                cursors.items(),
            )

    def make_room(self) -> None:
        """Let the log begin anew with the next commit, if that can be: on a full disk it cannot grow."""
        checkpoint(self._db)

    @contextmanager
    def _forced(self, wanted: bool) -> Iterator[None]:  # noqa: FBT001
        """Have what is written meanwhile on the disk, not only in the kernel's hands."""
        if not wanted:
            yield
            return
        self._db.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            self._db.execute("PRAGMA synchronous = NORMAL")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:  # after some errors SQLite has rolled back by itself
                self._db.execute("ROLLBACK")

    # ------------------------------------------------------------ reading

    def last_n(self, instance: str) -> int:
        """Number of a publisher's last event, 0 if it is not known."""
        return self._publishers.get(instance, (0, 0))[1]

    def seq_of(self, instance: str, n: int) -> int:
        """Seq of a publisher's event, 0 if it is not here."""
        publisher = self._publishers.get(instance, (0, 0))[0]
        return self._number("SELECT seq FROM events WHERE publisher = ? AND n = ?", publisher, n)

    def replay(self, patterns: tuple[str, ...], subject: str, after: int, limit: int) -> Page:
        """Give the first matching events after a seq; looks at SCAN rows only, so that nobody waits long."""
        upto = (
            self._number(
                "SELECT seq FROM events WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?", after, SCAN - 1
            )
            or self.head
        )
        where, values = _where(patterns, subject)
        rows = self._db.execute(
            f"SELECT seq, packed FROM events WHERE seq > ? AND seq <= ?{where} ORDER BY seq LIMIT ?",  # noqa: S608 - _where gives placeholders only
            (after, upto, *values, limit),
        ).fetchall()
        if len(rows) == limit:
            upto = rows[-1][0]
        return Page([packed for _, packed in rows], max(upto, after))

    def latest(self, patterns: tuple[str, ...], subject: str) -> Newest:
        """Give the newest matching event of each (family, subject)."""
        where, values = _where(patterns, subject)
        rows = self._db.execute(
            f"SELECT type, subject, seq FROM latest WHERE true{where} ORDER BY seq",  # noqa: S608 - as above
            values,
        )
        newest = {(BY_TYPE[type_].family, subject_): seq for type_, subject_, seq in rows if type_ in BY_TYPE}
        return {
            (family_, text(subject_)): (seq, self._packed(seq)) for (family_, subject_), seq in newest.items()
        }

    def _packed(self, seq: int) -> bytes:
        packed: bytes = self._db.execute("SELECT packed FROM events WHERE seq = ?", (seq,)).fetchone()[0]
        return packed

    def seq_at(self, time: float) -> int:
        """Seq of the last event before a wall-clock time; by halving, for want of an index on time."""
        low, high = 0, self.head + 1
        while high - low > 1:
            middle = (low + high) // 2
            row = self._db.execute(
                "SELECT seq, time FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,)
            ).fetchone()
            if row is None or row[1] < time:
                low = middle
            else:
                high = row[0]
        return self._number("SELECT max(seq) FROM events WHERE seq <= ?", low)

    def cursor(self, consumer: str) -> int:
        return self._number("SELECT seq FROM cursors WHERE consumer = ?", consumer)

    # ------------------------------------------------------------ forgetting

    def trim(self, before: float, size: int, step: int = 500) -> bool:
        """Drop a few events older than `before`, or the oldest while the file is above `size` bytes.

        The newest of each (type, subject) stays. Tells whether there is more to drop.
        """
        too_large = self._size() > size
        rows = self._db.execute(
            "SELECT seq, time FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (self._swept, step)
        ).fetchall()
        old = [seq for seq, _ in takewhile(lambda row: too_large or row[1] < before, rows)]
        if old:
            with self._transaction():
                self._db.execute(
                    "DELETE FROM events WHERE seq > ? AND seq <= ?"
                    " AND seq NOT IN (SELECT seq FROM latest WHERE seq > ? AND seq <= ?)",
                    (self._swept, old[-1], self._swept, old[-1]),
                )
            # executescript, since execute() would free one page only
            self._db.executescript(f"PRAGMA incremental_vacuum({VACUUM})")
            self._checkpoints.written(VACUUM, self._db)
        more = len(old) == step
        self._swept = old[-1] if more else 0
        return more

    def forget_publishers(self, before: float) -> None:
        """Forget publishers that said nothing since `before`: they will not send anything again."""
        self._db.execute("DELETE FROM publishers WHERE seen < ?", (before,))
        self._publishers = {
            instance: (number, n)
            for number, instance, n in self._db.execute("SELECT id, instance, n FROM publishers")
        }

    def _size(self) -> int:
        pages = self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")
        return pages * self._number("PRAGMA page_size")
