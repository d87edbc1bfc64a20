from itertools import pairwise

from cli.supervise.policy import FIRST, LONGEST, STABLE, Again, again


def test_the_first_failure_is_answered_at_once() -> None:
    assert again(0, lived=0.1) == Again(failures=1, pause=0.0)


def test_pauses_grow_up_to_a_limit() -> None:
    failures, pauses = 1, []
    for _ in range(12):
        failures, pause = again(failures, lived=0.1)
        pauses.append(pause)
    assert pauses[0] == FIRST
    assert all(after == min(2 * before, LONGEST) for before, after in pairwise(pauses))
    assert pauses[-1] == LONGEST


def test_a_long_life_makes_earlier_failures_forgotten() -> None:
    assert again(9, lived=STABLE) == Again(failures=1, pause=0.0)


def test_failures_without_end_are_no_trouble() -> None:
    assert again(100_000, lived=0.0).pause == LONGEST
