from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bus.events import DbDegraded, DbDown, DbMisconfigured, DbUp
from bus.sections import CheckSettings
from services.dbwatch.decide import (
    REFRESH,
    Action,
    Asked,
    Case,
    HandOut,
    Hurried,
    Input,
    Outcome,
    Reached,
    Renew,
    Replace,
    Reported,
    Rules,
    Say,
    TimeCame,
    badness,
    begin,
    decide,
)
from services.dbwatch.hold import LONGEST
from services.dbwatch.reading import Failure, Reading, Source
from services.dbwatch.verdict import Finding, Limits

LIMITS = Limits(lag=10.0, headroom=0.1, slow=0.5, donor="degraded")
RULES = Rules(every=0.5, timeout=1.0, limits=LIMITS)
ANSWER = Reading(server="10.11")
UP = DbUp(database="db1", reason="10.11")
DOWN = DbDown(database="db1", reason="Connection refused")
LATE = DbDown(database="db1", reason="no answer within 1 s", latency=1.0)
WRONG = DbMisconfigured(database="db1", key="databases.db1.password_file", reason="Access denied")
ALSO_WRONG = DbMisconfigured(database="db1", key="databases.db1.url", reason="Unknown database")


READ_ONLY = structs.replace(ANSWER, read_only="read_only")
SLOW = structs.replace(ANSWER, latency=0.7, connections=5, connections_max=151)
FULL = structs.replace(ANSWER, connections=150, connections_max=151)
BROKEN = structs.replace(
    ANSWER, sources=(Source(place="h:3306", server=2, connected=False, applying=True, lag=None),)
)
LOCKED = structs.replace(ANSWER, failure=Failure(kind="locked", reason="a write failed"))


def after(*inputs: Input, case: Case | None = None) -> tuple[Case, list[Action]]:
    """The case and the actions of the last input."""
    case = case or Case(database="db1")
    actions: list[Action] = []
    for came in inputs:
        case, actions = decide(case, came, RULES)
    return case, actions


def said(outcomes: Iterable[Outcome], before: Finding | None = None) -> list[Finding]:
    """What is said when check after check comes to this, one each half second."""
    return [event for _, event in spoken(outcomes, begin("db1", before))]


def spoken(outcomes: Iterable[Outcome], case: Case) -> list[tuple[float, Finding]]:
    """What is said when."""
    events = []
    for outcome in outcomes:
        case, _ = decide(case, TimeCame(case.due), RULES)
        at = case.due - 0.9
        case, actions = decide(case, Reported(at, case.task, outcome), RULES)
        events += [(at, action.event) for action in actions if isinstance(action, Say)]
    return events


def test_first_task_is_handed_out_at_once_with_a_deadline() -> None:
    case, actions = after(TimeCame(7.0))
    assert actions == [HandOut(1)]
    assert case.due == 8.0
    assert not case.judged


def test_checks_start_at_the_set_interval_however_long_they_take() -> None:
    case, actions = after(TimeCame(7.0), Reported(7.3, 1, ANSWER))
    assert actions == [Say(UP)]
    assert case.judged
    assert case.due == 7.5
    assert after(TimeCame(7.4), case=case) == (case, [])
    assert after(TimeCame(7.5), case=case)[1] == [HandOut(2)]


def test_check_longer_than_the_interval_is_followed_by_the_next_at_once() -> None:
    case, _ = after(TimeCame(7.0), Reported(7.9, 1, ANSWER))
    assert case.due == 7.9


def test_no_report_by_the_deadline_means_down_and_a_new_watchdog() -> None:
    case, actions = after(TimeCame(7.0), TimeCame(8.0))
    assert actions == [Say(LATE), Replace(), HandOut(2)]
    assert case.judged
    assert case.due == 9.0


def test_report_of_a_replaced_watchdog_counts_for_nothing() -> None:
    case, _ = after(TimeCame(7.0), TimeCame(8.0))
    assert after(Reported(8.1, 1, ANSWER), case=case) == (case, [])


