"""Two private MariaDB instances that replicate one another, as the demo has them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.mariadb import InstanceError, MariaDb, synchronize
from tests.harness import eventually, free_port, short_directory

Pair = tuple[MariaDb, MariaDb]


@pytest.fixture(scope="module")
def running() -> Iterator[Pair]:
    with short_directory() as directory:
        directory.chmod(0o711)  # for the servers' own user
        one, two = (MariaDb(directory / f"db{number}", free_port(), number) for number in (1, 2))
        try:
            for server in (one, two):
                server.start()
            yield one, two
        finally:
            one.stop()
            two.stop()


@pytest.fixture
def pair(running: Pair) -> Pair:
    """Two that replicate one another, with an empty schema `shop`."""
    for server in running:
        server.sql("STOP SLAVE", "SET sql_log_bin = 0", "DROP DATABASE IF EXISTS shop")
        server.make_schema("shop", "shop", "pw")
    synchronize(*running)
    return running


def arrived(server: MariaDb, upto: int) -> bool:
    """Tell whether the rows 1 to `upto` are there, and nothing else."""
    if not server.sql("SHOW TABLES FROM shop LIKE 't'"):
        return False
    numbers = [number for (number,) in server.sql("SELECT number FROM shop.t ORDER BY number")]
    return numbers == list(range(1, upto + 1))


def add(server: MariaDb, number: int) -> None:
    server.sql(f"INSERT INTO shop.t (number) VALUES ({number})")


def test_a_starting_server_cannot_remove_the_temporary_tables_of_another(running: Pair) -> None:
    own = [server.sql("SELECT @@tmpdir") for server in running]
    assert own == [[(str(server.temporary),)] for server in running]


def test_rows_reach_the_other_also_after_a_crash_of_either(pair: Pair) -> None:
    one, two = pair
    one.sql("CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, number INT)")
    add(one, 1)
    eventually(lambda: arrived(two, 1))
    add(two, 2)
    eventually(lambda: arrived(one, 2))
    two.kill()
    add(one, 3)
    two.start()
    eventually(lambda: arrived(two, 3))
    one.kill()
    add(two, 4)
    one.start()
    eventually(lambda: arrived(one, 4))
    synchronize(one, two)
    add(one, 5)
    eventually(lambda: arrived(two, 5))


def test_row_that_both_wrote_ends_no_replication(pair: Pair) -> None:
    one, two = pair
    two.sql("CREATE TABLE shop.t (number INT PRIMARY KEY)")
    eventually(lambda: arrived(one, 0))
    one.sql("SET sql_log_bin = 0", "INSERT INTO shop.t VALUES (1)")
    add(two, 1)
    add(two, 2)
    eventually(lambda: arrived(one, 2))


def test_port_that_is_taken_is_said(running: Pair, short_dir: Path) -> None:
    short_dir.chmod(0o711)  # for the servers' own user
    late = MariaDb(short_dir / "late", running[0].port)
    with pytest.raises(InstanceError, match=f"ended: .*running on port: {running[0].port}"):
        late.start()
    assert not late.running
