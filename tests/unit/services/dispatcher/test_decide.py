"""Histories of one tenant, as its page tells them look by look."""

from dataclasses import dataclass, field

import pytest
from msgspec import structs

from bus.events import ProcReady
from services.dispatcher import decide
from services.dispatcher.answers import failing
from services.dispatcher.decide import Case, Rules, Sight
from services.dispatcher.kinds import Claim, Kind, Sample, Thread

RULES = Rules(stuck_after=5.0, verify=0.3, lead=0.4)
IDLE = Sight(pid=7, started=70, ready_at=1.0, loops=10, requests=3)
BUSY = structs.replace(IDLE, busy_since=100.0, loops=11)
STOPPED = structs.replace(IDLE, stopped_since=100.0)
BEATING = structs.replace(IDLE, beat_at=100.0, beat_every=2.0, loops=0)
KNOWN = ProcReady(tenant="acme", pid=7, release="shop-1.0", database="db1", port=9000, restarts=2)


def seen(state: str, started: int = 70) -> Sample:
    main = Thread(number=7, state=state, wchan="0", ran=1.0, waited=0.0, naps=9)
    return Sample(at=105.0, started=started, threads=(main,))


@dataclass
class Looker:
    """Looks as the service does: follow, and convict when the verdict is due."""

    case: Case | None = None
    said: list[tuple[str, float]] = field(default_factory=list)

    def look(self, sight: Sight, at: float) -> None:
        before, self.case = self.case, decide.follow(self.case, sight, at, RULES)
        if before and decide.clears(before, sight, self.case):
            self.said.append(("recovered", at))
        if self.case and self.case.by_page and at >= decide.verdict_at(self.case, RULES):
            self.case = decide.convict(self.case)
            self.said.append(("stuck", at))

    def every(self, interval: float, sight: Sight, begin: float, end: float) -> None:
        for step in range(round((end - begin) / interval)):
            self.look(sight, round(begin + step * interval, 6))


@pytest.mark.parametrize(
    ("sight", "claim", "deadline"),
    [(BUSY, Claim.BUSY, 105.0), (STOPPED, Claim.STOPPED, 105.0), (BEATING, Claim.SILENT, 102.0)],
)
def test_convicted_once_at_its_deadline(sight: Sight, claim: Claim, deadline: float) -> None:
    looker = Looker()
    looker.every(0.1, sight, 100.0, 110.0)
    assert looker.said == [("stuck", deadline)]
    assert looker.case
    assert looker.case.claim is claim


@pytest.mark.parametrize("sight", [BUSY, STOPPED, BEATING])
def test_a_shorter_pause_says_nothing(sight: Sight) -> None:
    looker = Looker()
    looker.every(0.1, sight, 100.0, 101.9)
    looker.every(0.1, IDLE, 101.9, 120.0)
    assert looker.said == []
    assert looker.case is None


def test_idle_for_ever_is_healthy() -> None:
    looker = Looker()
    looker.every(0.5, IDLE, 100.0, 10_000.0)
    assert looker.said == []


def test_a_loop_that_comes_round_is_healthy_however_busy() -> None:
    looker = Looker()
    for turn in range(200):
        at = 100.0 + turn * 0.1
        looker.look(structs.replace(BUSY, busy_since=at - 4.9, loops=turn), at)
    assert looker.said == []


def test_one_look_alone_convicts_nobody() -> None:
    looker = Looker()
    looker.look(BUSY, 1_000.0)
    assert looker.said == []
    looker.look(BUSY, 1_000.2)
    assert looker.said == []
    looker.look(BUSY, 1_000.3)
    assert looker.said == [("stuck", 1_000.3)]


def test_watching_begins_anew_after_a_gap() -> None:
    looker = Looker()
    looker.every(0.1, BUSY, 100.0, 104.9)
    assert looker.case
    looker.case = decide.watch_anew(looker.case, 160.0)
    looker.look(BUSY, 160.0)
    assert looker.said == []
    looker.look(structs.replace(BUSY, busy_since=160.1, loops=12), 160.4)
    assert looker.case is None


def test_says_recovered_once_when_it_works_again() -> None:
    looker = Looker()
    looker.every(0.1, BUSY, 100.0, 107.0)
    looker.every(0.1, IDLE, 107.0, 109.0)
    assert looker.said == [("stuck", 105.0), ("recovered", 107.0)]


def test_each_stuck_period_is_said_once() -> None:
    looker = Looker()
    looker.every(0.1, BUSY, 100.0, 107.0)
    looker.every(0.1, IDLE, 107.0, 108.0)
    looker.every(0.1, structs.replace(BUSY, busy_since=108.0, loops=20), 108.0, 115.0)
    assert looker.said == [("stuck", 105.0), ("recovered", 107.0), ("stuck", 113.0)]


def test_a_verdict_stands_while_the_trouble_changes_its_face() -> None:
    looker = Looker()
    looker.every(0.1, BUSY, 100.0, 106.0)
    looker.every(0.1, structs.replace(BUSY, stopped_since=101.0), 106.0, 120.0)
    assert looker.said == [("stuck", 105.0)]


@pytest.mark.parametrize(
    "change",
    [{"ready_at": 0.0}, {"exited_at": 104.0}, {"stopping_at": 104.0}],
    ids=lambda change: next(iter(change)),
)
def test_who_starts_or_ends_is_not_judged(change: dict[str, float]) -> None:
    looker = Looker()
    looker.every(0.1, structs.replace(BUSY, **change), 100.0, 120.0)
    assert looker.said == []


