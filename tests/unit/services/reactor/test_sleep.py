"""Decisions about tenants that run on demand."""

from collections.abc import Sequence

import pytest
from msgspec import structs

from bus.events import (
    PackageReleased,
    ProcSleeping,
    RestartRequested,
    StartRequested,
    StopRequested,
    TenantIdle,
    UserModified,
)
from bus.model import PackageSettings, TenantSettings
from bus.sections import TenantDefaults
from services.reactor.actions import (
    AnyAction,
    BecameReady,
    Ended,
    Found,
    Heard,
    Kill,
    Knocked,
    Listen,
    Process,
    Spawn,
    Spawned,
    SpawnFailed,
    TenantEvent,
    Terminate,
    TimeCame,
)
from services.reactor.learn import learn
from services.reactor.placing import Verdict
from services.reactor.state import Backoff, Fatal, Running, Sleeping, Stopped, Stopping, Tenant, Waiting
from services.reactor.wants import Release, Shared, recount
from tests.unit.services.reactor.test_decide import NAME, OURS, SHARED, Case, added, said
from tests.unit.services.reactor.world import release

KNOCKED = Knocked(tenant=NAME)
NEXT = Process(pid=8, started=80, boot="b")
IDLE = TenantIdle(tenant=NAME, pid=OURS.pid, started=OURS.started, idle_for=900.0, reason="idle")


def asleep(shared: Shared = SHARED, **settings: object) -> Case:
    case = Case(shared)
    case.hear(added(start="on-demand", **settings))
    return case


def awake(shared: Shared = SHARED, **settings: object) -> Case:
    case = asleep(shared, **settings)
    case.hear(KNOCKED)
    case.hear(Spawned(tenant=NAME, process=OURS, port=0))
    case.hear(BecameReady(tenant=NAME, process=OURS))
    assert isinstance(case.tenant.state, Running)
    return case


def kinds(actions: Sequence[AnyAction]) -> list[type[AnyAction]]:
    return [type(action) for action in actions]


def spawned(actions: Sequence[AnyAction]) -> Spawn:
    (spawn,) = [action for action in actions if isinstance(action, Spawn)]
    return spawn


def test_one_that_nobody_has_asked_for_sleeps_and_is_listened_for() -> None:
    case = Case()
    actions = case.hear(added(start="on-demand"))
    assert isinstance(case.tenant.state, Sleeping)
    assert Listen(tenant=NAME, release="shop-1.0") in actions
    assert said(actions) == ["PROC_SLEEPING"]


def test_a_visitor_comes_before_those_who_start_without_one() -> None:
    case = asleep()
    assert spawned(case.hear(KNOCKED)).again
    assert case.hear(KNOCKED) == []


@pytest.mark.parametrize("event", [StartRequested, RestartRequested])
def test_a_person_is_a_visitor(event: type[StartRequested | RestartRequested]) -> None:
    case = asleep()
    spawned(case.hear(event(tenant=NAME, by="ann")))


def test_a_plan_may_be_on_demand() -> None:
    case = Case(structs.replace(SHARED, plans={"free": TenantDefaults(start="on-demand")}))
    case.hear(added())
    assert isinstance(case.tenant.state, Sleeping)
    case.hear(
        UserModified(tenant=NAME, path="/t", settings=TenantSettings(package="shop", plan="paid"), stamp="")
    )
    assert case.tenant.state.shown == "STARTING"


def test_who_is_unused_ends_and_whoever_comes_meanwhile_gets_another_at_once() -> None:
    case = awake()
    actions = case.hear(IDLE)
    assert {Terminate, Listen} < set(kinds(actions))
    assert said(actions) == ["PROC_STOPPING"]
    actions = case.hear(KNOCKED)
    assert spawned(actions).beside == OURS
    assert said(actions) == []
    case.hear(Spawned(tenant=NAME, process=NEXT, port=0))
    actions = case.hear(BecameReady(tenant=NAME, process=NEXT))
    assert said(actions) == ["PROC_READY"]
    actions = case.hear(Ended(tenant=NAME, process=OURS, code=0, signal=""))
    assert said(actions) == ["PROC_EXITED"]
    assert isinstance(case.tenant.state, Running)


def test_who_must_be_alone_ends_first() -> None:
    case = awake(
        structs.replace(SHARED, releases={"shop-1.0": Release(seq=1, package=release("1.0", overlap=False))})
    )
    case.hear(IDLE)
    assert case.hear(KNOCKED) == []
    spawned(case.hear(Ended(tenant=NAME, process=OURS, code=0, signal="")))


def test_who_slipped_in_has_as_long_as_nobody_waits_for_the_end() -> None:
    case = awake(idle_stop="15m", stop_timeout=5.0)
    case.hear(IDLE)
    assert Kill not in kinds(case.hear(TimeCame(tenant=NAME), 899.0))
    assert Kill in kinds(case.hear(TimeCame(tenant=NAME), 2.0))


