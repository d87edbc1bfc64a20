"""The journal is begun anew under running tenants: that nobody has told of one yet stops nobody."""

from collections.abc import Sequence

import pytest
from msgspec import structs

from bus.events import (
    AnyEvent,
    DbUp,
    ServiceUp,
    StartRequested,
    StopRequested,
    UserAdded,
    UserDeleted,
    UserInvalid,
    UserModified,
)
from bus.model import TenantSettings
from services.reactor.actions import Heard, Process
from services.reactor.learn import learn
from services.reactor.state import Gone, Running, Waiting
from tests.unit.services.reactor.world import World, release

ACME = "acme"
ADDED = UserAdded(tenant=ACME, path="/t", settings=TenantSettings(package="shop"), stamp="1", secrets="s")
WRONG = UserInvalid(tenant=ACME, file="/t/tenant.toml", key="plan", line=3, reason="no such plan", stamp="9")
DELETED = UserDeleted(tenant=ACME)
SURVEYED = ServiceUp(service="pathwatch", pid=1, version="1")
OTHERS: tuple[AnyEvent, ...] = (release("1.0"), DbUp(database="db1", reason="answers"))


def lost() -> World:
    """A tenant runs; the journal is lost, and the reactor is the first to start again."""
    world = World()
    tell(world, *OTHERS, ADDED)
    world.calm()
    assert isinstance(world.tenants[ACME].state, Running)
    world.journal.clear()
    world.surveyed = False
    world.restart(lose_news=False)
    return world


def tell(world: World, *events: AnyEvent) -> None:
    for event in events:
        world.say(event)
        world.deliver(-1)


def processes(world: World) -> list[Process]:
    return [program.process for _, program in world.all()]


@pytest.mark.parametrize(
    "said",
    [
        (),
        (*OTHERS, ADDED, SURVEYED),
        (ServiceUp(service="dbwatch", pid=1, version="1"),),
        (WRONG, SURVEYED),
        (WRONG, SURVEYED, *OTHERS, ADDED),
    ],
    ids=["nothing", "everything", "another service is up", "a mistake", "a mistake put right"],
)
def test_what_runs_is_left_alone(said: Sequence[AnyEvent]) -> None:
    world = lost()
    before = processes(world)
    tell(world, *said)
    world.wait(60.0)
    world.calm()
    assert processes(world) == before
    assert isinstance(world.tenants[ACME].state, Running)
    assert world.forgotten == []


def test_what_was_deleted_meanwhile_goes_once_all_have_been_told_of() -> None:
    world = lost()
    tell(world, SURVEYED)
    world.calm()
    assert processes(world) == []
    assert isinstance(world.tenants[ACME].state, Gone)


def test_what_is_deleted_later_goes_though_its_settings_were_wrong() -> None:
    world = lost()
    tell(world, WRONG, SURVEYED, DELETED)
    world.calm()
    assert processes(world) == []


def test_a_crash_before_its_settings_are_known_waits_for_them() -> None:
    world = lost()
    world.end(ACME)
    world.calm()
    state = world.tenants[ACME].state
    assert isinstance(state, Waiting)
    assert state.quiet
    tell(world, *OTHERS, ADDED)
    world.calm()
    assert isinstance(world.tenants[ACME].state, Running)


def test_changed_settings_of_a_stopped_tenant_leave_its_record_alone() -> None:
    """The journal tells a restarted reactor of the end before it tells of the settings."""
    world = World()
    tell(world, *OTHERS, ADDED)
    world.calm()
    world.end(ACME)
    world.calm()
    tell(world, StopRequested(tenant=ACME, by="ann"))
    world.calm()
    changed = TenantSettings(package="shop", plan="paid")
    tell(world, UserModified(tenant=ACME, path="/t", settings=changed, stamp="2", secrets="s"))
    head = world.seq
    world.restart(lose_news=False)
    assert world.tenants[ACME].record.restarts == 1
    assert world.seq == head, "nothing is said again"


def test_who_asks_for_one_with_wrong_settings_is_told_what_is_wrong() -> None:
    world = World()
    tell(world, *OTHERS, WRONG)
    asked = structs.replace(world.tenants[ACME], said=None)
    heard = Heard(seq=world.seq + 1, event=StartRequested(tenant=ACME, by="ann"))
    world.tenants[ACME] = learn(asked, heard, world.now)
    world.react(ACME, None)
    answer = world.journal[-1][1]
    assert (answer.type, answer.subject) == ("PROC_STOPPED", ACME)
    assert getattr(answer, "reason", "") == "no valid settings: tenant.toml:3: plan: no such plan"
