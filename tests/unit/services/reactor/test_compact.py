"""Code is moved, and does what it did before."""

import time
from types import FunctionType

from services.reactor.tenantbus_fork import compact


def make(number: int) -> FunctionType:
    def tell() -> int:
        return number

    assert isinstance(tell, FunctionType)
    return tell


def test_what_a_rehearsal_calls_is_moved_and_nothing_else() -> None:
    called, other = make(1), make_other()
    before = called.__code__, other.__code__
    compact.gather(called, int)
    assert called.__code__ is not before[0]
    assert called.__code__ == before[0]
    assert other.__code__ is before[1]
    assert called() == 1


def test_functions_of_one_code_go_on_to_share_it() -> None:
    first, second = make(1), make(2)
    compact.gather(first, int)
    assert first.__code__ is second.__code__
    assert (first(), second()) == (1, 2)


def test_a_rehearsal_happens_elsewhere_and_what_comes_of_it_stays_there() -> None:
    marks: list[str] = []
    uses: list[str] = []
    compact.gather(lambda: marks.append("rehearsed"), lambda: uses.append("used"))
    assert not marks
    assert uses == ["used"] * compact.AGAIN


def test_a_rehearsal_that_fails_keeps_nobody_from_being_born() -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    compact.gather(fail, int)


def test_a_rehearsal_that_hangs_is_ended() -> None:
    compact.gather(lambda: time.sleep(600), int, within=1)


def make_other() -> FunctionType:
    def other() -> None:
        raise AssertionError

    assert isinstance(other, FunctionType)
    return other
