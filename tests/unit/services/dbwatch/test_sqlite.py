import sqlite3
from pathlib import Path

import pytest

from services.dbwatch.probe import DownError
from services.dbwatch.sqlite import Sqlite


def database(path: Path, *, wal: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
    connection.execute("CREATE TABLE t (a)")
    return connection


def test_missing_file_is_fine_where_it_can_be_made(tmp_path: Path) -> None:
    assert Sqlite(tmp_path / "a.db").check() == "no file yet"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wal", [False, True])
def test_database_answers(tmp_path: Path, *, wal: bool) -> None:
    database(tmp_path / "a.db", wal=wal).close()
    assert Sqlite(tmp_path / "a.db").check().startswith("SQLite 3")


def test_name_with_special_characters(tmp_path: Path) -> None:
    database(tmp_path / "a b?#%41.db").close()
    assert Sqlite(tmp_path / "a b?#%41.db").check().startswith("SQLite 3")


def test_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    assert Sqlite(tmp_path / "a.db").check().startswith("SQLite 3")


def test_writer_at_work_is_no_outage(tmp_path: Path) -> None:
    writer = database(tmp_path / "a.db")
    writer.execute("BEGIN EXCLUSIVE")
    assert Sqlite(tmp_path / "a.db").check() == "somebody writes"
    writer.close()


def test_what_a_crashed_writer_left_is_no_outage(tmp_path: Path) -> None:
    writer = database(tmp_path / "a.db")
    writer.execute("PRAGMA cache_size = 1")
    writer.execute("BEGIN")
    writer.executemany("INSERT INTO t VALUES (?)", [("x" * 2000,)] * 50)
    (tmp_path / "crashed").mkdir()
    for name in ("a.db", "a.db-journal"):  # the disk as it is in the middle of a transaction
        (tmp_path / "crashed" / name).write_bytes((tmp_path / name).read_bytes())
    writer.close()
    assert Sqlite(tmp_path / "crashed" / "a.db").check().startswith("SQLite 3")


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(DownError, match="gone: no such directory"):
        Sqlite(tmp_path / "gone" / "a.db").check()


def test_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownError, match="file: not a directory"):
        Sqlite(tmp_path / "file" / "a.db").check()


def test_directory_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.db").mkdir()
    with pytest.raises(DownError, match=r"a\.db: unable to open"):
        Sqlite(tmp_path / "a.db").check()


def test_directory_that_nobody_may_write() -> None:
    with pytest.raises(DownError, match="/proc/self: may not be written"):
        Sqlite(Path("/proc/self/a.db")).check()


def test_no_database_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database, and never was one" * 100)
    with pytest.raises(DownError, match="not a database"):
        Sqlite(tmp_path / "a.db").check()


def test_corrupt_schema(tmp_path: Path) -> None:
    database(tmp_path / "a.db").close()
    content = bytearray((tmp_path / "a.db").read_bytes())
    content[100:] = b"\xee" * (len(content) - 100)
    (tmp_path / "a.db").write_bytes(bytes(content))
    with pytest.raises(DownError, match="malformed"):
        Sqlite(tmp_path / "a.db").check()