def test_report_that_comes_twice_counts_once() -> None:
    case, _ = after(TimeCame(7.0), Reported(7.1, 1, ANSWER))
    assert after(Reported(7.2, 1, DOWN), case=case) == (case, [])


def test_nobody_is_judged_by_a_time_in_which_we_did_not_run() -> None:
    case, actions = after(TimeCame(7.0), TimeCame(100.0))
    assert actions == []
    assert not case.judged
    assert after(Reported(100.1, 1, ANSWER), case=case)[1] == [Say(UP)]
    again, actions = after(Reported(100.1, 1, DOWN), case=case)  # the server has hung up on us
    assert actions == [HandOut(2)]
    assert after(Reported(100.2, 2, DOWN), case=again)[1] == [Say(DOWN)]
    assert after(TimeCame(101.0), case=case)[1] == [Say(LATE), Replace(), HandOut(2)]


@pytest.mark.parametrize(
    ("outcomes", "events"),
    [
        ([ANSWER, ANSWER, ANSWER], [UP]),
        ([ANSWER, DOWN, DOWN, ANSWER], [UP, DOWN, UP]),
        ([DOWN, LATE, DOWN], [DOWN]),
        ([ANSWER, WRONG, WRONG, ANSWER], [UP, WRONG, UP]),
        ([WRONG, DOWN, WRONG], [WRONG, DOWN, WRONG]),
        ([WRONG, ALSO_WRONG], [WRONG, ALSO_WRONG]),
        ([ANSWER, Reading(server="11.4", latency=0.4)], [UP]),
    ],
)
def test_only_changes_are_said(outcomes: list[Outcome], events: list[Finding]) -> None:
    assert said(outcomes) == events


@pytest.mark.parametrize(
    ("outcome", "state"), [(ANSWER, UP), (DOWN, DOWN), (WRONG, WRONG), (READ_ONLY, said([READ_ONLY])[0])]
)
def test_after_a_restart_the_same_state_is_not_said_again(outcome: Outcome, state: Finding) -> None:
    assert said([outcome, outcome], before=state) == []


def test_after_a_restart_a_change_is_said() -> None:
    assert said([DOWN], before=UP) == [DOWN]
    assert said([ANSWER], before=DOWN) == [UP]
    assert kinds(said([READ_ONLY], before=DOWN)) == [("read-only",)]


def kinds(events: Iterable[Finding]) -> list[tuple[str, ...]]:
    """What is wrong, by the events: () for up, ("down",) for down."""
    words: dict[type, tuple[str, ...]] = {DbUp: (), DbDown: ("down",), DbMisconfigured: ("misconfigured",)}
    return [event.kinds if isinstance(event, DbDegraded) else words[type(event)] for event in events]


def test_what_cannot_be_written_to_is_told_at_once() -> None:
    assert kinds(said([ANSWER, READ_ONLY, ANSWER])) == [(), ("read-only",), ()]


@pytest.mark.parametrize(
    ("ill", "kind"), [(SLOW, "slow"), (FULL, "nearly-full"), (BROKEN, "replication-broken")]
)
def test_what_a_busy_moment_can_bring_about_must_last_to_be_told(ill: Reading, kind: str) -> None:
    assert kinds(said([ANSWER, ill, ill, ill, ill, ANSWER])) == [()]
    assert kinds(said([ANSWER, ill, ill, ill, ill, ill, ANSWER])) == [(), (kind,), ()]


def test_nothing_must_last_where_nothing_better_is_known() -> None:
    assert kinds(said([SLOW, DOWN, BROKEN, ANSWER])) == [("slow",), ("down",), ("replication-broken",), ()]


def test_lock_must_last_longer() -> None:
    assert kinds(said([ANSWER, *[LOCKED] * 10, ANSWER])) == [()]
    assert kinds(said([ANSWER, *[LOCKED] * 11, ANSWER])) == [(), ("locked",), ()]


