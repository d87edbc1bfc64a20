"""The canary of a MySQL database that loses against other writes."""

from collections.abc import Sequence
from typing import Any

from services.dbwatch.canary import Canary
from services.dbwatch.mysql_canary import CREATE, DEADLOCK, NO_SUCH_TABLE, TRIES, WRITE, write
from services.dbwatch.mysql_session import RefusedError, Session


class Refusing(Session):
    """Refuses statements with these numbers, one after the other, and then takes them; 0 takes one."""

    def __init__(self, *numbers: int) -> None:
        self.version = "8.0"
        self.numbers = [*numbers]
        self.statements: list[str] = []

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        self.statements.append(statement)
        if self.numbers and (number := self.numbers.pop(0)):
            raise RefusedError(number, "no")
        return []


def test_write_that_another_one_ended_is_sent_again() -> None:
    session = Refusing(NO_SUCH_TABLE, 0, DEADLOCK)
    assert write(session, Canary("here/db1", 2.0), 0.5) == (None, "")
    assert session.statements == [WRITE, CREATE, WRITE, WRITE]


def test_table_that_others_make_as_well_is_made_again() -> None:
    session = Refusing(NO_SUCH_TABLE, DEADLOCK)
    assert write(session, Canary("here/db1", 2.0), 0.5) == (None, "")
    assert session.statements == [WRITE, CREATE, CREATE, WRITE]


def test_write_that_never_wins_is_locked_out() -> None:
    session = Refusing(*[DEADLOCK] * TRIES)
    failure, unwritten = write(session, Canary("here/db1", 2.0), 0.5)
    assert failure is not None
    assert failure.kind == "locked"
    assert failure.reason == "a write failed: no (1213)"
    assert not unwritten
    assert session.statements == [WRITE] * TRIES
