import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import checkpoints
from bus import journal as journal_module
from bus.journal import ForeignJournalError, Journal
from bus.wire import Record
from tests.harness import DEADLINE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    journal = Journal(file)
    yield journal
    journal.close()


def record(
    seq: int, type_: str = "DB_UP", subject: str = "db1", time: float = 0.0, instance: str = "p"
) -> Record:
    return Record(seq, time or float(seq), type_, subject, instance, seq, b"%d" % seq)


def seqs(packed: list[bytes]) -> list[int]:
    return [int(one) for one in packed]


def test_it_is_readable_by_its_user_only(journal: Journal, file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_people_ask_for_is_forced_to_the_disk(journal: Journal) -> None:
    said: list[str] = []
    journal._db.set_trace_callback(said.append)
    journal.append([record(1)])
    assert not [statement for statement in said if "synchronous" in statement]
    journal.append([record(2), record(3, "STOP_REQUESTED")])
    before, after = (said.index(f"PRAGMA synchronous = {how}") for how in ("FULL", "NORMAL"))
    assert before < said.index("BEGIN IMMEDIATE", before) < said.index("COMMIT", before) < after


def test_events_survive(journal: Journal, file: Path) -> None:
    journal.append([record(1), record(2)])
    journal.commit({"reader": 2})
    journal.close()
    again = Journal(file)
    assert again.head == 2
    assert seqs(again.replay((), "", 0, 10).packed) == [1, 2]
    assert again.last_n("p") == 2
    assert again.seq_of("p", 1) == 1
    assert again.cursor("reader") == 2
    again.close()


def test_a_batch_is_written_whole_or_not_at_all(journal: Journal) -> None:
    journal.append([record(1)])
    with pytest.raises(sqlite3.IntegrityError):
        journal.append([record(2), record(3), record(1)])
    assert journal.head == 1
    assert journal.last_n("p") == 1
    assert seqs(journal.replay((), "", 0, 10).packed) == [1]
    journal.append([record(2)])
    assert journal.head == 2


def test_the_same_event_cannot_be_written_twice(journal: Journal) -> None:
    journal.append([record(1)])
    with pytest.raises(sqlite3.IntegrityError):
        journal.append([record(2)._replace(n=1)])


def test_replay_tells_how_far_it_looked(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SCAN", 10)
    journal.append([record(n, "DB_DOWN" if n == 25 else "DB_UP") for n in range(1, 31)])
    assert journal.replay(("DB_DOWN",), "", 0, 5) == ([], 10)
    assert journal.replay(("DB_DOWN",), "", 10, 5) == ([], 20)
    assert journal.replay(("DB_DOWN",), "", 20, 5) == ([b"25"], 30)
    assert journal.replay((), "", 0, 3) == ([b"1", b"2", b"3"], 3)
    assert journal.replay((), "", 30, 3) == ([], 30)
    assert journal.replay((), "", 99, 3) == ([], 99)


def test_latest_is_kept_by_family_and_type(journal: Journal) -> None:
    journal.append([record(1, "DB_UP"), record(2, "DB_UP", "db2"), record(3, "DB_DOWN")])
    assert journal.latest((), "") == {("DB", "db2"): (2, b"2"), ("DB", "db1"): (3, b"3")}
    assert journal.latest(("DB_UP",), "") == {("DB", "db1"): (1, b"1"), ("DB", "db2"): (2, b"2")}
    assert journal.latest(("DB_*",), "db1") == {("DB", "db1"): (3, b"3")}
    assert journal.latest(("PROC_*",), "") == {}


def test_types_of_another_version_are_passed_over(journal: Journal) -> None:
    journal.append([record(1, "NO_LONGER_KNOWN"), record(2)])
    assert journal.latest((), "") == {("DB", "db1"): (2, b"2")}


@pytest.mark.parametrize(
    ("time", "expected"), [(0.0, 0), (10.0, 0), (10.5, 1), (21.0, 2), (35.0, 40), (1e12, 41)]
)
def test_seq_at(journal: Journal, time: float, expected: int) -> None:
    journal.append([record(1, time=10), record(2, time=20), record(40, time=30), record(41, time=40)])
    assert journal.seq_at(time) == expected


def sweep(journal: Journal, before: float, size: int = 2**40) -> int:
    steps = 1
    while journal.trim(before, size, step=10):
        steps += 1
    return steps


def test_old_events_go_in_small_steps_and_the_newest_of_each_stay(journal: Journal) -> None:
    journal.append([record(n, subject=f"db{n % 3}") for n in range(1, 101)])
    assert sweep(journal, before=51) == 6
    assert seqs(journal.replay((), "", 0, 1000).packed) == list(range(51, 101))
    sweep(journal, before=1000)
    assert seqs(journal.replay((), "", 0, 1000).packed) == [98, 99, 100]
    assert len(journal.latest((), "")) == 3
    journal.append([record(101, subject="db1")])
    sweep(journal, before=1000)
    assert seqs(journal.replay((), "", 0, 1000).packed) == [98, 99, 101]


def test_the_oldest_go_while_the_file_is_too_large(journal: Journal, file: Path) -> None:
    large = [record(n)._replace(packed=bytes(4_000)) for n in range(1, 501)]
    journal.append(large)
    sweep(journal, before=0, size=1_000_000)
    kept = journal.replay((), "", 0, 1000).packed
    assert 100 < len(kept) < 250
    journal.close()
    assert file.stat().st_size < 1_200_000


def test_seqs_do_not_go_back_when_all_is_old(journal: Journal, file: Path) -> None:
    journal.append([record(n) for n in range(1, 11)])
    sweep(journal, before=1000)
    journal.close()
    again = Journal(file)
    assert again.head == 10
    again.close()


def test_publishers_are_forgotten_and_new_ones_never_take_their_place(journal: Journal) -> None:
    journal.append([record(1, instance="old"), record(2, instance="older")])
    journal.forget_publishers(before=2)
    assert journal.last_n("old") == 0
    assert journal.last_n("older") == 2
    journal.forget_publishers(before=3)
    journal.append([record(3, instance="new")._replace(n=1), record(4, instance="new")._replace(n=2)])
    assert journal.seq_of("new", 2) == 4


def test_another_kind_of_database_is_not_touched(file: Path) -> None:
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE customers (name)")
    other.close()
    with pytest.raises(ForeignJournalError):
        Journal(file)


def test_what_is_written_comes_to_its_place_and_the_log_does_not_grow_for_ever(
    journal: Journal, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LONG", 3 * checkpoints.EVERY)
    log = file.with_name("journal.db-wal")
    seq, begun, end = 0, set[bytes](), time.monotonic() + DEADLINE
    while len(begun) < 3:  # without a break, so that the thread alone can never finish
        assert time.monotonic() < end
        seq += 1
        journal.append([record(seq)])
        with log.open("rb") as header:
            begun.add(header.read(32)[16:24])  # salt-1 and salt-2, new each time the log begins anew
    assert log.stat().st_size < 40 * checkpoints.EVERY * 4096
    assert [journal.seq_of("p", n) for n in (1, seq)] == [1, seq]
