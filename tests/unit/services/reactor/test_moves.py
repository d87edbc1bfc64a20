"""Who moves when databases fail: few, to where there is room, and nobody back and forth."""

from collections import Counter
from itertools import groupby
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.events import (
    AnyEvent,
    DbCaughtUp,
    DbDegraded,
    DbDown,
    DbDrainRequested,
    DbUndrainRequested,
    DbUp,
    ProcMoved,
    ProcReady,
    RestartRequested,
    StartRequested,
    StopRequested,
    TenantIdle,
    UserAdded,
    UserDeleted,
    UserModified,
)
from bus.model import TenantSettings
from bus.sections import MoveSettings
from services.reactor.actions import Spawn, Switch, Switched
from services.reactor.placing import Load
from tests.unit.services.reactor.world import World, release

UP, DOWN = "answers", "no answer"
DRAIN = DbDrainRequested(database="db1", by="ann")
OFF, ON = MoveSettings(), MoveSettings(failback_rate=1.0)


def verdict(database: str, word: str) -> AnyEvent:
    return (DbUp if word == UP else DbDown)(database=database, reason=word)


def world_of(tenants: int, *, switching: bool = False, moves: MoveSettings = OFF) -> World:
    """Tenants that run, spread over db1 and db2, which are up."""
    world = World(switching=switching, moves=moves)
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
    """Count how often each tenant served from another database than before."""
    count: Counter[str] = Counter()
    serves: dict[str, str] = {}
    for _, event in world.journal:
        if isinstance(event, ProcReady):
            count[event.tenant] += serves.get(event.tenant, event.database) != event.database
            serves[event.tenant] = event.database
    return count


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


def test_one_that_did_not_switch_comes_by_a_token_all_the_same() -> None:
    world = world_of(2, switching=True)
    world.say(verdict("db1", DOWN))
    world.deliver(0)
    world.wait(3.0)
    (name,) = world.orders
    assert isinstance(world.orders[name], Switch)
    world.fail(name)
    world.hear()
    order = world.orders[name]
    assert isinstance(order, Spawn)
    assert (order.database, order.comes, order.again) == ("db2", True, True)


def on_its_way(*, switching: bool, dead: bool) -> World:
    """One tenant of db1, which is lost, waits for its turn on db2."""
    world = World(switching=switching)
    world.say(release("1.0"))
    world.say(verdict("db1", UP))
    world.say(UserAdded(tenant="t", path="/t", settings=TenantSettings(package="shop"), stamp="1"))
    world.calm()
    hear(world, verdict("db2", UP))
    world.say(verdict("db1", DOWN))
    world.deliver(0)
    if dead:
        world.end("t", None, "SIGSEGV")
        world.hear()
    world.wait(3.0)
    assert world.orders["t"].database == "db2"
    return world


@pytest.mark.parametrize(("switching", "dead"), [(False, False), (False, True), (True, False)])
def test_who_waits_for_its_turn_when_the_other_is_lost_too_has_not_moved(
    *, switching: bool, dead: bool
) -> None:
    world = on_its_way(switching=switching, dead=dead)
    hear(world, verdict("db2", DOWN))
    assert not world.all()
    assert world.tenants["t"].database == "db1"
    world.say(verdict("db1", UP))
    world.deliver(0)
    world.settle_down()
    assert spread(world) == {"db1": 1}
    (event,) = [event for _, event in world.journal if isinstance(event, ProcMoved)]
    assert event.target == "db2"


def test_who_is_asked_for_anew_while_it_waits_for_its_turn_still_needs_a_token() -> None:
    world = on_its_way(switching=False, dead=True)
    chosen = TenantSettings(package="shop", env={"A": "1"})
    world.say(UserModified(tenant="t", path="/t", settings=chosen, stamp="2"))
    world.deliver(0)
    world.hear()
    world.wait(3.0)
    order = world.orders["t"]
    assert isinstance(order, Spawn)
    assert (order.settings.env, order.database, order.comes) == ({"A": "1"}, "db2", True)