def test_a_stop_by_hand_is_in_more_of_a_hurry() -> None:
    case = awake(idle_stop="15m", stop_timeout=5.0)
    case.hear(IDLE)
    case.hear(StopRequested(tenant=NAME, by="ann"))
    assert Kill in kinds(case.hear(TimeCame(tenant=NAME), 5.0))
    case.hear(Ended(tenant=NAME, process=OURS, code=None, signal="SIGKILL"))
    assert isinstance(case.tenant.state, Stopped)
    assert case.hear(KNOCKED) == []


def test_only_the_process_that_is_named_is_unused() -> None:
    case = awake()
    assert case.hear(structs.replace(IDLE, started=71)) == []
    always = Case().run()
    assert always.hear(IDLE) == []


def test_after_a_crash_it_runs_for_who_comes() -> None:
    case = awake()
    actions = case.crash()
    assert said(actions) == ["PROC_EXITED", "PROC_SLEEPING"]
    spawned(case.hear(KNOCKED))


def test_many_crashes_pause_and_then_it_sleeps_until_somebody_comes() -> None:
    case = awake()
    case.crash()
    case.hear(KNOCKED)
    case.crash_again()
    assert isinstance(case.tenant.state, Backoff)
    assert case.hear(KNOCKED) == []
    actions = case.hear(TimeCame(tenant=NAME), case.tenant.state.until - case.at)
    assert said(actions) == ["PROC_SLEEPING"]
    assert len(case.tenant.record.failures) == 2


def test_who_cannot_start_is_fatal_until_it_can() -> None:
    case = asleep()
    case.hear(KNOCKED)
    case.hear(SpawnFailed(tenant=NAME, reason="no such entry", never=True))
    assert isinstance(case.tenant.state, Fatal)
    spawned(case.hear(TimeCame(tenant=NAME), 300.0))


def test_what_changes_while_it_sleeps_wakes_nobody() -> None:
    case = asleep()
    settings = TenantSettings(package="shop", start="on-demand", env={"A": "1"})
    assert case.hear(UserModified(tenant=NAME, path="/t", settings=settings, stamp="2")) == []
    shared = structs.replace(
        SHARED,
        releases={**SHARED.releases, "shop-1.1": Release(seq=2, package=release("1.1"))},
        newest={"shop": "shop-1.1"},
        databases={"db1": Verdict(seq=3, status="down", reason="no answer")},
    )
    assert case.settle(shared) == []
    case.hear(KNOCKED)
    assert isinstance(case.tenant.state, Waiting)  # for a database: only now it needs one
    up = structs.replace(shared, databases={"db1": Verdict(seq=4, status="up")})
    assert spawned(case.settle(up)).release == "shop-1.1"


def test_who_sleeps_takes_no_room_in_a_database() -> None:
    case = awake(structs.replace(SHARED, databases={"db1": Verdict(seq=1, status="up")}))
    before = case.tenant
    shared = recount(case.shared, Tenant(name=NAME), before)
    assert shared.loads["db1"].there == 1
    case.crash()
    assert isinstance(case.tenant.state, Sleeping)
    assert recount(shared, before, case.tenant).loads["db1"].there == 0


def test_what_runs_when_it_comes_to_run_on_demand_is_in_use_until_proved_otherwise() -> None:
    case = Case().run()
    assert case.hear(structs.replace(added(start="on-demand"), stamp="1")) == []
    assert Terminate in kinds(case.hear(IDLE))


def test_a_program_that_binds_its_port_itself_cannot_sleep() -> None:
    settings = PackageSettings(command=("serve", "{port}"))
    package = PackageReleased(
        release="shop-1.0", app="shop", version="1.0", path="", settings=settings, stamp=""
    )
    case = asleep(structs.replace(SHARED, releases={"shop-1.0": Release(seq=1, package=package)}))
    assert case.tenant.state.shown == "STARTING"


SLEPT = ProcSleeping(tenant=NAME)
START = StartRequested(tenant=NAME, by="ann")


def recalled(*events: TenantEvent) -> Case:
    """What a new reactor believes."""
    case = Case()
    for seq, event in enumerate((added(start="on-demand"), *events), 1):
        case.tenant = learn(case.tenant, Heard(seq=seq, event=event), case.at)
    return case


def test_a_new_reactor_lets_sleep_who_slept() -> None:
    assert kinds(recalled(SLEPT).settle(SHARED)) == [Listen]
    assert kinds(recalled(START, SLEPT).settle(SHARED)) == [Listen]
    spawned(recalled(SLEPT, START).settle(SHARED))


@pytest.mark.parametrize("stopping", [False, True])
def test_a_new_reactor_goes_on_with_what_runs(*, stopping: bool) -> None:
    case = recalled(SLEPT)
    found = Found(
        tenant=NAME,
        process=OURS,
        release="shop-1.0",
        database="",
        port=0,
        ready=True,
        stamp=f"{case.tenant.wish.stamp}@0",
        stopping=stopping,
    )
    case.tenant = learn(case.tenant, found, case.at)
    case.settle(SHARED)
    assert isinstance(case.tenant.state, Stopping if stopping else Running)
