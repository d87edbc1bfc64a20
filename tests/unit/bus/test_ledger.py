import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import ledger as ledger_module
from bus.ledger import Ledger
from bus.wire import Record


def record(seq: int, subject: str = "db1") -> Record:
    return Record(seq, float(seq), "DB_UP", subject, "p", seq, b"%d" % seq)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[Ledger]:
    ledger = Ledger(file)
    ledger.append([record(1), record(2, "db2")])
    yield ledger
    ledger.close()


def pages_allowed(ledger: Ledger, count: int) -> None:
    """Make SQLite itself say SQLITE_FULL."""
    assert ledger._journal is not None
    ledger._journal._db.execute(f"PRAGMA max_page_count = {count}").fetchall()


def fill_up(ledger: Ledger) -> int:
    """Append until the disk is full; gives the last seq."""
    pages_allowed(ledger, 1)
    while not ledger.degraded:
        ledger.append([record(ledger.head + 1)._replace(packed=bytes(4_000))])
    return ledger.head


def types(ledger: Ledger) -> list[str]:
    return [notice.type for notice in ledger.notices]


def replay(ledger: Ledger, after: int = 0) -> list[int]:
    found: list[int] = []
    while after < ledger.head:
        page = ledger.replay((), "", after, 1000)
        found += [int(one.strip(b"\0") or 0) for one in page.packed]
        after = page.upto
    return found


def test_a_full_disk_is_said_once_and_everything_goes_on(ledger: Ledger) -> None:
    full = fill_up(ledger)
    for seq in range(full + 1, full + 6):
        ledger.append([record(seq, "tail")])
    ledger.commit({"reader": full})
    assert types(ledger) == ["JOURNAL_DEGRADED"]
    assert replay(ledger)[-5:] == list(range(full + 1, full + 6))
    assert ledger.latest((), "tail") == {("DB", "tail"): (full + 5, b"%d" % (full + 5))}
    assert ledger.latest((), "db2") == {("DB", "db2"): (2, b"2")}
    assert ledger.last_n("p") == full + 5
    assert ledger.seq_of("p", 2) == 2
    assert ledger.seq_of("p", full + 3) == full + 3
    assert ledger.cursor("reader") == full
    assert ledger.seq_at(full + 4) == full + 3
    assert ledger.seq_at(2) == 1


def test_what_was_said_meanwhile_is_written_when_there_is_room(ledger: Ledger, file: Path) -> None:
    full = fill_up(ledger)
    ledger.append([record(full + 1)])
    ledger.commit({"reader": 7})
    ledger.restore()
    assert ledger.degraded
    pages_allowed(ledger, 2**30)
    ledger.restore()
    assert not ledger.degraded
    assert types(ledger) == ["JOURNAL_DEGRADED", "JOURNAL_RESTORED"]
    ledger.close()
    again = Ledger(file)
    assert again.notices == []
    assert replay(again)[-1] == full + 1
    assert again.cursor("reader") == 7
    again.close()


def test_a_tail_that_was_half_written_is_finished_later(ledger: Ledger, file: Path) -> None:
    full = fill_up(ledger)
    ledger.append([record(full + 1)])
    ledger.commit({"reader": 7})
    pages_allowed(ledger, 2**30)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("CREATE TRIGGER full BEFORE INSERT ON cursors BEGIN SELECT raise(ABORT, 'no room'); END")
    ledger.restore()
    assert ledger.degraded
    other.execute("DROP TRIGGER full")
    other.close()
    ledger.restore()
    assert types(ledger) == ["JOURNAL_DEGRADED", "JOURNAL_RESTORED"]
    assert replay(ledger)[-1] == full + 1
    assert ledger.cursor("reader") == 7


def test_the_tail_is_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "TAIL", 10)
    full = fill_up(ledger)
    for seq in range(full + 1, full + 101):
        ledger.append([record(seq)])
    assert replay(ledger, full)[-10:] == list(range(full + 91, full + 101))
    assert len(replay(ledger, full)) == 10


def test_a_seq_is_never_given_twice_after_a_crash_without_a_journal(ledger: Ledger, file: Path) -> None:
    full = fill_up(ledger)
    ledger.append([record(full + 1)])
    again = Ledger(file)
    assert again.head == full + 1
    assert types(again) == ["JOURNAL_RESET"]
    again.append([record(full + 2)])
    again.close()
    once_more = Ledger(file)
    assert once_more.notices == []
    once_more.close()


def test_a_file_that_turns_out_to_be_spoilt_is_put_aside(ledger: Ledger, file: Path) -> None:
    assert ledger._journal is not None
    ledger.append([record(seq)._replace(packed=bytes(4_000)) for seq in range(3, 300)])
    ledger._journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with file.open("r+b") as spoilt:
        spoilt.truncate(8192)
    ledger._journal._db.execute("PRAGMA shrink_memory").fetchall()
    ledger.replay((), "", 0, 1000)
    ledger.append([record(300)])
    assert types(ledger) == ["JOURNAL_RESET"]
    assert not ledger.degraded
    assert replay(ledger) == [300]
    assert list(file.parent.glob("journal.db.corrupt-*"))


def test_a_journal_that_another_program_holds_blocks_nobody(ledger: Ledger, file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.append([record(3)])
    assert ledger.degraded
    other.execute("COMMIT")
    other.close()
    ledger.restore()
    assert replay(ledger) == [1, 2, 3]
