"""Named histories: each to its end, broken off anywhere, with each event doubled, with each pair swapped."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest

from bus.events import (
    AnyEvent,
    DbDown,
    DbMisconfigured,
    DbUp,
    PackageWithdrawn,
    ProcStuck,
    RestartRequested,
    StartRequested,
    StopRequested,
    TenantIdle,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from bus.model import TenantSettings
from tests.unit.services.reactor.truth import check
from tests.unit.services.reactor.world import World, release

ACME = "acme"
Step: TypeAlias = AnyEvent | Callable[[World], object]


def added(**settings: object) -> UserAdded:
    return UserAdded(
        tenant=ACME,
        path="/t",
        settings=TenantSettings(package="shop", **settings),  # type: ignore[arg-type]  # a table of cases
        stamp="1",
        secrets="s1",
    )


def modified(secrets: str = "s1", **settings: object) -> UserModified:
    return UserModified(
        tenant=ACME,
        path="/t",
        settings=TenantSettings(package="shop", **settings),  # type: ignore[arg-type]  # a table of cases
        stamp="2",
        secrets=secrets,
    )


def up(database: str) -> DbUp:
    return DbUp(database=database, reason="answers")


def down(database: str) -> DbDown:
    return DbDown(database=database, reason="no answer")


def pinned(version: str) -> UserModified:
    settings = TenantSettings(package=f"shop=={version}")
    return UserModified(tenant=ACME, path="/t", settings=settings, stamp="3", secrets="s1")


def ready_unheard(world: World) -> None:
    world.ready(ACME)


def calm(world: World) -> None:
    """Let everything under way come to its end, without time passing."""
    world.settle_down()


def crash(world: World) -> None:
    world.end(ACME, None, "SIGSEGV")
    world.settle_down()


def die(world: World) -> None:
    """End as a program does that can never start."""
    world.end(ACME, 3)
    world.settle_down()


def crash_unseen(world: World) -> None:
    world.end(ACME, None, "SIGKILL")


def reactor_killed(world: World) -> None:
    world.restart(lose_news=False)


def deleted_and_wrong_meanwhile(world: World) -> None:
    """The directory goes, and a new one comes with a mistake in it, while there is no reactor."""
    world.journal_(DELETED)
    world.journal_(WRONG)
    world.restart(lose_news=False)


def reactor_killed_and_news_lost(world: World) -> None:
    world.restart(lose_news=True)


def cannot_spawn(world: World) -> None:
    world.fail(ACME)
    world.hear()


def spawned(world: World) -> None:
    world.begin(ACME)
    world.hear()


def turns_deaf(world: World) -> None:
    if world.processes.get(ACME):
        world.processes[ACME][0].deaf = True


def stuck(world: World) -> None:
    programs = world.processes.get(ACME)
    if programs:
        process = programs[-1].process
        world.say(ProcStuck(tenant=ACME, pid=process.pid, started=process.started, stuck_for=5.1))
        world.deliver(-1)


def visit(world: World) -> None:
    world.visit(ACME)


def unused(world: World) -> None:
    programs = world.processes.get(ACME)
    if programs:
        process = programs[-1].process
        idle = TenantIdle(
            tenant=ACME, pid=process.pid, started=process.started, idle_for=900.0, reason="not used"
        )
        world.say(idle)
        world.deliver(-1)


def old_crashes(world: World) -> None:
    world.end(ACME, None, "SIGSEGV", which=0)
    world.settle_down()


def new_crashes(world: World) -> None:
    world.end(ACME, 1)
    world.hear()


def becomes_ready(world: World) -> None:
    world.ready(ACME)
    world.hear()


def subscribes(world: World) -> None:
    """Have all processes from now on take another database without being replaced."""
    world.switching = True


def told(world: World) -> None:
    """Let the process that is asked to switch do so; nobody has heard of it yet."""
    world.begin(ACME)


def does_not_switch(world: World) -> None:
    world.fail(ACME)
    world.hear()


def switches_late(world: World) -> None:
    world.hang(ACME)
    world.hear()


def a_minute(world: World) -> None:
    world.wait(60.0)


START = StartRequested(tenant=ACME, by="ann")
STOP = StopRequested(tenant=ACME, by="ann")
RESTART = RestartRequested(tenant=ACME, by="ann")
DELETED = UserDeleted(tenant=ACME)
WRONG = UserInvalid(tenant=ACME, file="/t/tenant.toml", key="plan", line=3, reason="no such plan", stamp="9")
BASE: tuple[Step, ...] = (release("1.0"), up("db1"), up("db2"))
RUNNING: tuple[Step, ...] = (*BASE, added(), calm)
ALONE = release("1.0", overlap=False)
OTHERS = modified(env={"A": "1"})
ON_DB1: tuple[Step, ...] = (subscribes, release("1.0"), up("db1"), added(), calm, up("db2"))
TELLING: tuple[Step, ...] = (*ON_DB1, down("db1"))
REPLACING: tuple[Step, ...] = (*RUNNING, OTHERS, spawned)
DRAINING: tuple[Step, ...] = (*RUNNING, turns_deaf, OTHERS, spawned, becomes_ready)
ASLEEP: tuple[Step, ...] = (*BASE, added(start="on-demand"), calm)
AWAKE: tuple[Step, ...] = (*ASLEEP, visit, calm)
OTHERS_ASLEEP = modified(start="on-demand", env={"A": "1"})

HISTORIES: dict[str, tuple[Sequence[Step], str]] = {
    "everything_comes_in_another_order": ((added(), up("db2"), calm, release("1.0"), up("db1")), "RUNNING"),
    "crash": ((*RUNNING, crash), "RUNNING"),
    "crash_loop": ((*RUNNING, *[crash] * 9), "RUNNING"),
    "crash_before_ready": ((*BASE, added(), spawned, crash), "RUNNING"),
    "can_never_start": ((*RUNNING, die, die), "RUNNING"),
    "can_never_start_and_is_released": ((*RUNNING, die, START, calm), "RUNNING"),
    "cannot_spawn": ((*BASE, added(), cannot_spawn, cannot_spawn), "RUNNING"),
    "stop": ((*RUNNING, STOP, calm), "STOPPED"),
    "stop_twice": ((*RUNNING, STOP, calm, STOP), "STOPPED"),
    "stop_and_start": ((*RUNNING, STOP, calm, START), "RUNNING"),
    "start_while_it_stops": ((*RUNNING, STOP, START), "RUNNING"),
    "start_while_it_runs": ((*RUNNING, START), "RUNNING"),
    "stop_while_it_waits_for_its_turn": ((*BASE, added(), STOP), "STOPPED"),
    "stop_while_it_starts": ((*BASE, added(), spawned, STOP), "STOPPED"),
    "stop_and_start_while_it_waits_for_its_turn": ((*BASE, added(), STOP, START), "RUNNING"),
    "stop_of_a_deaf_one": ((*RUNNING, turns_deaf, STOP, calm), "STOPPED"),
    "stop_in_backoff": ((*RUNNING, crash, crash, STOP), "STOPPED"),
    "restart": ((*RUNNING, RESTART, calm), "RUNNING"),
    "restart_of_a_stopped_one": ((*RUNNING, STOP, calm, RESTART), "RUNNING"),
    "restart_in_backoff": ((*RUNNING, crash, crash, RESTART), "RUNNING"),
    "manual": ((*BASE, added(start="manual")), "STOPPED"),
    "manual_started": ((*BASE, added(start="manual"), START, calm), "RUNNING"),
    "manual_crashed": ((*BASE, added(start="manual"), START, calm, crash), "RUNNING"),
    "stopped_before_it_was_added": ((*BASE, STOP, added()), "STOPPED"),
    "deleted": ((*RUNNING, DELETED, calm), "STOPPED"),
    "deleted_and_added_again": ((*RUNNING, STOP, DELETED, added(), calm), "RUNNING"),
    "deleted_in_backoff": ((*RUNNING, crash, crash, DELETED), "STOPPED"),
    "settings_changed": ((*RUNNING, modified(env={"A": "1"}), calm), "RUNNING"),
    "secrets_changed": ((*RUNNING, modified(secrets="s2"), calm), "RUNNING"),
    "settings_changed_while_it_starts": ((*BASE, added(), spawned, modified(env={"A": "1"})), "RUNNING"),
    "pinned": ((*RUNNING, release("1.1"), modified(databases=("db2",)), calm), "RUNNING"),
    "release_withdrawn": ((*RUNNING, PackageWithdrawn(release="shop-1.0"), calm), "RUNNING"),
    "release_withdrawn_and_crash": ((*RUNNING, PackageWithdrawn(release="shop-1.0"), crash), "WAITING"),
    "new_release_after_fatal": ((*RUNNING, die, release("1.1"), calm), "RUNNING"),
    "database_down": ((*RUNNING, down("db1"), down("db2"), up("db1"), calm), "RUNNING"),
    "all_databases_down": ((*RUNNING, down("db1"), calm, down("db2"), calm), "WAITING"),
    "all_databases_down_and_back": ((*RUNNING, down("db1"), down("db2"), calm, up("db2")), "RUNNING"),
    "crash_with_all_databases_down": ((*RUNNING, crash_unseen, down("db1"), down("db2")), "WAITING"),
    "databases_misconfigured": (
        (
            *RUNNING,
            DbMisconfigured(database="db1", reason="access denied", key=""),
            DbMisconfigured(database="db2", reason="access denied", key=""),
            calm,
        ),
        "RUNNING",
    ),
    "stuck": ((*RUNNING, stuck, calm), "RUNNING"),
    "stuck_while_it_stops": ((*RUNNING, turns_deaf, STOP, stuck), "STOPPED"),
    "settings_wrong_and_reactor_killed": ((*RUNNING, WRONG, reactor_killed), "RUNNING"),
    "settings_wrong_crash_and_reactor_killed": ((*RUNNING, WRONG, crash, reactor_killed), "RUNNING"),
    "settings_never_right": ((*BASE, WRONG, reactor_killed), "STOPPED"),
    "settings_wrong_then_deleted": ((*BASE, WRONG, DELETED, reactor_killed), "STOPPED"),
    "settings_wrong_when_it_comes_back": ((*RUNNING, DELETED, calm, WRONG, reactor_killed), "STOPPED"),
    "deleted_and_wrong_while_the_reactor_is_away": (
        (*RUNNING, deleted_and_wrong_meanwhile, calm),
        "STOPPED",
    ),
    "reactor_killed": ((*RUNNING, reactor_killed), "RUNNING"),
    "reactor_killed_while_it_waits_for_its_turn": ((*BASE, added(), reactor_killed), "RUNNING"),
    "reactor_killed_while_it_starts": ((*BASE, added(), spawned, reactor_killed), "RUNNING"),
    "reactor_killed_while_it_stops": ((*RUNNING, turns_deaf, STOP, reactor_killed), "STOPPED"),
    "reactor_killed_in_backoff": ((*RUNNING, crash, crash, reactor_killed), "RUNNING"),
    "reactor_killed_and_crash": ((*RUNNING, crash_unseen, reactor_killed), "RUNNING"),
    "reactor_killed_and_crash_unseen": ((*RUNNING, crash_unseen, reactor_killed_and_news_lost), "RUNNING"),
    "alone": ((ALONE, *BASE[1:], added(), calm, OTHERS, spawned, calm), "RUNNING"),
    "alone_from_now_on": ((*REPLACING, becomes_ready, calm, ALONE, RESTART, calm), "RUNNING"),
    "alone_while_it_is_replaced": ((*RUNNING, OTHERS, spawned, ALONE, RESTART, calm), "RUNNING"),
    "alone_no_more": ((ALONE, *BASE[1:], added(), calm, release("1.0"), RESTART, calm), "RUNNING"),
    "crash_of_the_old_one_alone_from_now_on": ((*DRAINING, ALONE, new_crashes, calm), "RUNNING"),
    "replaced_and_called_off": ((*RUNNING, OTHERS, modified(), calm), "RUNNING"),
    "replaced_and_called_off_late": ((*REPLACING, modified(), calm), "RUNNING"),
    "replaced_and_called_off_deaf": ((*REPLACING, turns_deaf, modified(), calm), "RUNNING"),
    "replaced_otherwise": ((*REPLACING, modified(env={"B": "2"}), calm), "RUNNING"),
    "replaced_and_stopped": ((*REPLACING, STOP, calm), "STOPPED"),
    "replaced_and_stopped_before_it_started": ((*RUNNING, OTHERS, STOP, calm), "STOPPED"),
    "replaced_and_stopped_while_the_old_one_drains": ((*DRAINING, STOP, calm), "STOPPED"),
    "replaced_and_deleted": ((*REPLACING, DELETED, calm), "STOPPED"),
    "replaced_and_deleted_while_the_old_one_drains": ((*DRAINING, DELETED, calm), "STOPPED"),
    "replaced_twice": ((*DRAINING, RESTART, calm), "RUNNING"),
    "old_one_crashes": ((*REPLACING, old_crashes), "RUNNING"),
    "old_one_crashes_early": ((*RUNNING, OTHERS, old_crashes), "RUNNING"),
    "old_one_crashes_called_off": ((*RUNNING, OTHERS, modified(), old_crashes), "RUNNING"),
    "new_one_crashes": ((*REPLACING, new_crashes, calm), "RUNNING"),
    "new_one_crashes_then_the_old_one": ((*REPLACING, new_crashes, old_crashes), "RUNNING"),
    "new_one_crashes_and_is_asked_for_again": ((*REPLACING, new_crashes, START, calm), "RUNNING"),
    "new_one_crashes_and_is_called_off": ((*REPLACING, new_crashes, modified(), calm), "RUNNING"),
    "new_one_crashes_when_it_serves": ((*DRAINING, new_crashes, calm), "RUNNING"),
    "new_one_crashes_in_a_loop": ((*DRAINING, *[crash] * 9, a_minute), "RUNNING"),
    "new_one_cannot_spawn": ((*RUNNING, OTHERS, cannot_spawn, cannot_spawn), "RUNNING"),
    "new_one_hangs": ((*REPLACING, a_minute, calm), "RUNNING"),
    "old_one_stuck": ((*RUNNING, stuck, OTHERS, calm), "RUNNING"),
    "old_one_stuck_while_it_is_replaced": ((*RUNNING, OTHERS, stuck, spawned, calm), "RUNNING"),
    "old_one_does_not_end": ((*DRAINING, a_minute, calm), "RUNNING"),
    "pinned_to_nothing": ((*RUNNING, pinned("9.9"), calm), "RUNNING"),
    "pinned_to_what_comes_later": ((*RUNNING, pinned("9.9"), release("9.9"), calm), "RUNNING"),
    "pinned_to_nothing_and_back": ((*RUNNING, pinned("9.9"), modified(), calm), "RUNNING"),
    "databases_down_while_it_is_replaced": ((*REPLACING, down("db1"), down("db2"), calm), "WAITING"),
    "reactor_killed_while_it_is_replaced": ((*REPLACING, reactor_killed), "RUNNING"),
    "reactor_killed_while_the_new_one_is_ready": ((*REPLACING, ready_unheard, reactor_killed), "RUNNING"),
    "reactor_killed_while_the_old_one_drains": ((*DRAINING, reactor_killed), "RUNNING"),
    "reactor_killed_and_both_gone": (
        (*REPLACING, crash_unseen, crash_unseen, reactor_killed_and_news_lost),
        "RUNNING",
    ),
    "reactor_killed_and_stop": ((*REPLACING, turns_deaf, STOP, reactor_killed), "STOPPED"),
    "told": ((*TELLING, calm), "RUNNING"),
    "told_and_crash": ((*TELLING, crash), "RUNNING"),
    "told_and_stopped": ((*TELLING, STOP, calm), "STOPPED"),
    "told_and_restarted": ((*TELLING, RESTART, calm), "RUNNING"),
    "told_and_changed": ((*TELLING, OTHERS, calm), "RUNNING"),
    "told_and_deleted": ((*TELLING, DELETED, calm), "STOPPED"),
    "told_and_stuck": ((*TELLING, stuck, calm), "RUNNING"),
    "told_and_called_off": ((*TELLING, up("db1"), calm), "RUNNING"),
    "told_and_called_off_late": ((*TELLING, told, up("db1"), calm), "RUNNING"),
    "told_and_called_off_and_told_again": ((*TELLING, up("db1"), down("db1"), calm), "RUNNING"),
    "told_in_vain": ((*TELLING, down("db2"), calm), "WAITING"),
    "told_too_late": ((*TELLING, told, down("db2"), calm), "WAITING"),
    "told_and_does_not_switch": ((*TELLING, does_not_switch, calm), "RUNNING"),
    "told_and_switches_late": ((*TELLING, switches_late, calm), "RUNNING"),
    "told_and_switches_late_and_successor_fails": (
        (*TELLING, switches_late, cannot_spawn, calm),
        "RUNNING",
    ),
    "reactor_killed_while_it_is_told": ((*TELLING, reactor_killed), "RUNNING"),
    "reactor_killed_after_it_was_told": ((*TELLING, told, reactor_killed), "RUNNING"),
    "told_alone": (
        (subscribes, ALONE, up("db1"), added(), calm, up("db2"), down("db1"), calm),
        "RUNNING",
    ),
    "asleep": ((*ASLEEP, OTHERS_ASLEEP, down("db1"), release("1.1"), calm), "SLEEPING"),
    "woken": (AWAKE, "RUNNING"),
    "woken_and_unused": ((*AWAKE, unused, calm), "SLEEPING"),
    "woken_while_it_goes_to_sleep": ((*AWAKE, turns_deaf, unused, visit, calm), "RUNNING"),
    "woken_while_it_goes_to_sleep_and_must_be_alone": ((ALONE, *AWAKE[1:], unused, visit, calm), "RUNNING"),
    "woken_and_stopped_while_it_goes_to_sleep": ((*AWAKE, turns_deaf, unused, visit, STOP), "STOPPED"),
    "woken_and_crash": ((*AWAKE, crash, calm), "SLEEPING"),
    "woken_and_crash_loop": ((*AWAKE, crash, visit, calm, crash, visit, calm), "RUNNING"),
    "woken_in_vain": ((*ASLEEP, visit, cannot_spawn, cannot_spawn, calm), "RUNNING"),
    "woken_and_on_demand_no_more": ((*AWAKE, unused, modified(), calm), "RUNNING"),
    "woken_without_a_database": ((*ASLEEP, down("db1"), down("db2"), visit, calm), "WAITING"),
    "started_by_hand_and_unused": ((*ASLEEP, START, calm, unused, calm), "SLEEPING"),
    "reactor_killed_while_it_sleeps": ((*ASLEEP, reactor_killed, visit, calm), "RUNNING"),
    "reactor_killed_while_it_goes_to_sleep": ((*AWAKE, turns_deaf, unused, reactor_killed), "SLEEPING"),
    "reactor_killed_while_somebody_waits": ((*ASLEEP, visit, reactor_killed), "RUNNING"),
    "a_stable_minute": ((*RUNNING, crash, crash, a_minute, calm, a_minute, crash), "RUNNING"),
}


def live(world: World, step: Step, *, twice: bool = False) -> None:
    if callable(step):
        step(world)
        return
    world.say(step)
    if twice:
        world.deliver(-1, keep=True)
    world.deliver(-1)


def end(world: World, shown: str | None = None) -> None:
    world.calm()
    check(world, ACME)
    if shown and ACME in world.tenants:
        assert world.tenants[ACME].state.shown == shown


@pytest.fixture(params=HISTORIES)
def history(request: pytest.FixtureRequest) -> tuple[Sequence[Step], str]:
    return HISTORIES[request.param]


def test_to_its_end(history: tuple[Sequence[Step], str]) -> None:
    steps, shown = history
    world = World()
    for step in steps:
        live(world, step)
    end(world, shown)


def test_broken_off_anywhere(history: tuple[Sequence[Step], str]) -> None:
    steps, _ = history
    for length in range(len(steps)):
        world = World()
        for step in steps[:length]:
            live(world, step)
        end(world)


def test_each_event_twice(history: tuple[Sequence[Step], str]) -> None:
    steps, shown = history
    for doubled in range(len(steps)):
        world = World()
        for index, step in enumerate(steps):
            live(world, step, twice=index == doubled)
        end(world, shown)


def test_each_event_again_at_the_end(history: tuple[Sequence[Step], str]) -> None:
    steps, shown = history
    world = World()
    for step in steps:
        live(world, step)
    world.on_the_way.extend(world.journal)
    end(world, shown)


def test_each_two_events_swapped(history: tuple[Sequence[Step], str]) -> None:
    steps, shown = history
    for first, second in zip(range(len(steps)), range(1, len(steps)), strict=False):
        one, other = steps[first], steps[second]
        if callable(one) or callable(other):
            continue
        world = World()
        for step in steps[:first]:
            live(world, step)
        world.say(one)
        world.say(other)
        world.deliver(-1)
        world.deliver(-1)
        for step in steps[second + 1 :]:
            live(world, step)
        end(world, shown)


def test_the_reactor_killed_after_each_step(history: tuple[Sequence[Step], str]) -> None:
    steps, shown = history
    for at in range(len(steps)):
        world = World()
        for index, step in enumerate(steps):
            live(world, step)
            if index == at:
                world.restart(lose_news=False)
        end(world, shown)
