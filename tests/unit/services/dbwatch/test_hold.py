import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dbwatch.hold import LONGEST, WINDOW, Hold, stable_for


def after(*seen: tuple[float, bool], hold: Hold | None = None, patience: float = 0.0) -> Hold:
    hold = hold or Hold()
    for at, good in seen:
        hold = hold.see(good, at, patience)
    return hold


def test_pauses_grow_to_a_limit() -> None:
    assert [stable_for(falls) for falls in range(9)] == [0, 0, 3, 6, 12, 24, 48, 60, 60]
    assert stable_for(10_000) == LONGEST


def test_first_recovery_is_told_at_once_and_the_second_after_a_while() -> None:
    hold = after((0, True), (1, False), (500, True))
    assert hold.told
    hold = after((501, False), (502, True), hold=hold)
    assert hold.told, "the first fall is forgotten"
    hold = after((503, False), (504, True), (506.9, True), hold=hold)
    assert not hold.told
    assert hold.held
    assert after((507, True), hold=hold).told


def test_calm_is_forgotten_with_every_fall() -> None:
    hold = after((0, False), (1, True), (2, False), (3, True), (5, False), (6, True), (8, True))
    assert not hold.told
    assert hold.pause == 6


def test_falls_are_forgotten_after_a_while() -> None:
    hold = after((0, True), *[(2 * n + offset, bool(offset)) for n in range(10) for offset in (0, 1)])
    assert hold.pause == LONGEST
    assert after((WINDOW + 100, True), hold=hold).pause == 0.0


def test_bad_must_last_when_patience_is_asked_for() -> None:
    hold = after((0, True), (1, False), (2.9, False), patience=2.0)
    assert hold.told
    assert hold.falls == ()
    hold = after((3, False), hold=hold, patience=2.0)
    assert not hold.told
    assert hold.falls == (3,)


def test_short_trouble_is_no_fall() -> None:
    hold = after(*[(n, n % 2 == 0) for n in range(100)], patience=2.0)
    assert hold.told
    assert hold.falls == ()


SEEN = st.lists(st.tuples(st.floats(min_value=0.01, max_value=30.0), st.booleans()), max_size=100)


def times(steps: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
    at, seen = 0.0, []
    for step, good in steps:
        at += step
        seen.append((at, good))
    return seen


@given(SEEN)
def test_bad_is_told_at_once_whatever_was_before(steps: list[tuple[float, bool]]) -> None:
    hold = Hold()
    for at, good in times(steps):
        hold = hold.see(good, at)
        assert good or hold.told is False


@given(SEEN)
def test_good_is_told_after_the_longest_pause(steps: list[tuple[float, bool]]) -> None:
    seen = times(steps)
    last = seen[-1][0] if seen else 0.0
    hold = after(*seen, (last + 1, True), (last + 1 + LONGEST + 1e-6, True))  # sums are rounded
    assert hold.told


@pytest.mark.parametrize("told", [True, False])
def test_what_was_told_before_a_restart_is_gone_on_from(*, told: bool) -> None:
    assert Hold(told=told).see(told, 5.0).told is told
    assert Hold(told=told).see(not told, 5.0).told is not told
