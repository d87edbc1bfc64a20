import pytest

from services.dbwatch.position import comparable, has
from services.dbwatch.reading import Position


def maria(server: int, own: str = "", received: str = "") -> Position:
    return Position(lineage="mariadb", server=server, own=own, received=received)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (maria(1, "1-1-100"), maria(2, "", "1-1-100"), True),
        (maria(1, "1-1-100"), maria(2, "", "1-1-101"), True),
        (maria(1, "1-1-100"), maria(2, "", "1-1-99"), False),
        (maria(1, "1-1-100"), maria(2, "2-2-500", ""), False),
        # a circle: what came back is its own
        (maria(1, "1-1-100", "2-2-7"), maria(2, "2-2-9", "1-1-100"), True),
        (maria(1, "1-1-100", "2-2-7"), maria(2, "2-2-9", "1-1-98"), False),
        # all in one domain: its own later number says nothing about what it received
        (maria(1, "0-1-100"), maria(2, "0-2-101", "0-1-99"), False),
        (maria(1, "0-1-100"), maria(2, "0-2-101", "0-1-100"), True),
        # a third one wrote as well
        (maria(1, "1-1-5", "3-3-4"), maria(2, "", "1-1-5,3-3-4"), True),
        (maria(1, "1-1-5", "3-3-4"), maria(2, "", "1-1-5,3-3-3"), False),
        (maria(1, "1-1-5", "3-3-4"), maria(2, "", "1-1-5"), False),
    ],
)
def test_gtids_of_mariadb(source: Position, target: Position, *, expected: bool) -> None:
    assert has(target, source) is expected


A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "5e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (f"{A}:1-5", f"{A}:1-5", True),
        (f"{A}:1-5", f"{A}:1-9,\n{B}:1", True),
        (f"{A}:1-5", f"{A.upper()}:1-9", True),
        (f"{A}:1-5", f"{A}:1-4", False),
        (f"{A}:1-5:7", f"{A}:1-6", False),
        (f"{A}:1-3:7", f"{A}:1-3:5-8", True),
        (f"{A}:1-5,{B}:2", f"{A}:1-5", False),
        (f"{A}:1-5:red:1-2", f"{A}:1-5:red:1-2", True),
        (f"{A}:1-5:red:1-2", f"{A}:1-5", False),
    ],
)
def test_gtids_of_mysql(source: str, target: str, *, expected: bool) -> None:
    assert has(Position(lineage="mysql", own=target), Position(lineage="mysql", own=source)) is expected


@pytest.mark.parametrize(("target", "expected"), [("7", False), ("8", True), ("10", True)])
def test_commits_of_a_cluster(target: str, *, expected: bool) -> None:
    source = Position(lineage="galera", cluster="x", own="8")
    assert has(Position(lineage="galera", cluster="x", own=target), source) is expected


def test_what_can_be_compared() -> None:
    assert comparable(maria(2), maria(1))
    assert not comparable(Position(), Position()), "SQLite, or no binary log"
    assert not comparable(maria(2), Position(lineage="mysql"))
    assert not comparable(Position(lineage="galera", cluster="x"), Position(lineage="galera", cluster="y"))
