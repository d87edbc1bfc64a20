from hypothesis import given
from hypothesis import strategies as st

from bus.log_files import Mark, Piece
from bus.sections import LogSettings
from services.reactor import log_plan
from services.reactor.log_plan import MB, Holding, Limits, plan

BLOCK = 4096
LIMITS = Limits(size=10 * MB, keep=100 * MB, total=1000 * MB, age=1000.0)


def rotated(*sizes: int, time: float = 0.0) -> list[Piece]:
    found, end = [], 0
    for size in sizes:
        found.append(Piece(end, end + size, size, time))
        end += size
    return found


def test_limits_are_those_of_the_settings() -> None:
    settings = LogSettings(max_mb=1, keep_mb=2, total_mb=3, max_age_days=0.5)
    assert Limits.of(settings) == Limits(MB, 2 * MB, 3 * MB, 43_200.0)


def test_a_small_log_is_left_alone() -> None:
    assert plan(10 * MB, rotated(10 * MB), LIMITS, BLOCK) == ((), 0, ())


def test_a_large_log_is_rotated_in_pieces_of_the_size() -> None:
    assert plan(35 * MB, [], LIMITS, BLOCK) == ((), 0, (10 * MB, 10 * MB, 10 * MB))


def test_something_is_always_left_in_the_live_file() -> None:
    assert plan(20 * MB, [], LIMITS, BLOCK).cuts == (10 * MB,)


def test_the_oldest_go_for_what_is_new_and_for_the_copy() -> None:
    pieces = rotated(*[10 * MB] * 9)
    assert plan(10 * MB, pieces, LIMITS, BLOCK).drop == ()
    assert plan(10 * MB + 1, pieces, LIMITS, BLOCK).drop == tuple(pieces[:2])


def test_a_flood_leaves_the_newest_in_place() -> None:
    pieces = rotated(*[10 * MB] * 9)
    found = plan(1000 * MB + 5, pieces, LIMITS, BLOCK)
    assert found == (tuple(pieces[:8]), 910 * MB + BLOCK, ())


def test_notes_about_losses_do_not_pile_up() -> None:
    pieces = [Piece(i, i + 1, 40, 0.0) for i in range(500)]
    assert len(plan(1, pieces, LIMITS, BLOCK).drop) == 500 - 10 - log_plan.NOTES


@given(
    live=st.integers(0, 300 * MB),
    sizes=st.lists(st.integers(1, 20 * MB), max_size=30),
    size=st.integers(1, 20),
    times=st.integers(2, 30),
)
def test_no_plan_is_above_the_cap(live: int, sizes: list[int], size: int, times: int) -> None:
    limits = Limits(size * MB, size * times * MB, MB, 1.0)
    pieces = rotated(*sizes)
    found = plan(live, pieces, limits, BLOCK)
    assert found.drop == tuple(pieces[: len(found.drop)])
    left = live - found.skip
    assert found.skip % BLOCK == 0
    assert left > 0 or live == 0
    assert sum(found.cuts) < left or not found.cuts
    kept = sum(map(log_plan.on_disk, pieces[len(found.drop) :]))
    assert left + max(found.cuts, default=0) + kept <= limits.keep
    assert found.skip == 0 or left > limits.keep - limits.size - 2 * BLOCK
    assert left - sum(found.cuts) <= limits.size or found.skip


def test_what_is_too_old_expires() -> None:
    old, new = rotated(5, time=100.0)[0], Piece(5, 9, 4, 200.0)
    assert log_plan.expired([old, new], 1150.0, LIMITS) == [old]


def test_index_tells_up_to_where_the_log_is_too_old() -> None:
    marks = [Mark(100.0, 10), Mark(200.0, 20), Mark(300.0, 30)]
    assert log_plan.aged(marks, 1250.0, LIMITS) == Mark(200.0, 20)
    assert log_plan.aged(marks, 1050.0, LIMITS) is None


def test_nobody_gives_anything_below_the_total() -> None:
    assert log_plan.relieve({"a": Holding(500 * MB, ()), "b": Holding(500 * MB, ())}, LIMITS) == {}


def test_the_largest_gives_its_oldest() -> None:
    pieces = tuple(rotated(100 * MB, 100 * MB, 100 * MB))
    holdings = {"a": Holding(400 * MB, ()), "b": Holding(310 * MB, pieces), "c": Holding(150 * MB, ())}
    assert log_plan.relieve(holdings, LIMITS) == {"b": (pieces[:2], 0)}


def test_a_live_file_is_cut_when_there_is_no_piece() -> None:
    assert log_plan.relieve({"a": Holding(1200 * MB, ())}, LIMITS) == {"a": ((), 600 * MB)}


@given(st.lists(st.tuples(st.integers(0, 100 * MB), st.lists(st.integers(1, 50 * MB))), max_size=40))
def test_all_together_come_below_the_total(sizes: list[tuple[int, list[int]]]) -> None:
    holdings = {str(i): Holding(live, tuple(rotated(*pieces))) for i, (live, pieces) in enumerate(sizes)}
    given_ = log_plan.relieve(holdings, LIMITS)
    left = 0
    for name, holding in holdings.items():
        drop, skip = given_.get(name, ((), 0))
        assert drop == holding.pieces[: len(drop)]
        assert skip <= holding.live // 2
        left += holding.used - sum(map(log_plan.on_disk, drop)) - skip
    lives = sum(holding.live for holding in holdings.values())
    assert left <= max(LIMITS.total, lives // 2 + len(holdings))


def test_hot_is_who_would_be_far_too_large_at_the_next_sweep() -> None:
    assert not log_plan.is_hot(5 * MB, 14 * MB, 5.0, 5.0, LIMITS)
    assert log_plan.is_hot(5 * MB, 16 * MB, 5.0, 5.0, LIMITS)
    assert log_plan.is_hot(5 * MB, 1 * MB, 0.1, 5.0, LIMITS)


def test_index_keeps_one_mark_before_the_oldest_line() -> None:
    marks = [Mark(float(i), 10 * i) for i in range(10)]
    assert log_plan.thin(marks, 35) == marks[3:]
    assert log_plan.thin(marks, 0) == marks
    assert log_plan.thin([], 0) == []


def test_long_index_loses_every_other_old_mark() -> None:
    marks = [Mark(float(i), i) for i in range(log_plan.MARKS)]
    thinned = log_plan.thin(marks, 0)
    half = log_plan.MARKS // 2
    assert thinned == marks[:half:2] + marks[half:]


def test_the_faster_a_flood_the_sooner_the_next_look() -> None:
    assert log_plan.pause([], LIMITS) == log_plan.HOT
    assert log_plan.pause([0.0], LIMITS) == log_plan.HOT
    assert log_plan.pause([MB, 10 * MB], LIMITS) == log_plan.HOT
    assert log_plan.pause([MB, 100 * MB], LIMITS) == 0.0625
    assert log_plan.pause([2000 * MB], LIMITS) == log_plan.HOTTEST