def test_database_whose_source_is_down_is_not_blamed() -> None:
    case = begin("db1", None)
    case, _ = decide(case, TimeCame(1.0), RULES)
    _, (say,) = decide(case, Reported(1.1, 1, BROKEN), RULES, {2})
    assert isinstance(say, Say)
    assert isinstance(say.event, DbUp)
    assert say.event.replication == "follows h:3306, not connected"


def test_what_is_wrong_besides_is_said_later() -> None:
    both = structs.replace(SLOW, connections=150)
    case = begin("db1", None)
    events = spoken([SLOW, *[both] * 20], case)
    assert kinds(event for _, event in events) == [("slow",), ("nearly-full", "slow")]
    assert events[1][0] - events[0][0] >= REFRESH


def test_headroom_is_said_when_it_has_changed_much_and_not_too_often() -> None:
    readings = [structs.replace(ANSWER, connections=n, connections_max=100) for n in (5, 6, *[40] * 20)]
    events = spoken(readings, begin("db1", None))
    assert [event.headroom for _, event in events if isinstance(event, DbUp)] == [95, 60]
    assert events[1][0] - events[0][0] >= REFRESH


def test_write_that_hangs_is_told_apart_from_a_database_that_hangs() -> None:
    case, _ = after(TimeCame(7.0), Reached(1, ANSWER), TimeCame(8.0))
    assert isinstance(case.said, DbDegraded)
    assert not case.said.writable
    assert case.said.reason == "a write got no answer within 1 s"
    case, actions = after(TimeCame(9.0), case=case)
    assert actions == [Say(LATE), Replace(), HandOut(3)], "the next one did not come so far"


def test_request_is_answered_by_a_new_watchdog_while_a_check_hangs() -> None:
    case, _ = after(TimeCame(7.0), Reported(7.1, 1, ANSWER), TimeCame(7.5))
    case, actions = after(Asked(7.6, 42), case=case)
    assert actions == [Renew(), HandOut(3)]
    assert after(Reported(7.7, 2, DOWN), case=case)[1] == [], "asked before"
    case, actions = after(Reported(7.7, 3, ANSWER), case=case)
    assert actions == [Say(UP, 42)]
    case, _ = after(TimeCame(8.2), case=case)
    assert after(Reported(8.3, 4, ANSWER), case=case)[1] == [], "answered once"


def test_request_is_answered_by_the_deadline_at_the_latest() -> None:
    _, actions = after(TimeCame(7.0), Asked(7.6, 42), TimeCame(8.6))
    assert actions == [Say(LATE, 42), Replace(), HandOut(3)]


def test_who_is_in_a_hurry_gets_a_check_at_once_unless_one_is_under_way() -> None:
    case, _ = after(TimeCame(7.0))
    assert after(Hurried(7.1), case=case) == (case, [])
    case, actions = after(Reported(7.1, 1, ANSWER), Hurried(7.2), case=case)
    assert actions == [HandOut(2)]
    assert case.due == 8.2


def test_person_who_asks_ends_the_holding() -> None:
    flapping: list[Outcome] = [ANSWER, DOWN] * 5
    case = begin("db1", None)
    for outcome in (*flapping, ANSWER):
        case, _ = decide(case, TimeCame(case.due), RULES)
        case, _ = decide(case, Reported(case.due - 0.9, case.task, outcome), RULES)
    assert isinstance(case.said, DbDown)
    assert case.said.reason.startswith("answers again, held for ")
    case, _ = decide(case, Asked(100.0, 42), RULES)
    case, actions = decide(case, Reported(100.1, case.task, ANSWER), RULES)
    assert actions == [Say(UP, 42)]


