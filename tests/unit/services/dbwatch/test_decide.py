from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.events import DbDown, DbMisconfigured, DbUp
from bus.settings import CheckSettings
from services.dbwatch.decide import (
    Action,
    Case,
    Finding,
    HandOut,
    Input,
    Replace,
    Reported,
    Rules,
    Say,
    TimeCame,
    decide,
)

RULES = Rules(every=0.5, timeout=1.0)
UP = DbUp(database="db1", reason="10.11")
DOWN = DbDown(database="db1", reason="Connection refused")
LATE = DbDown(database="db1", reason="no answer within 1 s", latency=1.0)
WRONG = DbMisconfigured(database="db1", key="databases.db1.password_file", reason="Access denied")
ALSO_WRONG = DbMisconfigured(database="db1", key="databases.db1.url", reason="Unknown database")


def after(*inputs: Input, case: Case | None = None) -> tuple[Case, list[Action]]:
    """The case and the actions of the last input."""
    case = case or Case(database="db1")
    actions: list[Action] = []
    for came in inputs:
        case, actions = decide(case, came, RULES)
    return case, actions


def said(findings: Iterable[Finding], before: Finding | None = None) -> list[Finding]:
    """What is said when check after check finds this."""
    case, spoken = Case(database="db1", said=before), []
    for finding in findings:
        case, _ = decide(case, TimeCame(case.due), RULES)
        case, actions = decide(case, Reported(case.due - 0.9, case.task, finding), RULES)
        spoken += [action.event for action in actions if isinstance(action, Say)]
    return spoken


def test_first_task_is_handed_out_at_once_with_a_deadline() -> None:
    case, actions = after(TimeCame(7.0))
    assert actions == [HandOut(1)]
    assert case.due == 8.0
    assert not case.judged


def test_checks_start_at_the_set_interval_however_long_they_take() -> None:
    case, actions = after(TimeCame(7.0), Reported(7.3, 1, UP))
    assert actions == [Say(UP)]
    assert case.judged
    assert case.due == 7.5
    assert after(TimeCame(7.4), case=case) == (case, [])
    assert after(TimeCame(7.5), case=case)[1] == [HandOut(2)]


def test_check_longer_than_the_interval_is_followed_by_the_next_at_once() -> None:
    case, _ = after(TimeCame(7.0), Reported(7.9, 1, UP))
    assert case.due == 7.9


def test_no_report_by_the_deadline_means_down_and_a_new_watchdog() -> None:
    case, actions = after(TimeCame(7.0), TimeCame(8.0))
    assert actions == [Say(LATE), Replace(), HandOut(2)]
    assert case.judged
    assert case.due == 9.0


def test_report_of_a_replaced_watchdog_counts_for_nothing() -> None:
    case, _ = after(TimeCame(7.0), TimeCame(8.0))
    assert after(Reported(8.1, 1, UP), case=case) == (case, [])


def test_report_that_comes_twice_counts_once() -> None:
    case, _ = after(TimeCame(7.0), Reported(7.1, 1, UP))
    assert after(Reported(7.2, 1, DOWN), case=case) == (case, [])


def test_nobody_is_judged_by_a_time_in_which_we_did_not_run() -> None:
    case, actions = after(TimeCame(7.0), TimeCame(100.0))
    assert actions == []
    assert not case.judged
    assert after(Reported(100.1, 1, UP), case=case)[1] == [Say(UP)]
    assert after(TimeCame(101.0), case=case)[1] == [Say(LATE), Replace(), HandOut(2)]


@pytest.mark.parametrize(
    ("findings", "spoken"),
    [
        ([UP, UP, UP], [UP]),
        ([UP, DOWN, DOWN, UP], [UP, DOWN, UP]),
        ([DOWN, LATE, DOWN], [DOWN]),
        ([UP, WRONG, WRONG, UP], [UP, WRONG, UP]),
        ([WRONG, DOWN, WRONG], [WRONG, DOWN, WRONG]),
        ([WRONG, ALSO_WRONG], [WRONG, ALSO_WRONG]),
        ([UP, DbUp(database="db1", reason="11.4", latency=0.5)], [UP]),
    ],
)
def test_only_changes_are_said(findings: list[Finding], spoken: list[Finding]) -> None:
    assert said(findings) == spoken


@pytest.mark.parametrize("state", [UP, DOWN, WRONG])
def test_after_a_restart_the_same_state_is_not_said_again(state: Finding) -> None:
    assert said([state, state], before=state) == []


def test_after_a_restart_a_change_is_said() -> None:
    assert said([DOWN], before=UP) == [DOWN]


class Outage:
    """A database that is away from `begin` to `end`: it hangs, or it refuses."""

    def __init__(self, begin: float, end: float, *, hangs: bool) -> None:
        self.begin, self.end, self.hangs = begin, end, hangs

    def answer(self, asked: float) -> tuple[float, Finding]:
        """When a check that starts at `asked` reports, and what."""
        if not self.begin <= asked < self.end:
            return asked + 0.01, UP
        return (self.end + 0.01, UP) if self.hangs else (asked + 0.01, DOWN)


def watched(outage: Outage, until: float, rules: Rules) -> list[tuple[float, Finding]]:
    """What is said when, in a world without any other delay."""
    case, spoken = Case(database="db1"), []
    reports: dict[int, tuple[float, Finding]] = {}
    while case.due < until:
        at, finding = reports.get(case.task, (case.due, UP))
        came: Input
        if case.asked is not None and at <= case.due:
            came = Reported(at, case.task, finding)
        else:
            at = case.due
            came = TimeCame(at)
        case, actions = decide(case, came, rules)
        for action in actions:
            if isinstance(action, HandOut):
                reports[action.task] = outage.answer(at)
            elif isinstance(action, Say):
                spoken.append((at, action.event))
    return spoken


@given(
    begin=st.floats(min_value=1.0, max_value=3.0),
    length=st.floats(min_value=2.0, max_value=600.0),
    hangs=st.booleans(),
)
def test_outage_of_any_length_is_seen_to_begin_and_end_within_2_s(
    begin: float, length: float, *, hangs: bool
) -> None:
    checks = CheckSettings()
    rules = Rules(every=checks.database_every, timeout=checks.database_timeout)
    spoken = watched(Outage(begin, begin + length, hangs=hangs), begin + length + 10, rules)
    (_, up), (down_at, down), (up_at, up_again) = spoken
    assert isinstance(up, DbUp)
    assert isinstance(up_again, DbUp)
    assert isinstance(down, DbDown)
    assert down_at - begin < 2.0
    assert up_at - (begin + length) < 2.0