def test_who_is_told_to_stop_has_not_recovered() -> None:
    looker = Looker()
    looker.every(0.1, BUSY, 100.0, 106.0)
    looker.look(structs.replace(IDLE, stopping_at=106.0), 106.0)
    assert looker.said == [("stuck", 105.0)]
    assert looker.case is None


@pytest.mark.parametrize("change", [{"pid": 8}, {"started": 71}])
def test_a_new_process_begins_without_guilt(change: dict[str, int]) -> None:
    looker = Looker()
    looker.every(0.1, BUSY, 100.0, 106.0)
    looker.every(0.1, structs.replace(IDLE, **change), 106.0, 120.0)
    assert looker.said == [("stuck", 105.0)]


def test_a_stop_explains_a_busy_loop() -> None:
    case = decide.suspect(structs.replace(BUSY, stopped_since=99.0), 105.0, RULES)
    assert case
    assert case.claim is Claim.STOPPED


@pytest.mark.parametrize("change", [{"beat_at": 0.0}, {"beat_every": 0.0}])
def test_who_never_sent_a_beat_owes_none(change: dict[str, float]) -> None:
    looker = Looker()
    looker.every(0.1, structs.replace(BEATING, **change), 100.0, 120.0)
    assert looker.said == []


# ---------------------------------------------------------------- HTTP checks


def test_only_an_answer_clears_a_failed_check() -> None:
    case = decide.deaf(IDLE, 100.0, 101.0)
    assert decide.follow(case, IDLE, 200.0, RULES) == case
    assert decide.follow(decide.convict(case), BUSY, 200.0, RULES) == decide.convict(case)


def test_the_page_knows_better_than_a_failed_check() -> None:
    case = decide.follow(decide.deaf(BUSY, 100.0, 101.0), BUSY, 105.0, RULES)
    assert case
    assert case.claim is Claim.BUSY


@pytest.mark.parametrize(
    ("sight", "at", "explained"),
    [(IDLE, 200.0, False), (BUSY, 100.2, False), (BUSY, 100.4, True), (STOPPED, 100.0, True)],
)
def test_what_the_page_says_explains_silence(sight: Sight, at: float, explained: object) -> None:
    assert decide.explains(sight, at, RULES) is explained


def test_a_failed_check_is_forgotten_with_its_process() -> None:
    case = decide.deaf(IDLE, 100.0, 101.0)
    assert decide.follow(case, structs.replace(IDLE, pid=8), 102.0, RULES) is None
    assert decide.follow(case, structs.replace(IDLE, stopping_at=101.5), 102.0, RULES) is None


@pytest.mark.parametrize("status", [200, 204, 302, 401, 404, 429])
def test_an_answer_is_life(status: int) -> None:
    assert failing(status) is None


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_is_not(status: int) -> None:
    wrong = failing(status)
    assert wrong
    assert wrong.kind is Kind.FAILING
    assert str(status) in wrong.words


# ---------------------------------------------------------------- the kernel's word, and ours


@pytest.mark.parametrize(
    ("sight", "state"), [(BUSY, "R"), (BUSY, "S"), (BUSY, "D"), (BUSY, "T"), (STOPPED, "T"), (STOPPED, "t")]
)
def test_the_kernel_proves(sight: Sight, state: str) -> None:
    case = decide.suspect(sight, 105.0, RULES)
    assert case
    assert decide.proves(seen("S"), seen(state), case)


@pytest.mark.parametrize(
    ("sight", "state", "started"), [(BUSY, "Z", 70), (BUSY, "X", 70), (BUSY, "R", 71), (STOPPED, "S", 70)]
)
def test_the_kernel_disproves(sight: Sight, state: str, started: int) -> None:
    case = decide.suspect(sight, 105.0, RULES)
    assert case
    assert not decide.proves(seen("S"), seen(state, started), case)


@pytest.mark.parametrize(
    ("parent", "heard"), [("S", True), ("R", True), ("", True), ("T", False), ("D", False)]
)
def test_beats_that_nobody_takes_may_have_been_sent(parent: str, heard: bool) -> None:  # noqa: FBT001
    one, other = seen("S"), structs.replace(seen("S"), parent=parent)
    case = decide.suspect(BEATING, 105.0, RULES)
    assert case
    assert decide.unheard(one, other, case) is decide.unheard(other, one, case) is not heard
    busy = decide.suspect(BUSY, 105.0, RULES)
    assert busy
    assert not decide.unheard(one, other, busy)


def test_what_has_not_been_reaped_for_long_is_nobody_elses_matter() -> None:
    case = decide.suspect(BUSY, 105.0, RULES)
    assert case
    assert decide.proves(seen("Z"), seen("Z"), case)


def test_stuck_tells_what_runs_and_what_the_kernel_sees() -> None:
    case = decide.suspect(BUSY, 105.0, RULES)
    assert case
    event = decide.stuck(case, KNOWN, 105.1, Kind.BUSY, decide.reason(case, seen("R"), 105.1))
    assert event.kind == "busy loop"
    assert event.reason == "loop busy for 5.1 s, state R, wchan 0"
    assert event.stuck_for == pytest.approx(5.1)
    assert (event.tenant, event.pid, event.started) == ("acme", 7, 70)
    assert (event.release, event.database, event.port, event.restarts) == ("shop-1.0", "db1", 9000, 2)
    assert decide.recovered(case, KNOWN).reason == "works again after: loop busy"
