"""Tenants that work, and not well."""

import pytest
from msgspec import structs

from services.dispatcher import vitals
from services.dispatcher.vitals import Counters, Lag, VitalRules, Vitals

RULES = VitalRules(slow_after=1.0, error_share=0.5, period=60.0)
WELL = Vitals(pid=7, started=70)


def after(*times: float) -> Vitals:
    """A process that was slow at these times, for two seconds each."""
    known = WELL
    for at in times:
        known = vitals.lagged(known, Lag(at=at, seconds=2.0, since=at - 2.0), RULES)
    return known


@pytest.mark.parametrize(
    ("times", "slow"),
    [((100.0,), False), ((100.0, 110.0), False), ((100.0, 110.0, 120.0), True), ((0.0, 90.0, 120.0), False)],
)
def test_slow_is_who_was_so_three_times_in_a_while(times: tuple[float, ...], slow: object) -> None:
    assert vitals.is_slow(after(*times), 120.0, RULES) is slow


def test_one_long_time_is_one_time() -> None:
    known = WELL
    for step in range(30):
        known = vitals.lagged(known, Lag(at=100.0 + step, seconds=float(step), since=99.0), RULES)
    assert len(known.lags) == 1
    assert not vitals.is_slow(known, 130.0, RULES)


def test_slow_until_it_has_been_well_for_a_while() -> None:
    known = structs.replace(after(100.0, 110.0, 120.0), slow=True)
    assert vitals.is_slow(known, 179.0, RULES)
    assert not vitals.is_slow(known, 181.0, RULES)


def test_few_times_are_remembered_however_often() -> None:
    assert len(after(*(100.0 + step / 10 for step in range(500))).lags) <= 2 * vitals.SLOW_TIMES


@pytest.mark.parametrize(
    ("requests", "errors", "failing"),
    [(100, 49, False), (100, 50, True), (9, 9, False), (10, 10, True), (0, 0, False)],
)
def test_failing_is_who_answers_with_many_errors(requests: int, errors: int, failing: object) -> None:
    before = structs.replace(WELL, counters=Counters(requests=1000, errors=900))
    now = Counters(requests=1000 + requests, errors=900 + errors)
    assert vitals.is_failing(before, now, RULES) is failing


@pytest.mark.parametrize(("requests", "errors", "failing"), [(0, 0, True), (100, 26, True), (100, 25, False)])
def test_still_failing_until_answers_say_otherwise(requests: int, errors: int, failing: object) -> None:
    before = structs.replace(WELL, failing=True, counters=Counters(requests=10, errors=10))
    assert vitals.is_failing(before, Counters(requests=10 + requests, errors=10 + errors), RULES) is failing


def test_the_first_look_at_counters_says_nothing() -> None:
    assert not vitals.is_failing(WELL, Counters(requests=1000, errors=1000), RULES)


def test_too_large_is_who_stays_so_and_it_is_said_again_after_long() -> None:
    once = vitals.weighed(WELL, 400, 300)
    assert not vitals.is_oversize(once, 100.0, RULES)
    twice = vitals.weighed(once, 400, 300)
    assert vitals.is_oversize(twice, 160.0, RULES)
    assert not vitals.is_oversize(vitals.weighed(twice, 300, 300), 160.0, RULES)
    said = structs.replace(twice, oversize_at=160.0)
    assert not vitals.is_oversize(said, 700.0, RULES)
    assert vitals.is_oversize(said, 760.0, RULES)