@pytest.mark.parametrize(("event", "comes"), [(DRAIN, True), (RestartRequested(tenant="t", by="ann"), False)])
def test_who_must_be_alone_needs_a_token_as_well_to_come_from_elsewhere(
    event: AnyEvent, *, comes: bool
) -> None:
    world = World()
    world.say(release("1.0", overlap=False))
    world.say(verdict("db1", UP))
    world.say(UserAdded(tenant="t", path="/t", settings=TenantSettings(package="shop"), stamp="1"))
    world.calm()
    hear(world, verdict("db2", UP))
    world.say(event)
    world.deliver(0)
    world.end("t", 0)
    world.hear()
    order = world.orders["t"]
    assert isinstance(order, Spawn)
    assert (order.database, order.comes) == ("db2" if comes else "db1", comes)


def test_who_says_late_that_it_has_switched_is_where_it_says() -> None:
    world = on_its_way(switching=True, dead=False)
    world.fail("t")
    hear(world, verdict("db1", UP))
    ((name, program),) = world.all()
    assert spread(world) == {"db1": 1}
    world.react(name, Switched(tenant=name, process=program.process, database="db2"))
    assert world.loads() == {"db2": Load(there=1)}
    world.end(name, None, "SIGSEGV")
    world.calm()
    assert spread(world) == {"db2": 1}


@settings(max_examples=50, deadline=None)
@given(
    flaps=st.lists(st.sampled_from([UP, DOWN]), min_size=40, max_size=100),
    tenants=st.integers(1, 5),
    switching=st.booleans(),
    failback_after=st.sampled_from([0.0, 20.0, 300.0]),
)
def test_a_flapping_database_moves_each_tenant_at_most_twice(
    *, flaps: list[str], tenants: int, switching: bool, failback_after: float
) -> None:
    on = failback_after > 0
    moves_ = MoveSettings(failback_rate=1.0, failback_after=failback_after) if on else OFF
    world = world_of(tenants, switching=switching, moves=moves_)
    for word in flaps:
        world.say(verdict("db1", word))
        world.deliver(0)
        world.settle_down()
        world.wait(3.0)
    world.calm()
    ups = [3.0 * len(list(group)) for word, group in groupby(flaps) if word == UP]
    returns = sum(up >= failback_after for up in ups) if on else 0  # each is worth one move there, one away
    assert max(moves(world).values(), default=0) <= 2 + 2 * returns


class TestCatchingUp:
    """What a tenant wrote should be there when it comes."""

    def move(self, world: World, *said: bool | None, after: float = 0.5) -> ProcMoved:
        """Lose db1, hear of db2 what is said a while later; gives the move that came of it."""
        world.say(verdict("db1", DOWN))
        world.deliver(0)
        world.settle_down()
        assert not [event for _, event in world.journal if isinstance(event, ProcMoved)]
        assert spread(world) == {"db1": 1}
        for word in said:
            world.wait(after)
            world.say(DbCaughtUp(source="db1", target="db2", caught_up=word, reason="as compared"))
            world.deliver(0)
        world.calm()
        assert spread(world) == {"db2": 1}
        (event,) = [event for _, event in world.journal if isinstance(event, ProcMoved)]
        return event

    def world(self, *, switching: bool = False, overlap: bool = True) -> World:
        world = World(switching=switching)
        world.say(release("1.0", overlap=overlap))
        world.say(verdict("db1", UP))
        world.say(UserAdded(tenant="t", path="/t", settings=TenantSettings(package="shop"), stamp="1"))
        world.calm()
        world.say(verdict("db2", UP))
        world.calm()
        return world

    @pytest.mark.parametrize(
        ("said", "answer", "waited"),
        [
            ((True,), "yes", 0.5),
            ((False, True), "yes", 1.0),
            ((None,), "unknown", 0.5),
            ((False,), "no", 2.0),
            ((), "unknown", 2.0),
        ],
    )
    @pytest.mark.parametrize(("switching", "overlap"), [(False, True), (False, False), (True, True)])
    def test_a_tenant_is_held_back_until_that_is_known_or_for_two_seconds(
        self, said: tuple[bool | None, ...], answer: str, waited: float, *, switching: bool, overlap: bool
    ) -> None:
        event = self.move(self.world(switching=switching, overlap=overlap), *said)
        assert event.caught_up == answer
        assert event.waited == pytest.approx(waited, abs=0.01)

    def test_what_was_said_of_an_earlier_outage_does_not_count(self) -> None:
        world = self.world()
        hear(world, DbCaughtUp(source="db1", target="db2", caught_up=True, reason="as compared"))
        assert self.move(world).caught_up == "unknown"

    def test_a_crash_meanwhile_does_not_hurry_it(self) -> None:
        world = self.world()
        world.say(verdict("db1", DOWN))
        world.deliver(0)
        world.end("t", None, "SIGSEGV")
        world.settle_down()
        assert not world.all()
        assert world.tenants["t"].state.shown == "WAITING"
        hear(world, DbCaughtUp(source="db1", target="db2", caught_up=True, reason="as compared"))
        assert spread(world) == {"db2": 1}
        assert world.tenants["t"].record.failures == ()

    def test_it_stays_when_its_database_returns_meanwhile(self) -> None:
        world = self.world()
        world.say(verdict("db1", DOWN))
        world.deliver(0)
        world.wait(1.0)
        hear(world, verdict("db1", UP))
        assert spread(world) == {"db1": 1}
        assert moves(world).total() == 0

    def test_a_database_that_lives_is_left_at_once_and_nothing_is_known(self) -> None:
        world = self.world()
        world.say(DbDrainRequested(database="db1", by="ann"))
        world.deliver(0)
        world.settle_down()
        assert spread(world) == {"db2": 1}
        (event,) = [event for _, event in world.journal if isinstance(event, ProcMoved)]
        assert (event.caught_up, event.waited) == ("unknown", 0.0)


