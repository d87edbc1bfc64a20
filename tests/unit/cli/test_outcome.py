from bus.events import (
    AnyEvent,
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcReady,
    ProcReplaceFailed,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcWaiting,
    RestartRequested,
    StartRequested,
    StopRequested,
)
from cli.outcome import Outcome, Pursuit, Request
from tests.unit.cli.envelopes import envelope

START = StartRequested(tenant="acme", by="me@here")
STOP = StopRequested(tenant="acme", by="me@here")
RESTART = RestartRequested(tenant="acme", by="me@here")

NEW_READY = ProcReady(tenant="acme", pid=8)


def pursue(request: Request, *history: tuple[int, AnyEvent]) -> Outcome | None:
    """Ask with seq 10, and hear (cause, event) from seq 11 on; gives the first outcome."""
    pursuit = Pursuit(request, 10)
    for seq, (cause, event) in enumerate(history, 11):
        outcome = pursuit.hear(envelope(seq, event, cause=cause))
        if outcome:
            return outcome
    return None


def test_a_restart_is_followed_from_cause_to_cause() -> None:
    outcome = pursue(
        RESTART,
        (10, ProcStopping(tenant="acme", pid=7)),
        (11, ProcExited(tenant="acme", pid=7, code=0)),
        (12, ProcStarted(tenant="acme", pid=8)),
        (13, NEW_READY),
    )
    assert outcome == Outcome("acme", True, "RUNNING", 8, "")


def test_a_restart_is_done_when_the_new_process_serves_whatever_the_old_one_does_then() -> None:
    outcome = pursue(RESTART, (10, ProcStarted(tenant="acme", pid=8, serving=7)), (11, NEW_READY))
    assert outcome == Outcome("acme", True, "RUNNING", 8, "")


def test_a_restart_whose_new_process_fails_is_not_done_though_the_tenant_runs() -> None:
    failed = ProcReplaceFailed(tenant="acme", serving=7, reason="ended with exit code 1", retry_in=1.0)
    ended = ProcExited(tenant="acme", pid=8, serving=7, code=1)
    history = ((10, ProcStarted(tenant="acme", pid=8, serving=7)), (11, ended), (12, failed))
    reason = "ended with exit code 1; next try after 1 s"
    assert pursue(RESTART, *history) == Outcome("acme", False, "RUNNING", 7, reason)
    assert pursue(START, *history) == Outcome("acme", True, "RUNNING", 7, reason)


def test_what_something_else_has_caused_is_not_the_answer() -> None:
    assert pursue(RESTART, (3, ProcReady(tenant="acme", pid=7)), (3, ProcBackoff(tenant="acme"))) is None


def test_a_process_that_was_started_after_the_request_is_the_answer_whatever_came_between() -> None:
    outcome = pursue(RESTART, (4, ProcStarted(tenant="acme", pid=8)), (5, NEW_READY))
    assert outcome
    assert outcome.done


def test_failures_end_the_wait() -> None:
    ends: dict[AnyEvent, str] = {
        ProcBackoff(tenant="acme", reason="ended", failures=1, retry_in=1.0): "BACKOFF",
        ProcFatal(tenant="acme", reason="ended", failures=6, retry_in=300.0): "FATAL",
        ProcWaiting(tenant="acme", reason="no database"): "WAITING",
        ProcStopped(tenant="acme", reason="no such tenant"): "STOPPED",
    }
    for event, state in ends.items():
        outcome = pursue(START, (10, event))
        assert outcome
        assert (outcome.done, outcome.state) == (False, state)
        assert outcome.reason


def test_stop_is_done_when_the_tenant_is_stopped() -> None:
    stopping = (10, ProcStopping(tenant="acme", pid=7))
    assert pursue(STOP, stopping) is None
    assert pursue(STOP, stopping, (11, ProcStopped(tenant="acme"))) == Outcome(
        "acme", True, "STOPPED", None, ""
    )


def test_a_request_for_the_opposite_ends_the_wait_and_says_whose_it_was() -> None:
    outcome = pursue(START, (0, StopRequested(tenant="acme", by="you@there")))
    assert outcome
    assert not outcome.done
    assert "you@there" in outcome.reason


def test_a_request_for_the_same_is_as_good_as_ours() -> None:
    again = RestartRequested(tenant="acme", by="you@there")
    outcome = pursue(START, (0, again), (11, NEW_READY))
    assert outcome
    assert outcome.done


def test_other_tenants_and_earlier_events_do_not_count() -> None:
    pursuit = Pursuit(STOP, 10)
    assert pursuit.hear(envelope(11, ProcStopped(tenant="other"))) is None
    assert pursuit.hear(envelope(9, ProcStopped(tenant="acme"))) is None
