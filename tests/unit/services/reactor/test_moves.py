"""Who moves when databases fail: few, to where there is room, and nobody back and forth."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.events import (
    AnyEvent,
    DbDegraded,
    DbDown,
    DbDrainRequested,
    DbUndrainRequested,
    DbUp,
    ProcMoved,
    ProcReady,
    UserAdded,
)
from bus.model import TenantSettings
from tests.unit.services.reactor.world import World, release

UP, DOWN = "answers", "no answer"


def verdict(database: str, word: str) -> AnyEvent:
    return (DbUp if word == UP else DbDown)(database=database, reason=word)


def world_of(tenants: int, *, switching: bool = False) -> World:
    """Tenants that run, spread over db1 and db2, which are up."""
    world = World(switching=switching)
    world.say(release("1.0"))
    world.say(verdict("db1", UP))
    world.say(verdict("db2", UP))
    chosen = TenantSettings(package="shop")
    for number in range(tenants):
        world.say(UserAdded(tenant=f"t{number}", path="/t", settings=chosen, stamp="1", secrets="s"))
    world.calm()
    return world


def hear(world: World, event: AnyEvent) -> None:
    world.say(event)
    world.calm()


def spread(world: World) -> Counter[str]:
    return Counter(program.order.database for _, program in world.all())


def moves(world: World) -> Counter[str]:
    return Counter(event.tenant for _, event in world.journal if isinstance(event, ProcMoved))


def test_tenants_are_spread_evenly() -> None:
    assert spread(world_of(20)) == {"db1": 10, "db2": 10}


@pytest.mark.parametrize("switching", [False, True])
def test_an_outage_moves_those_that_it_hits_and_nobody_goes_back(*, switching: bool) -> None:
    world = world_of(20, switching=switching)
    hear(world, verdict("db1", DOWN))
    assert spread(world) == {"db2": 20}
    hear(world, verdict("db1", UP))
    assert spread(world) == {"db2": 20}
    assert moves(world).total() == 10


@pytest.mark.parametrize(("writable", "left"), [(True, 10), (False, 0)])
def test_of_those_on_a_degraded_database_only_those_move_that_cannot_write(
    *, writable: bool, left: int
) -> None:
    world = world_of(20)
    hear(world, DbDegraded(database="db1", reason="ill", kinds=("slow",), writable=writable))
    assert spread(world)["db1"] == left
    hear(world, verdict("db1", UP))
    assert moves(world).total() == 10 - left


def test_only_as_many_move_as_there_are_connections() -> None:
    world = world_of(20)
    hear(world, DbUp(database="db2", reason=UP, headroom=4))
    hear(world, verdict("db1", DOWN))
    assert spread(world) == {"db1": 6, "db2": 14}  # who has nowhere to go serves what it can
    hear(world, DbUp(database="db2", reason=UP, headroom=100))
    assert spread(world) == {"db2": 20}


def test_a_drain_moves_all_and_its_end_moves_nobody() -> None:
    world = world_of(20)
    hear(world, DbDrainRequested(database="db1", by="ann"))
    assert spread(world) == {"db2": 20}
    world.restart(lose_news=False)
    hear(world, UserAdded(tenant="new", path="/t", settings=TenantSettings(package="shop"), stamp="1"))
    assert spread(world) == {"db2": 21}
    hear(world, DbUndrainRequested(database="db1", by="ann"))
    assert spread(world) == {"db2": 21}
    hear(world, UserAdded(tenant="newer", path="/t", settings=TenantSettings(package="shop"), stamp="1"))
    assert spread(world) == {"db1": 1, "db2": 21}


def test_who_takes_another_database_keeps_its_process() -> None:
    world = world_of(20, switching=True)
    before = {(name, program.process) for name, program in world.all()}
    hear(world, verdict("db1", DOWN))
    assert spread(world) == {"db2": 20}
    assert {(name, program.process) for name, program in world.all()} == before
    said = [event for _, event in world.journal if isinstance(event, ProcReady)][-1]
    (move,) = [e for _, e in world.journal if isinstance(e, ProcMoved) and e.tenant == said.tenant]
    assert (move.pid, move.serving, move.source, move.target) == (said.pid, said.pid, "db1", "db2")
    assert said.database == "db2"


@settings(max_examples=50, deadline=None)
@given(
    flaps=st.lists(st.sampled_from([UP, DOWN]), min_size=40, max_size=100),
    tenants=st.integers(1, 5),
    switching=st.booleans(),
)
def test_a_flapping_database_moves_each_tenant_at_most_twice(
    *, flaps: list[str], tenants: int, switching: bool
) -> None:
    world = world_of(tenants, switching=switching)
    for word in flaps:
        world.say(verdict("db1", word))
        world.deliver(0)
        world.settle_down()
        world.wait(3.0)
    world.calm()
    assert max(moves(world).values(), default=0) <= 2
