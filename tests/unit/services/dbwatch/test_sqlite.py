import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from services.dbwatch.canary import TABLE, Canary
from services.dbwatch.probe import DownError
from services.dbwatch.reading import Reading
from services.dbwatch.sqlite import Sqlite


def check(path: Path) -> str:
    """What a check says that does not write."""
    reading = Sqlite(path, 1.0, None).check(unreachable)
    assert reading.failure is None
    return reading.server


def unreachable(reading: Reading) -> None:
    raise AssertionError(reading)


def write(path: Path, canary: Canary | None = None, timeout: float = 0.01) -> Reading:
    """What a check says that writes."""
    reached: list[Reading] = []
    reading = Sqlite(path, timeout, canary or Canary("host/db1", 0.001)).check(reached.append)
    assert [one.server for one in reached] == [reading.server]
    return reading


def database(path: Path, *, wal: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
    connection.execute("CREATE TABLE t (a)")
    return connection


def test_missing_file_is_fine_where_it_can_be_made(tmp_path: Path) -> None:
    assert check(tmp_path / "a.db") == "no file yet"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wal", [False, True])
def test_database_answers(tmp_path: Path, *, wal: bool) -> None:
    database(tmp_path / "a.db", wal=wal).close()
    assert check(tmp_path / "a.db").startswith("SQLite 3")


def test_name_with_special_characters(tmp_path: Path) -> None:
    database(tmp_path / "a b?#%41.db").close()
    assert check(tmp_path / "a b?#%41.db").startswith("SQLite 3")


def test_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    assert check(tmp_path / "a.db").startswith("SQLite 3")


def test_writer_at_work_is_no_outage(tmp_path: Path) -> None:
    writer = database(tmp_path / "a.db")
    writer.execute("BEGIN EXCLUSIVE")
    assert check(tmp_path / "a.db").startswith("SQLite 3")
    writer.close()


def test_canary_is_one_row_in_a_table_of_its_own(tmp_path: Path) -> None:
    canary = Canary("host/db1", 0.000001)
    with closing(database(tmp_path / "a.db")) as reader:
        beats = []
        for _ in range(3):
            assert write(tmp_path / "a.db", canary).failure is None
            beats += reader.execute(f"SELECT watcher, beat FROM {TABLE}").fetchall()
        assert [watcher for watcher, _ in beats] == ["host/db1"] * 3
        assert sorted(beat for _, beat in beats) == [beat for _, beat in beats]


def test_canary_makes_no_file(tmp_path: Path) -> None:
    Sqlite(tmp_path / "a.db", 1.0, Canary("host/db1", 1.0)).check(unreachable)
    assert list(tmp_path.iterdir()) == []


def test_between_two_writes_only_reading_is_checked(tmp_path: Path) -> None:
    canary = Canary("host/db1", 1000.0)
    database(tmp_path / "a.db").close()
    write(tmp_path / "a.db", canary)
    Sqlite(tmp_path / "a.db", 1.0, canary).check(unreachable)


def test_writer_that_never_ends_is_noticed(tmp_path: Path) -> None:
    canary = Canary("host/db1", 1000.0)
    with closing(database(tmp_path / "a.db")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        failure = write(tmp_path / "a.db", canary).failure
        assert failure is not None
        assert (failure.kind, failure.reason) == ("locked", "a write failed: database is locked")
        writer.execute("ROLLBACK")
        assert write(tmp_path / "a.db", canary).failure is None, "tried again at once"


def test_file_that_may_only_be_read(tmp_path: Path) -> None:
    database(tmp_path / "a.db").close()
    probe = Sqlite(tmp_path / "a.db", 1.0, None)
    with closing(sqlite3.connect(f"file:{tmp_path}/a.db?mode=ro", uri=True, isolation_level=None)) as reader:
        failure = probe._write(reader, Canary("host/db1", 1.0))
    assert failure is not None
    assert failure.kind == "read-only"


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TABLE {TABLE} (a)",
        f"CREATE TABLE {TABLE} (watcher, beat, more NOT NULL)",
        f"CREATE VIEW {TABLE} AS SELECT 1 AS watcher, 2 AS beat",
    ],
)
def test_a_table_that_is_not_ours_says_nothing_about_writing(tmp_path: Path, statement: str) -> None:
    with closing(database(tmp_path / "a.db")) as owner:
        owner.execute(statement)
    canary = Canary("host/db1", 0.001)
    reading = write(tmp_path / "a.db", canary)
    assert reading.failure is None
    assert reading.unwritten.startswith("not written to: ")
    assert not canary.due
    assert Sqlite(tmp_path / "a.db", 1.0, canary).check(unreachable).unwritten == reading.unwritten


def test_what_a_crashed_writer_left_is_no_outage(tmp_path: Path) -> None:
    writer = database(tmp_path / "a.db")
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN")
    writer.executemany("INSERT INTO t VALUES (?)", [("x" * 2000,)] * 50)
    (tmp_path / "crashed").mkdir()
    for name in ("a.db", "a.db-journal"):  # the disk as it is in the middle of a transaction
        (tmp_path / "crashed" / name).write_bytes((tmp_path / name).read_bytes())
    writer.close()
    assert check(tmp_path / "crashed" / "a.db").startswith("SQLite 3")


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(DownError, match="gone: no such directory"):
        check(tmp_path / "gone" / "a.db")


def test_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownError, match="file: not a directory"):
        check(tmp_path / "file" / "a.db")


def test_directory_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    with pytest.raises(DownError, match=r"a\.db: unable to open"):
        check(tmp_path / "a.db")


def test_directory_that_nobody_may_write() -> None:
    with pytest.raises(DownError, match="/proc/self: may not be written"):
        check(Path("/proc/self/a.db"))


def test_path_that_the_kernel_refuses(tmp_path: Path) -> None:
    with pytest.raises(DownError, match="File name too long"):
        check(tmp_path / ("x" * 300) / "a.db")


def test_no_database_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database, and never was one" * 100)
    with pytest.raises(DownError, match="not a database"):
        check(tmp_path / "a.db")


def test_corrupt_schema(tmp_path: Path) -> None:
    database(tmp_path / "a.db").close()
    content = bytearray((tmp_path / "a.db").read_bytes())
    content[100:] = b"\xee" * (len(content) - 100)
    (tmp_path / "a.db").write_bytes(bytes(content))
    with pytest.raises(DownError, match="malformed"):
        check(tmp_path / "a.db")
