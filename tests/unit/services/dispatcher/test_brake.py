"""The brake, by itself and over whole histories."""

from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher import brake
from services.dispatcher.brake import OFF, Brake, BrakeRules, Position

RULES = BrakeRules(share=0.3, minimum=5, pace=60.0, calm=5.0)
LEVELS = st.lists(st.floats(0, 3), max_size=200)


def follow_all(levels: list[float], start: Brake = OFF) -> Brake:
    """One level a second."""
    for at, level in enumerate(levels):
        start = brake.follow(start, level, float(at), RULES)
    return start


def test_how_many_in_trouble_are_too_many() -> None:
    assert RULES.level(4, 4) < 1 == RULES.level(5, 5)
    assert RULES.level(299, 1000) < 1 == RULES.level(300, 1000)


def test_one_tenant_is_let_through_now_and_then() -> None:
    on = brake.follow(OFF, 1.0, 0.0, RULES)
    assert on.position is Position.ON
    passed = []
    for at in range(200):
        if brake.allows(on, float(at)):
            on = brake.let_through(on, float(at), RULES)
            passed.append(at)
    assert passed == [60, 120, 180]


def test_off_after_a_calm_time_and_not_before() -> None:
    on = brake.follow(OFF, 1.0, 0.0, RULES)
    assert follow_all([0.1, 0.1, 0.1, 0.1, 0.1], on).position is Position.ON
    assert follow_all([0.1] * 6, on) == OFF
    assert follow_all([0.1, 0.1, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1], on).position is Position.ON


def test_a_person_lets_all_through_until_the_trouble_is_over() -> None:
    released = brake.release(brake.follow(OFF, 2.0, 0.0, RULES), 1.0)
    assert brake.allows(released, 1.0)
    assert follow_all([2.0] * 100, released).position is Position.RELEASED
    over = follow_all([0.0] * 6, released)
    assert over == OFF
    assert brake.follow(over, 1.0, 200.0, RULES).position is Position.ON


def test_what_is_off_cannot_be_released() -> None:
    assert brake.release(OFF, 1.0) == OFF


@given(LEVELS)
def test_it_comes_on_with_too_many_and_with_nothing_else(levels: list[float]) -> None:
    assert (follow_all(levels).position is Position.OFF) or max(levels) >= 1


@given(LEVELS)
def test_it_is_always_off_after_a_calm_time(levels: list[float]) -> None:
    state = follow_all(levels)
    assert follow_all([0.0] * 6, structs_at_rest(state)) == OFF


@given(st.integers(2, 50), st.floats(0.01, 1), st.integers(0, 500), st.integers(0, 500))
def test_never_for_fewer_than_the_minimum(minimum: int, share: float, troubled: int, watched: int) -> None:
    rules = BrakeRules(share=share, minimum=minimum, pace=1.0, calm=1.0)
    on = brake.follow(OFF, rules.level(troubled, watched), 0.0, rules).position is Position.ON
    assert on == (troubled >= minimum and troubled >= share * watched)


@given(LEVELS, st.lists(st.booleans(), max_size=200))
def test_nobody_waits_longer_than_the_pace(levels: list[float], wants: list[bool]) -> None:
    """However it goes: from any moment on, somebody is let through within `pace` seconds."""
    state = follow_all(levels)
    at = float(len(levels))
    for want in wants:
        if want and brake.allows(state, at):
            state = brake.let_through(state, at, RULES)
        assert state.next_at - at <= RULES.pace
        at += 1


def structs_at_rest(state: Brake) -> Brake:
    """The same, seen at second 0 again."""
    return Brake(position=state.position, since=0.0, next_at=0.0)