class TestAcrossARestart:
    """What the reactor knew of a tenant without a process outlives it."""

    def world(self, start: Literal["always", "on-demand"] = "always") -> World:
        """One tenant that runs on db1; db2 is up as well."""
        world = World()
        world.say(release("1.0"))
        world.say(verdict("db1", UP))
        world.say(
            UserAdded(tenant="t", path="/t", settings=TenantSettings(package="shop", start=start), stamp="1")
        )
        world.calm()
        world.visit("t")
        world.calm()
        hear(world, verdict("db2", UP))
        hear(
            world,
            UserAdded(
                tenant="more",
                path="/t",
                settings=TenantSettings(package="shop", databases=("db1",)),
                stamp="1",
            ),
        )
        assert spread(world) == {"db1": 2}
        return world

    def test_one_that_was_stopped_comes_back_to_its_database(self) -> None:
        world = self.world()
        hear(world, StopRequested(tenant="t", by="ann"))
        world.restart(lose_news=False)
        hear(world, StartRequested(tenant="t", by="ann"))
        assert spread(world) == {"db1": 2}

    def test_one_that_slept_wakes_on_its_database(self) -> None:
        world = self.world("on-demand")
        ((_, program),) = [each for each in world.all() if each[0] == "t"]
        process = program.process
        hear(
            world,
            TenantIdle(tenant="t", pid=process.pid, started=process.started, idle_for=9.0, reason="unused"),
        )
        assert spread(world) == {"db1": 1}
        world.restart(lose_news=False)
        world.visit("t")
        world.calm()
        assert spread(world) == {"db1": 2}

    def test_one_that_waited_is_held_back_when_it_moves(self) -> None:
        world = self.world()
        hear(world, verdict("db2", DOWN))
        hear(world, verdict("db1", DOWN))
        assert not world.all()
        world.restart(lose_news=False)
        hear(world, verdict("db2", UP))
        (event,) = [event for _, event in world.journal if isinstance(event, ProcMoved)]
        assert (event.source, event.target) == ("db1", "db2")
        assert event.waited == pytest.approx(2.0, abs=0.01)

    def test_those_that_a_database_has_take_none_of_the_connections_that_it_has_left(self) -> None:
        world = world_of(20)
        hear(world, DbUp(database="db2", reason=UP, headroom=15))
        world.restart(lose_news=False)
        hear(world, verdict("db1", DOWN))
        assert spread(world) == {"db2": 20}

    def test_another_tenant_of_the_name_of_one_that_is_gone_comes_from_nowhere(self) -> None:
        world = self.world()
        hear(world, UserDeleted(tenant="t"))
        hear(world, verdict("db1", DOWN))
        hear(world, UserAdded(tenant="t", path="/t", settings=TenantSettings(package="shop"), stamp="2"))
        assert spread(world)["db2"] == 1
        assert not [event for _, event in world.journal if isinstance(event, ProcMoved)]


