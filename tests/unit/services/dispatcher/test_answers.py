"""Who answers, and whether that is the one who was asked."""

import pytest

from services.dispatcher.answers import Identity, Run, identity_in, mistake

RUNS = {7: Run(release="shop-1.0", databases=frozenset({"db1", "10.0.0.1", "shop"}), port=9000), 8: Run()}
RIGHT = Identity(tenant="acme", pid=7, release="shop-1.0", database="db1", port=9000)


def test_our_own_runtime_and_the_former_daemon_are_understood() -> None:
    ours = b'{"tenant": "acme", "pid": 7, "release": "shop-1.0", "database": "db1", "port": 9000}'
    assert identity_in(ours) == RIGHT
    assert identity_in(b"shop|9000|7|acme\n") == Identity(tenant="acme", pid=7, database="shop", port=9000)
    assert identity_in(b"|0|7|acme") == identity_in(b"||7|acme") == Identity(tenant="acme", pid=7)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok\n",
        b"{}",
        b"[7]",
        b'{"tenant": 1, "pid": 2}',
        b"a|b|c|d",
        b"\xff|1|2",
        b'{"tenant": "acme", "pid": 7, "more": ' + 4000 * b"[",
    ],
)
def test_what_says_nothing_about_it_is_no_identity(body: bytes) -> None:
    assert identity_in(body) is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (RIGHT, ""),
        (Identity(tenant="acme", pid=7), ""),
        (Identity(tenant="acme", pid=7, database="10.0.0.1"), ""),
        (Identity(tenant="acme", pid=8, release="shop-2.0", database="db9", port=1), ""),
        (Identity(tenant="globex", pid=7), "answers as tenant globex"),
        (Identity(tenant="acme", pid=9), "answers as pid 9, which is none of its processes"),
        (Identity(tenant="acme", pid=7, release="shop-2.0"), "answers as shop-2.0, and runs shop-1.0"),
        (Identity(tenant="acme", pid=7, database="db2"), "answers for database db2, and was given db1"),
        (Identity(tenant="acme", pid=7, port=1), "answers for port 1, and was given 9000"),
    ],
)
def test_either_of_its_processes_may_answer_and_nobody_else(said: Identity, words: str) -> None:
    assert mistake(said, "acme", RUNS, leader=0) == words


def test_what_a_process_has_started_answers_for_it() -> None:
    assert mistake(Identity(tenant="acme", pid=99), "acme", RUNS, leader=7) == ""
    assert mistake(Identity(tenant="acme", pid=99, port=1), "acme", RUNS, leader=7)