class Outage:
    """A database that is away from `begin` to `end`: it hangs, or it refuses."""

    def __init__(self, begin: float, end: float, *, hangs: bool) -> None:
        self.begin, self.end, self.hangs = begin, end, hangs

    def answer(self, asked: float) -> tuple[float, Outcome]:
        """When a check that starts at `asked` reports, and what."""
        if not self.begin <= asked < self.end:
            return asked + 0.01, ANSWER
        return (self.end + 0.01, ANSWER) if self.hangs else (asked + 0.01, DOWN)


def watched(outage: Outage, until: float, rules: Rules) -> list[tuple[float, Finding]]:
    """What is said when, in a world without any other delay."""
    case, events = Case(database="db1"), []
    reports: dict[int, tuple[float, Outcome]] = {}
    while case.due < until:
        at, outcome = reports.get(case.task, (case.due, ANSWER))
        came: Input
        if case.asked is not None and at <= case.due:
            came = Reported(at, case.task, outcome)
        else:
            at = case.due
            came = TimeCame(at)
        case, actions = decide(case, came, rules)
        for action in actions:
            if isinstance(action, HandOut):
                reports[action.task] = outage.answer(at)
            elif isinstance(action, Say):
                events.append((at, action.event))
    return events


@given(
    begin=st.floats(min_value=1.0, max_value=3.0),
    length=st.floats(min_value=2.0, max_value=600.0),
    hangs=st.booleans(),
)
def test_outage_of_any_length_is_seen_to_begin_and_end_within_2_s(
    begin: float, length: float, *, hangs: bool
) -> None:
    checks = CheckSettings()
    rules = Rules(every=checks.database_every, timeout=checks.database_timeout, limits=LIMITS)
    events = watched(Outage(begin, begin + length, hangs=hangs), begin + length + 10, rules)
    (_, up), (down_at, down), (up_at, up_again) = events
    assert isinstance(up, DbUp)
    assert isinstance(up_again, DbUp)
    assert isinstance(down, DbDown)
    assert down_at - begin < 2.0
    assert up_at - (begin + length) < 2.0


OUTCOMES: tuple[Outcome, ...] = (ANSWER, SLOW, FULL, BROKEN, READ_ONLY, LOCKED, WRONG, DOWN, LATE)


@given(st.lists(st.sampled_from(OUTCOMES), max_size=600))
def test_nothing_flaps_for_long_and_calm_brings_the_truth(outcomes: list[Outcome]) -> None:
    """Five minutes of anything: few changes are told; none is better than the worst of the last moment."""
    events = spoken(outcomes, begin("db1", None))
    states = [badness(event) for _, event in events]
    better = sum(later < earlier for earlier, later in pairwise(states))
    assert better <= 4 * 7, "each of four bounds lets go after 0, 3, 6, 12, 24, 48, 60 s"


@given(st.lists(st.sampled_from(OUTCOMES), max_size=60), st.sampled_from(OUTCOMES))
def test_what_lasts_is_told_in_the_end(outcomes: list[Outcome], last: Outcome) -> None:
    calm = int(LONGEST / RULES.every) + 12
    events = spoken([*outcomes, *[last] * calm], begin("db1", None))
    assert kinds([events[-1][1]]) == kinds(said([last]))


@given(st.lists(st.sampled_from(OUTCOMES), max_size=60))
def test_outage_is_told_at_once_whatever_was_before(outcomes: list[Outcome]) -> None:
    events = spoken([*outcomes, DOWN], begin("db1", None))
    assert isinstance(events[-1][1], DbDown)


@pytest.mark.parametrize("period", [1, 3, 6])
def test_database_that_flaps_for_minutes_is_told_up_at_most_thrice(period: int) -> None:
    """Up and down for `period` checks of half a second each, for ten minutes."""
    cycle: list[Outcome] = [*[ANSWER] * period, *[DOWN] * period]
    events = spoken(cycle * (1200 // len(cycle)), begin("db1", None))
    ups = [at for at, event in events if isinstance(event, DbUp)]
    assert len(ups) <= 3
    assert len(events) <= 3 + 3 + 6, "as many downs, and six times for how long it is held"