class TestGoingBack:
    """Tenants go back one by one, when a database has been up for long."""

    def lost_and_found(self, tenants: int = 20, *, switching: bool = False) -> World:
        """Everybody is on db2; db1 has just returned."""
        world = world_of(tenants, switching=switching, moves=ON)
        hear(world, verdict("db1", DOWN))
        hear(world, verdict("db1", UP))
        assert spread(world) == {"db2": tenants}
        return world

    def pass_time(self, world: World, seconds: int) -> None:
        for _ in range(seconds):
            world.wait(1.0)
            world.settle_down()

    @pytest.mark.parametrize("switching", [False, True])
    def test_one_each_second_until_both_have_the_same(self, *, switching: bool) -> None:
        world = self.lost_and_found(switching=switching)
        pids = {program.process for _, program in world.all()}
        self.pass_time(world, 299)
        assert spread(world) == {"db2": 20}
        self.pass_time(world, 3)
        assert spread(world) == {"db1": 3, "db2": 17}
        self.pass_time(world, 60)
        assert spread(world) == {"db1": 10, "db2": 10}
        assert moves(world).total() == 20
        assert ({program.process for _, program in world.all()} == pids) is switching

    @pytest.mark.parametrize("switching", [False, True])
    def test_what_is_said_of_it(self, *, switching: bool) -> None:
        world = self.lost_and_found(switching=switching)
        self.pass_time(world, 301)
        said = [event for _, event in world.journal if isinstance(event, ProcMoved)]
        assert (said[-2].source, said[-2].target, said[-2].tenant) == ("db2", "db1", "t0")
        assert said[-2].reason == "goes back: db1 is up since 300 s, 0 tenants there, 20 here"
        assert said[-1].reason == "goes back: db1 is up since 301 s, 1 tenant there, 19 here"

    def test_another_outage_begins_it_all_anew(self) -> None:
        world = self.lost_and_found()
        self.pass_time(world, 299)
        hear(world, verdict("db1", DOWN))
        hear(world, verdict("db1", UP))
        self.pass_time(world, 299)
        assert spread(world) == {"db2": 20}

    @pytest.mark.parametrize("switching", [False, True])
    @pytest.mark.parametrize("database", ["db1", "db2"])
    def test_who_is_on_the_way_when_one_is_degraded_stays(self, database: str, *, switching: bool) -> None:
        world = self.lost_and_found(switching=switching)
        self.pass_time(world, 299)
        world.wait(1.0)
        assert world.orders["t0"].database == "db1"
        hear(world, DbDegraded(database=database, reason="ill", kinds=("slow",), writable=True))
        hear(world, verdict(database, UP))
        assert spread(world) == {"db2": 20}
        assert world.tenants["t0"].back is None
        assert world.tenants["t0"].database == "db2"

    def test_one_that_dies_before_it_is_told_stays(self) -> None:
        world = self.lost_and_found(switching=True)
        self.pass_time(world, 299)
        world.wait(1.0)
        world.end("t0", None, "SIGSEGV")
        world.settle_down()
        assert spread(world) == {"db2": 20}

    def test_those_that_do_not_start_there_hold_up_the_others(self) -> None:
        world = self.lost_and_found()
        self.pass_time(world, 299)
        for _ in range(60):
            world.wait(1.0)
            for name in list(world.orders):
                world.fail(name)
            while world.news:
                world.hear()
        assert spread(world) == {"db2": 20}
        assert sum(tenant.back is not None for tenant in world.tenants.values()) == 3

    def test_nobody_is_interrupted_for_that(self) -> None:
        world = World(moves=ON)
        world.say(release("1.0", overlap=False))
        world.say(verdict("db1", UP))
        for number in range(4):
            chosen = TenantSettings(package="shop")
            world.say(UserAdded(tenant=f"t{number}", path="/t", settings=chosen, stamp="1"))
        world.calm()
        hear(world, verdict("db2", UP))
        world.even_out()
        assert spread(world) == {"db1": 4}
