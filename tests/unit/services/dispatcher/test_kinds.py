"""What two looks at a process tell about what is wrong with it."""

import pytest
from msgspec import structs

from services.dispatcher.kinds import Claim, Files, Kind, Sample, Thread, diagnose

MAIN = Thread(number=7, state="S", wchan="do_epoll_wait", ran=1.0, waited=0.5, naps=100)
OTHER = Thread(number=8, state="S", wchan="hrtimer_nanosleep", ran=0.1, waited=0.0, naps=40)
BEFORE = Sample(at=100.0, started=70, threads=(MAIN, OTHER))
SOME = Files(count=12, limit=1024)


def after(main: Thread = MAIN, *others: Thread) -> Sample:
    return Sample(at=100.5, started=70, threads=(main, *(others or (OTHER,))))


def test_a_loop_that_sleeps_somewhere_is_blocked() -> None:
    asleep = structs.replace(MAIN, wchan="hrtimer_nanosleep", naps=101)
    assert diagnose(Claim.BUSY, BEFORE, after(asleep), None) is Kind.BLOCKED


@pytest.mark.parametrize(("ran", "waited"), [(0.4, 0.0), (0.01, 0.4)])
def test_a_loop_that_runs_or_would_run_is_busy(ran: float, waited: float) -> None:
    busy = structs.replace(MAIN, state="R", ran=1.0 + ran, waited=0.5 + waited)
    assert diagnose(Claim.BUSY, BEFORE, after(busy), None) is Kind.BUSY


def test_whoever_asks_for_the_gil_and_never_gets_it_shows_a_deadlock() -> None:
    asking = structs.replace(OTHER, wchan="futex_do_wait", naps=40 + 100)
    assert diagnose(Claim.BUSY, BEFORE, after(MAIN, asking), None) is Kind.DEADLOCK


def test_whoever_asks_for_the_gil_may_just_be_awake() -> None:
    asking = structs.replace(OTHER, wchan="futex_do_wait")
    before = structs.replace(BEFORE, threads=(MAIN, asking))
    for state in "RS":  # S: it woke up before it was asked where it sleeps
        awake = structs.replace(OTHER, state=state, wchan="0", naps=40 + 100)
        assert diagnose(Claim.BUSY, before, after(MAIN, awake), None) is Kind.DEADLOCK
    woken = structs.replace(OTHER, state="S", wchan="0")
    before = structs.replace(BEFORE, threads=(MAIN, woken))
    assert diagnose(Claim.BUSY, before, after(MAIN, awake), None) is Kind.DEADLOCK


def test_a_thread_that_naps_often_asks_for_no_gil() -> None:
    napping = structs.replace(OTHER, naps=40 + 100)
    assert diagnose(Claim.BUSY, BEFORE, after(MAIN, napping), None) is Kind.BLOCKED


def test_a_thread_that_runs_with_the_gil_is_no_deadlock() -> None:
    asking = structs.replace(MAIN, wchan="futex_do_wait", naps=200)
    running = structs.replace(OTHER, state="R", ran=0.6)
    assert diagnose(Claim.BUSY, BEFORE, after(asking, running), None) is Kind.BUSY


def test_a_thread_that_was_not_there_before_tells_nothing() -> None:
    new = structs.replace(OTHER, number=9, wchan="futex_do_wait", naps=4000)
    assert diagnose(Claim.BUSY, BEFORE, after(MAIN, new), None) is Kind.BLOCKED


@pytest.mark.parametrize("claim", list(Claim))
@pytest.mark.parametrize(("state", "kind"), [("Z", Kind.ZOMBIE), ("T", Kind.STOPPED), ("t", Kind.STOPPED)])
def test_the_kernels_word_comes_first(claim: Claim, state: str, kind: Kind) -> None:
    assert diagnose(claim, BEFORE, after(structs.replace(MAIN, state=state)), SOME) is kind


def test_only_who_cannot_be_interrupted_at_either_look_is_uninterruptible() -> None:
    deep = structs.replace(MAIN, state="D")
    before = structs.replace(BEFORE, threads=(deep, OTHER))
    assert diagnose(Claim.BUSY, before, after(deep), None) is Kind.UNINTERRUPTIBLE
    assert diagnose(Claim.BUSY, BEFORE, after(deep), None) is Kind.BLOCKED


@pytest.mark.parametrize(("count", "kind"), [(1024, Kind.FULL), (1022, Kind.FULL), (1000, Kind.DEAF)])
def test_no_answer_for_want_of_descriptors(count: int, kind: Kind) -> None:
    assert diagnose(Claim.DEAF, BEFORE, after(), Files(count=count, limit=1024)) is kind


def test_who_has_no_limit_is_never_full() -> None:
    assert diagnose(Claim.DEAF, BEFORE, after(), Files(count=5, limit=0)) is Kind.DEAF


def test_no_beats_for_no_other_reason() -> None:
    assert diagnose(Claim.SILENT, BEFORE, after(), None) is Kind.SILENT


def test_a_process_has_ended_when_all_of_its_threads_have() -> None:
    dead = structs.replace(MAIN, state="Z")
    assert after(dead, structs.replace(OTHER, state="X")).ended
    assert not after(dead).ended
