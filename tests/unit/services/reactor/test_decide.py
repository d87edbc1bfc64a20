"""Single decisions: from a state and something heard to a state and actions."""

from collections.abc import Sequence

import pytest
from msgspec import structs

from bus.events import (
    ProcBackoff,
    ProcExited,
    ProcFatal,
    ProcOversize,
    ProcReady,
    ProcRecovered,
    ProcReplaceFailed,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcStuck,
    RestartRequested,
    StartRequested,
    StopRequested,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from bus.model import Limits, PackageSettings, TenantSettings
from bus.sections import RestartSettings, TenantDefaults
from services.reactor.actions import (
    AnyAction,
    BecameReady,
    Ended,
    Forget,
    Found,
    Heard,
    Input,
    Kill,
    Process,
    Publish,
    Spawn,
    Spawned,
    SpawnFailed,
    TenantEvent,
    Terminate,
    TimeCame,
    WakeAt,
    Withdraw,
    Withdrawn,
)
from services.reactor.decide import decide, settle
from services.reactor.learn import learn
from services.reactor.placing import Verdict
from services.reactor.state import (
    Asked,
    Backoff,
    Exited,
    Fatal,
    Gone,
    Idle,
    Killing,
    Record,
    Replacing,
    Running,
    Starting,
    Stopped,
    Stopping,
    Tenant,
    Waiting,
    Withdrawing,
)
from services.reactor.steps import KILL_AGAIN
from services.reactor.wants import Release, Shared
from tests.unit.services.reactor.world import release

NAME = "acme"
OURS = Process(pid=7, started=70, boot="b")
STRANGER = Process(pid=7, started=71, boot="b")
SHARED = Shared(
    defaults=TenantDefaults(start_timeout=30.0, stop_timeout=10.0),
    restart=RestartSettings(
        backoff=1.0,
        backoff_max=4.0,
        jitter=0.0,
        fatal_after=6,
        window=100.0,
        stable_after=50.0,
        fatal_retry=300.0,
    ),
    releases={"shop-1.0": Release(seq=1, package=release("1.0"))},
    newest={"shop": "shop-1.0"},
)


class Case:
    """One tenant, to whom things happen one after the other."""

    def __init__(self, shared: Shared = SHARED) -> None:
        self.tenant = Tenant(name=NAME)
        self.shared = shared
        self.seq = 0
        self.at = 1000.0

    def hear(self, heard: Input | TenantEvent, after: float = 0.0) -> Sequence[AnyAction]:
        self.at += after
        if isinstance(heard, TenantEvent):
            self.seq += 1
            heard = Heard(seq=self.seq, event=heard)
        self.tenant, actions = decide(self.tenant, self.shared, heard, self.at)
        return actions

    def settle(self, shared: Shared) -> Sequence[AnyAction]:
        self.shared = shared
        self.tenant, actions = settle(self.tenant, shared, self.at)
        return actions

    def run(self) -> "Case":
        self.hear(added())
        self.hear(Spawned(tenant=NAME, process=OURS, port=0))
        self.hear(BecameReady(tenant=NAME, process=OURS))
        return self

    def crash(self, after: float = 0.0, code: int | None = 1) -> Sequence[AnyAction]:
        return self.hear(Ended(tenant=NAME, process=OURS, code=code, signal=""), after)

    def crash_again(self, served: float = 0.0) -> Sequence[AnyAction]:
        """Start, serve for a while, crash."""
        if isinstance(self.tenant.state, Backoff | Fatal):
            self.hear(TimeCame(tenant=NAME), self.tenant.state.until - self.at)
        self.hear(Spawned(tenant=NAME, process=OURS, port=0))
        self.hear(BecameReady(tenant=NAME, process=OURS))
        return self.crash(served)


def added(**settings: object) -> UserAdded:
    chosen = TenantSettings(package="shop", **settings)  # type: ignore[arg-type]  # a table of cases
    return UserAdded(tenant=NAME, path="/t", settings=chosen, stamp="1", secrets="s")


def said(actions: Sequence[AnyAction]) -> list[str]:
    return [action.event.type for action in actions if isinstance(action, Publish)]


def done(actions: Sequence[AnyAction]) -> list[str]:
    """The actions but for what is said."""
    return [type(action).__name__ for action in actions if not isinstance(action, Publish)]


# ---------------------------------------------------------------- start


def test_a_wanted_tenant_is_spawned_and_told_of_step_by_step() -> None:
    case = Case()
    assert done(case.hear(added())) == ["Spawn"]
    assert case.hear(added()) == []
    actions = case.hear(Spawned(tenant=NAME, process=OURS, port=8000))
    assert actions == [
        Publish(
            tenant=NAME,
            event=ProcStarted(tenant=NAME, pid=7, release="shop-1.0", port=8000, started=70),
        ),
        WakeAt(tenant=NAME, at=1030.0),
    ]
    actions = case.hear(BecameReady(tenant=NAME, process=OURS), 0.1)
    assert actions == [
        Publish(tenant=NAME, event=ProcReady(tenant=NAME, pid=7, release="shop-1.0", port=8000, started=70))
    ]
    assert isinstance(case.tenant.state, Running)
    assert case.hear(TimeCame(tenant=NAME), 30.0) == []


def test_a_start_that_takes_too_long_is_killed_and_counts() -> None:
    case = Case()
    case.hear(added())
    case.hear(Spawned(tenant=NAME, process=OURS, port=0))
    assert case.hear(TimeCame(tenant=NAME), 29.9) == [WakeAt(tenant=NAME, at=1030.0)]  # the alarm was early
    assert done(case.hear(TimeCame(tenant=NAME), 0.1)) == ["Kill", "WakeAt"]
    actions = case.crash(code=None)
    assert said(actions) == ["PROC_EXITED"]
    assert isinstance(actions[0], Publish)
    assert isinstance(actions[0].event, ProcExited)
    assert (actions[0].event.expected, actions[0].event.reason) == (False, "not ready within 30 s")
    assert not actions[0].spontaneous
    assert len(case.tenant.record.failures) == 1


def test_a_start_that_cannot_be_is_paused_first_and_never_counted_as_restart() -> None:
    case = Case()
    case.hear(added())
    actions = case.hear(SpawnFailed(tenant=NAME, reason="no memory", never=False))
    assert said(actions) == ["PROC_BACKOFF"]
    assert done(actions) == ["WakeAt"]
    actions = case.hear(TimeCame(tenant=NAME), 1.0)
    assert done(actions) == ["Spawn"]
    assert case.tenant.record.restarts == 0
    actions = case.hear(SpawnFailed(tenant=NAME, reason="no such entry", never=True))
    assert said(actions) == ["PROC_FATAL"]


def test_the_same_failure_once_more_is_told_once_more() -> None:
    case = Case()
    case.hear(added())
    retry = SHARED.restart.fatal_retry
    for turn in range(3):
        actions = case.hear(SpawnFailed(tenant=NAME, reason="no such entry", never=True), turn * retry)
        assert said(actions) == ["PROC_FATAL"]
        assert done(case.hear(TimeCame(tenant=NAME), (turn + 1) * retry)) == ["Spawn"]


# ---------------------------------------------------------------- failures


def test_a_crash_starts_again_at_once_ahead_of_others_and_begins_a_chain_of_causes() -> None:
    case = Case().run()
    actions = case.crash()
    assert said(actions) == ["PROC_EXITED"]
    assert isinstance(actions[0], Publish)
    assert actions[0].spontaneous
    spawn = actions[1]
    assert isinstance(spawn, Spawn)
    assert spawn.again
    assert case.tenant.record.restarts == 1


def test_pauses_double_up_to_their_limit_then_fatal() -> None:
    case = Case().run()
    case.crash()
    pauses = []
    for _ in range(4):
        case.crash_again()
        assert isinstance(case.tenant.state, Backoff)
        pauses.append(case.tenant.state.pause)
    assert pauses == [1.0, 2.0, 4.0, 4.0]
    actions = case.crash_again()
    event = actions[-2]
    assert isinstance(event, Publish)
    assert isinstance(event.event, ProcFatal)
    assert (event.event.failures, event.event.retry_in, event.event.restarts) == (6, 300.0, 5)
    assert isinstance(case.tenant.state, Fatal)


def test_one_more_failure_after_fatal_is_fatal_again_until_it_served_for_a_while() -> None:
    case = Case().run()
    case.crash(code=3)
    assert isinstance(case.tenant.state, Fatal)
    case.crash_again()
    assert isinstance(case.tenant.state, Fatal)
    case.crash_again(served=51.0)
    assert isinstance(case.tenant.state, Asked)


def test_failures_are_forgotten_after_good_service_and_out_of_the_window() -> None:
    case = Case().run()
    case.crash()
    case.crash_again()
    case.crash_again(served=50.0)
    assert isinstance(case.tenant.state, Asked)
    case.crash_again(served=49.0)
    assert isinstance(case.tenant.state, Backoff)
    assert case.tenant.state.failures == 2


def test_chance_takes_a_part_of_the_pause_and_is_the_same_each_time() -> None:
    shared = structs.replace(SHARED, restart=structs.replace(SHARED.restart, jitter=0.5))
    pauses = set()
    for _ in range(2):
        case = Case(shared).run()
        case.crash()
        case.crash_again()
        assert isinstance(case.tenant.state, Backoff)
        pauses.add(case.tenant.state.pause)
    assert len(pauses) == 1
    assert 0.5 < pauses.pop() < 1.0


READ_ONLY = Verdict(seq=1, status="unwritable", lost_at=1)


def test_who_fails_on_a_database_that_takes_no_writes_pauses_and_is_never_fatal() -> None:
    case = Case(structs.replace(SHARED, databases={"db1": READ_ONLY})).run()
    assert done(case.crash()) == ["Spawn"]
    pauses = []
    for code in (1, 3, 1, 3, 1, 3):
        case.hear(Spawned(tenant=NAME, process=OURS, port=0))
        assert "Spawn" not in done(case.crash(code=code))
        assert isinstance(case.tenant.state, Backoff)
        pauses.append(case.tenant.state.pause)
        case.hear(TimeCame(tenant=NAME), pauses[-1])
    assert pauses == [1.0, 2.0, 4.0, 4.0, 4.0, 4.0]


def test_failures_on_a_database_that_took_no_writes_are_forgotten_when_it_does() -> None:
    read_only = structs.replace(SHARED, databases={"db1": READ_ONLY})
    writable = structs.replace(SHARED, databases={"db1": Verdict(seq=2, status="up")})
    case = Case(read_only).run()
    case.crash()
    for _ in range(6):
        case.crash_again()
    assert done(case.settle(writable)) == ["Spawn"]
    assert case.tenant.record.failures == ()
    case.settle(read_only)
    case.crash_again()
    for _ in range(6):
        case.crash_again()
    case.hear(TimeCame(tenant=NAME), 4.0)
    case.settle(writable)
    case.hear(SpawnFailed(tenant=NAME, reason="no memory", never=False))
    assert isinstance(case.tenant.state, Backoff)
    assert case.tenant.state.failures == 1


@pytest.mark.parametrize(
    "release_event",
    [
        StartRequested(tenant=NAME, by="ann"),
        RestartRequested(tenant=NAME, by="ann"),
        UserModified(
            tenant=NAME,
            path="/t",
            settings=TenantSettings(package="shop", env={"A": "1"}),
            stamp="2",
            secrets="s",
        ),
    ],
)
def test_what_releases_from_fatal(release_event: TenantEvent) -> None:
    case = Case().run()
    case.crash(code=3)
    assert done(case.hear(release_event)) == ["Spawn"]
    assert case.tenant.record.failures == ()
    assert not case.tenant.record.probation


def test_a_new_release_releases_from_fatal_as_does_a_mended_one() -> None:
    for package in (release("1.1"), release("1.0", stamp="mended")):
        case = Case().run()
        case.crash()
        case.hear(Spawned(tenant=NAME, process=OURS, port=0))
        case.crash(code=3)
        releases = {package.release: Release(seq=9, package=package)}
        shared = structs.replace(SHARED, releases=releases, newest={"shop": package.release})
        assert done(case.settle(shared)) == ["Spawn"]


# ---------------------------------------------------------------- stop


def test_stop_asks_first_and_kills_in_the_end() -> None:
    case = Case().run()
    actions = case.hear(StopRequested(tenant=NAME, by="ann"))
    assert done(actions) == ["Terminate", "WakeAt"]
    assert said(actions) == ["PROC_STOPPING"]
    assert isinstance(case.tenant.state, Stopping)
    assert said(case.hear(StopRequested(tenant=NAME, by="ann"))) == ["PROC_STOPPING"]
    actions = case.hear(TimeCame(tenant=NAME), 10.0)
    assert done(actions) == ["Kill", "WakeAt"]
    actions = case.hear(TimeCame(tenant=NAME), KILL_AGAIN)
    assert done(actions) == ["Kill", "WakeAt"]
    assert said(actions) == ["PROC_STOPPING"]
    actions = case.hear(TimeCame(tenant=NAME), KILL_AGAIN)
    assert done(actions) == ["Kill", "WakeAt"]
    assert said(actions) == []
    assert case.hear(TimeCame(tenant=NAME), 1.0) == [WakeAt(tenant=NAME, at=case.at + KILL_AGAIN - 1.0)]
    actions = case.crash(code=None)
    assert said(actions) == ["PROC_EXITED", "PROC_STOPPED"]
    assert isinstance(case.tenant.state, Stopped)
    assert case.tenant.record.restarts == 0


def test_a_tenant_of_its_own_mind_about_stopping() -> None:
    case = Case()
    case.hear(added(stop_timeout=0.0))
    case.hear(Spawned(tenant=NAME, process=OURS, port=0))
    assert done(case.hear(StopRequested(tenant=NAME, by="ann"))) == ["Terminate", "Kill", "WakeAt"]


def test_a_start_that_waits_is_withdrawn() -> None:
    case = Case()
    case.hear(added())
    assert case.hear(StopRequested(tenant=NAME, by="ann")) == [Withdraw(tenant=NAME)]
    assert isinstance(case.tenant.state, Withdrawing)
    assert said(case.hear(Withdrawn(tenant=NAME))) == ["PROC_STOPPED"]
    assert case.hear(Withdrawn(tenant=NAME)) == []


def test_a_start_withdrawn_too_late_is_stopped() -> None:
    case = Case()
    case.hear(added())
    case.hear(StopRequested(tenant=NAME, by="ann"))
    actions = case.hear(Spawned(tenant=NAME, process=OURS, port=0))
    assert [a for a in actions if isinstance(a, Terminate)] == [Terminate(tenant=NAME, process=OURS)]
    case = Case()
    case.hear(added())
    case.hear(StopRequested(tenant=NAME, by="ann"))
    assert said(case.hear(SpawnFailed(tenant=NAME, reason="", never=True))) == ["PROC_STOPPED"]


def test_a_deleted_tenant_is_stopped_and_forgotten_once() -> None:
    case = Case().run()
    assert done(case.hear(UserDeleted(tenant=NAME))) == ["Terminate", "WakeAt"]
    actions = case.crash(code=0)
    assert Forget(tenant=NAME) in actions
    assert isinstance(case.tenant.state, Gone)
    assert case.hear(UserDeleted(tenant=NAME)) == []
    assert done(case.hear(added())) == ["Spawn"]
    assert case.tenant.record.restarts == 0


@pytest.mark.parametrize("request_event", [StartRequested, StopRequested, RestartRequested])
def test_requests_for_nobody_are_answered_and_touch_nothing(request_event: type[StartRequested]) -> None:
    case = Case()
    actions = case.hear(request_event(tenant=NAME, by="ann"))
    assert said(actions) == ["PROC_STOPPED"]
    assert done(actions) == []


def test_what_is_so_already_is_said_again_to_who_asks() -> None:
    case = Case().run()
    (action,) = case.hear(StartRequested(tenant=NAME, by="ann"))
    assert isinstance(action, Publish)
    assert isinstance(action.event, ProcReady)
    assert action.event.reason == "already running"
    case.hear(StopRequested(tenant=NAME, by="ann"))
    case.crash(code=0)
    (action,) = case.hear(StopRequested(tenant=NAME, by="bob"))
    assert isinstance(action, Publish)
    assert isinstance(action.event, ProcStopped)
    assert action.event.by == "bob"
    (action,) = case.hear(StopRequested(tenant=NAME, by="bob"))
    assert said([action]) == ["PROC_STOPPED"]


def test_somebody_who_asks_a_tenant_that_waits_is_told_why() -> None:
    case = Case(Shared())
    assert said(case.hear(added())) == ["PROC_WAITING"]
    assert said(case.hear(StartRequested(tenant=NAME, by="ann"))) == ["PROC_WAITING"]
    case.hear(RestartRequested(tenant=NAME, by="ann"))
    assert isinstance(case.tenant.state, Waiting)


# ---------------------------------------------------------------- whose news it is


def test_strangers_are_no_concern_of_ours() -> None:
    case = Case()
    case.hear(added())
    case.hear(Spawned(tenant=NAME, process=OURS, port=0))
    assert case.hear(BecameReady(tenant=NAME, process=STRANGER)) == []
    assert isinstance(case.tenant.state, Starting)
    case.hear(BecameReady(tenant=NAME, process=OURS))
    before = case.tenant
    for heard in (
        Ended(tenant=NAME, process=STRANGER, code=1, signal=""),
        Spawned(tenant=NAME, process=STRANGER, port=0),
        SpawnFailed(tenant=NAME, reason="", never=True),
        BecameReady(tenant=NAME, process=STRANGER),
        Found(tenant=NAME, process=STRANGER, release="", database="", port=0, ready=True, stamp=""),
    ):
        assert case.hear(heard) == []
    for pid, started in ((7, 71), (8, 70)):
        assert case.hear(ProcStuck(tenant=NAME, pid=pid, started=started, stuck_for=9.0)) == []
    for event in (
        UserInvalid(tenant=NAME, file="f", key="", line=0, reason="", stamp="2"),
        ProcRecovered(tenant=NAME),
        ProcBackoff(tenant=NAME, restarts=99),
    ):
        assert case.hear(event) == []
    assert case.tenant == before


def test_stuck_is_killed_at_once_and_counts() -> None:
    case = Case().run()
    actions = case.hear(ProcStuck(tenant=NAME, pid=7, started=70, stuck_for=5.04))
    assert done(actions) == ["Kill", "WakeAt"]
    assert isinstance(case.tenant.state, Killing)
    actions = case.crash(code=None)
    assert said(actions) == ["PROC_EXITED"]
    assert isinstance(actions[0], Publish)
    assert not actions[0].spontaneous
    assert case.tenant.record.restarts == 1
    assert len(case.tenant.record.failures) == 1


def test_one_that_has_grown_too_large_is_replaced_once_and_has_not_failed() -> None:
    case = Case().run()
    large = ProcOversize(tenant=NAME, pid=7, started=70, reason="400 MiB in use")
    actions = case.hear(large)
    assert done(actions) == ["Spawn"]
    assert isinstance(case.tenant.state, Replacing)
    assert case.tenant.state.reason == "400 MiB in use"
    assert case.hear(large) == []  # said once more
    case.hear(Spawned(tenant=NAME, process=NEW, port=0))
    case.hear(BecameReady(tenant=NAME, process=NEW))
    case.hear(large)
    assert isinstance(case.tenant.state, Running)
    assert case.tenant.state.run.process == NEW
    assert case.tenant.record.failures == ()


def test_a_restart_by_hand_is_no_matter_of_size() -> None:
    case = Case().run()
    case.hear(ProcOversize(tenant=NAME, pid=7, started=70, reason="400 MiB in use"))
    case.hear(RestartRequested(tenant=NAME, by="me@here"))
    assert case.tenant.order.oversize == ""


def test_the_soft_limit_alone_is_no_reason_to_replace() -> None:
    case = Case().run()
    soft = TenantSettings(package="shop", limits=Limits(memory_soft="1M"))
    case.hear(UserModified(tenant=NAME, path="/t", settings=soft, stamp="2", secrets="s"))
    assert isinstance(case.tenant.state, Running)


def test_stuck_before_it_was_ready() -> None:
    case = Case()
    case.hear(added())
    case.hear(Spawned(tenant=NAME, process=OURS, port=0))
    assert Kill(tenant=NAME, process=OURS) in case.hear(
        ProcStuck(tenant=NAME, pid=7, started=70, stuck_for=5.0)
    )


def test_a_stuck_one_that_ends_by_itself_before_it_is_killed_has_failed_all_the_same() -> None:
    tenant = Case().run().tenant
    for heard in (
        Heard(seq=9, event=ProcStuck(tenant=NAME, pid=7, started=70, stuck_for=5.0)),
        Ended(tenant=NAME, process=OURS, code=None, signal="SIGSEGV"),
    ):
        tenant = learn(tenant, heard, 1010.0)
    assert isinstance(tenant.state, Exited)
    assert (tenant.state.failure, tenant.state.served) == ("ended by SIGSEGV", 10.0)


# ---------------------------------------------------------------- replacing

NEW = Process(pid=8, started=80, boot="b")
OTHERS = UserModified(
    tenant=NAME, path="/t", settings=TenantSettings(package="shop", env={"A": "1"}), stamp="2", secrets="s"
)


def replacing() -> Case:
    case = Case().run()
    case.hear(RestartRequested(tenant=NAME, by="ann"))
    case.hear(Spawned(tenant=NAME, process=NEW, port=0))
    return case


def end_of(process: Process, code: int | None = 0) -> Ended:
    return Ended(tenant=NAME, process=process, code=code, signal="")


def test_the_old_process_serves_until_the_new_one_does() -> None:
    case = Case().run()
    (spawn,) = case.hear(RestartRequested(tenant=NAME, by="ann"))
    assert isinstance(spawn, Spawn)
    assert spawn.beside == OURS
    (started,) = case.hear(Spawned(tenant=NAME, process=NEW, port=0))
    assert isinstance(started, Publish)
    assert isinstance(started.event, ProcStarted)
    assert (started.event.pid, started.event.serving) == (8, 7)
    assert started.event.reason == "restart requested by ann"
    actions = case.hear(BecameReady(tenant=NAME, process=NEW))
    assert said(actions) == ["PROC_READY", "PROC_STOPPING"]
    assert actions[1] == Terminate(tenant=NAME, process=OURS)
    actions = case.hear(end_of(OURS))
    assert [a.event for a in actions if isinstance(a, Publish)] == [
        ProcExited(tenant=NAME, pid=7, release="shop-1.0", code=0, expected=True, serving=8)
    ]
    assert isinstance(case.tenant.state, Running)
    assert case.tenant.state.run.process == NEW
    assert case.tenant.leaving is None
    assert case.tenant.record == Record()


def test_a_third_process_waits_until_the_first_has_left() -> None:
    case = replacing()
    case.hear(BecameReady(tenant=NAME, process=NEW))
    assert case.hear(RestartRequested(tenant=NAME, by="ann")) == [WakeAt(tenant=NAME, at=case.at + 10.0)]
    assert done(case.hear(TimeCame(tenant=NAME), 10.0)) == ["Kill", "WakeAt"]
    assert done(case.hear(end_of(OURS, None))) == ["Spawn"]


def test_a_replaced_process_has_long_to_finish_while_nothing_waits_for_it() -> None:
    case = replacing()
    actions = case.hear(BecameReady(tenant=NAME, process=NEW))
    assert actions[-1] == WakeAt(tenant=NAME, at=case.at + 60.0)
    assert done(case.hear(TimeCame(tenant=NAME), 59.0)) == ["WakeAt"]
    assert done(case.hear(TimeCame(tenant=NAME), 1.0)) == ["Kill", "WakeAt"]


def test_a_tenant_has_a_time_to_finish_of_its_own() -> None:
    case = replacing()
    case.hear(added(drain_timeout=5.0))
    actions = case.hear(BecameReady(tenant=NAME, process=NEW))
    assert actions[-1] == WakeAt(tenant=NAME, at=case.at + 5.0)


def test_a_replaced_process_is_hurried_when_its_tenant_is_stopped() -> None:
    case = replacing()
    case.hear(BecameReady(tenant=NAME, process=NEW))
    assert done(case.hear(StopRequested(tenant=NAME, by="ann"), 30.0)) == ["Terminate", "WakeAt"]
    assert done(case.hear(TimeCame(tenant=NAME), 10.0)) == ["Kill", "Kill", "WakeAt"]


def test_a_replaced_process_is_hurried_when_nothing_may_start_beside_it() -> None:
    case = replacing()
    case.hear(BecameReady(tenant=NAME, process=NEW))
    package = structs.replace(release("1.0"), settings=PackageSettings(entry="a:b", overlap=False))
    releases = {"shop-1.0": Release(seq=2, package=package)}
    case.shared = structs.replace(case.shared, releases=releases)
    case.hear(end_of(NEW, 1))
    assert isinstance(case.tenant.state, Stopping)
    assert (case.tenant.state.run.process, case.tenant.state.kill_at) == (OURS, case.at + 10.0)


def test_a_new_process_that_fails_is_told_of_and_tried_again_after_a_pause() -> None:
    case = replacing()
    actions = case.hear(end_of(NEW, 1))
    assert said(actions) == ["PROC_EXITED", "PROC_REPLACE_FAILED"]
    failed = actions[1]
    assert isinstance(failed, Publish)
    assert isinstance(failed.event, ProcReplaceFailed)
    assert (failed.event.serving, failed.event.failures, failed.event.retry_in) == (7, 1, 1.0)
    assert case.tenant.state.shown == "RUNNING"
    assert done(case.hear(TimeCame(tenant=NAME), 1.0)) == ["Spawn"]
    case.hear(Spawned(tenant=NAME, process=NEW, port=0))
    case.hear(end_of(NEW, 3))
    assert case.tenant.record.probation
    assert case.tenant.record.restarts == 0
    for again in (StartRequested(tenant=NAME, by="ann"), RestartRequested(tenant=NAME, by="ann"), OTHERS):
        assert done(case.hear(again)) == ["Spawn"]
        case.hear(SpawnFailed(tenant=NAME, reason="no memory", never=True))


def test_a_new_process_that_is_not_ready_in_time_is_killed() -> None:
    case = replacing()
    assert done(case.hear(TimeCame(tenant=NAME), 30.0)) == ["Kill", "WakeAt"]
    assert said(case.hear(end_of(NEW, None))) == ["PROC_EXITED", "PROC_REPLACE_FAILED"]


def test_the_new_one_is_all_there_is_when_the_old_one_crashes() -> None:
    case = replacing()
    actions = case.hear(end_of(OURS, 1))
    assert said(actions) == ["PROC_EXITED", "PROC_STARTED"]
    assert isinstance(actions[0], Publish)
    assert actions[0].spontaneous
    assert isinstance(case.tenant.state, Starting)
    assert said(case.hear(BecameReady(tenant=NAME, process=NEW))) == ["PROC_READY"]


def test_the_new_one_is_all_there_is_when_the_old_one_is_stuck() -> None:
    case = replacing()
    actions = case.hear(ProcStuck(tenant=NAME, pid=7, started=70, stuck_for=5.0))
    assert Kill(tenant=NAME, process=OURS) in actions
    assert isinstance(case.tenant.state, Starting)
    assert said(case.hear(end_of(OURS, None))) == ["PROC_EXITED", "PROC_STARTED"]


def test_what_cannot_be_started_leaves_the_old_one_serving_and_says_why() -> None:
    case = Case().run()
    settings = TenantSettings(package="shop==9")
    actions = case.hear(UserModified(tenant=NAME, path="/t", settings=settings, stamp="2", secrets="s"))
    assert said(actions) == ["PROC_REPLACE_FAILED"]
    assert done(actions) == []
    package = release("9")
    releases = {**SHARED.releases, package.release: Release(seq=9, package=package)}
    assert done(case.settle(structs.replace(SHARED, releases=releases))) == ["Spawn"]


def test_who_must_be_alone_ends_first() -> None:
    package = release("1.0", overlap=False)
    case = Case(structs.replace(SHARED, releases={package.release: Release(seq=1, package=package)})).run()
    actions = case.hear(RestartRequested(tenant=NAME, by="ann"))
    assert done(actions) == ["Terminate", "WakeAt"]
    assert done(case.hear(end_of(OURS))) == ["Spawn"]


def test_a_restart_while_one_is_under_way_begins_anew() -> None:
    case = replacing()
    actions = case.hear(RestartRequested(tenant=NAME, by="bob"))
    assert [a for a in actions if isinstance(a, Terminate)] == [Terminate(tenant=NAME, process=NEW)]
    assert "PROC_READY" not in said(actions)
    assert done(case.hear(end_of(NEW))) == ["Spawn"]


# ---------------------------------------------------------------- after a restart of the reactor


def found(*, ready: bool = True, stamp: str | None = None) -> Found:
    case = Case()
    (spawn,) = case.hear(added())
    assert isinstance(spawn, Spawn)
    return Found(
        tenant=NAME,
        process=OURS,
        release="shop-1.0",
        database="",
        port=0,
        ready=ready,
        stamp=spawn.stamp if stamp is None else stamp,
    )


def test_what_runs_is_taken_over_as_it_is() -> None:
    tenant = learn(Tenant(name=NAME), Heard(seq=1, event=added()), 0.0)
    tenant = learn(tenant, found(), 0.0)
    tenant, actions = settle(tenant, SHARED, 0.0)
    (action,) = actions
    assert isinstance(action, Publish)
    assert isinstance(action.event, ProcReady)
    assert action.event.adopted
    starting = learn(learn(Tenant(name=NAME), Heard(seq=1, event=added()), 0.0), found(ready=False), 0.0)
    starting, actions = settle(starting, SHARED, 0.0)
    assert said(actions) == ["PROC_STARTED"]
    assert isinstance(starting.state, Starting)


@pytest.mark.parametrize("stamp", ["other@0", "", "spoilt", "a@b"])
def test_what_runs_on_other_settings_is_replaced(stamp: str) -> None:
    tenant = learn(Tenant(name=NAME), Heard(seq=1, event=added()), 0.0)
    _, actions = settle(learn(tenant, found(stamp=stamp), 0.0), SHARED, 0.0)
    assert done(actions) == ["Spawn"]


def test_an_end_that_nobody_saw_is_believed_of_the_last_process_only() -> None:
    told = (
        (ProcReady(tenant=NAME, pid=7, started=70, release="shop-1.0"), OURS, True),
        (ProcStarted(tenant=NAME, pid=7, started=70, release="shop-1.0"), OURS, True),
        (ProcStopping(tenant=NAME, pid=7, release="shop-1.0"), OURS, True),
        (ProcReady(tenant=NAME, pid=7, started=70, release="shop-1.0"), STRANGER, False),
        (ProcBackoff(tenant=NAME, release="shop-1.0"), OURS, False),
    )
    for event, process, believed in told:
        tenant = learn(Tenant(name=NAME), Heard(seq=2, event=event), 0.0)
        tenant = learn(tenant, Ended(tenant=NAME, process=process, code=None, signal=""), 0.0)
        assert isinstance(tenant.state, Exited if believed else Idle)


def test_what_was_said_before_is_remembered() -> None:
    tenant = Tenant(name=NAME)
    events: tuple[TenantEvent, ...] = (added(), ProcFatal(tenant=NAME, restarts=5, database="db1"))
    for seq, event in enumerate(events, 1):
        tenant = learn(tenant, Heard(seq=seq, event=event), 0.0)
    assert (tenant.record.restarts, tenant.database) == (5, "db1")
    tenant, _ = settle(tenant, SHARED, 0.0)
    tenant, actions = decide(tenant, SHARED, SpawnFailed(tenant=NAME, reason="still", never=False), 0.0)
    assert said(actions) == ["PROC_FATAL"]


def test_a_request_is_answered_even_by_the_next_reactor() -> None:
    stopped = ProcStopped(tenant=NAME, by="ann", reason="stop requested by ann")
    for order, answered in (((1, 2, 3), False), ((1, 3, 2), True)):
        tenant = Tenant(name=NAME)
        three: tuple[TenantEvent, ...] = (added(), StopRequested(tenant=NAME, by="ann"), stopped)
        events = dict(zip(order, three, strict=True))
        for seq in sorted(events):
            tenant = learn(tenant, Heard(seq=seq, event=events[seq]), 0.0)
        _, actions = settle(tenant, SHARED, 0.0)
        assert said(actions) == (["PROC_STOPPED"] if answered else [])


def test_the_end_of_the_product_stops_all_and_starts_nothing() -> None:
    case = Case().run()
    assert done(case.settle(structs.replace(SHARED, ending=True))) == ["Terminate", "WakeAt"]
    actions = case.crash(code=0)
    assert said(actions) == ["PROC_EXITED", "PROC_STOPPED"]
    assert done(actions) == []
