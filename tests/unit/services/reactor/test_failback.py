"""Who goes back, from where to where."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bus.model import Plan, TenantSettings
from bus.sections import MoveSettings
from services.reactor.actions import MayGoBack, Process
from services.reactor.failback import Failback, choose
from services.reactor.placing import Databases, Drained, Load, Status, Verdict
from services.reactor.state import Idle, Leaving, Replacing, Run, Running, Starting, Target, Tenant, Wish

NAMES = ("db1", "db2", "db3")
MOVES = MoveSettings(failback_rate=2.0, failback_after=300.0)
AT = 1000.0


def known(
    loads: Mapping[str, int], weights: Mapping[str, float] = {}, status: Mapping[str, Status] = {}
) -> Databases:
    return Databases(
        databases={name: Verdict(status=status.get(name, "up")) for name in loads},
        loads={name: Load(there=number) for name, number in loads.items()},
        weights=weights,
        moves=MOVES,
    )


def running(database: str, *, alone: bool = False) -> Running:
    target = Target(release="shop-1.0", database=database, stamp="", alone=alone)
    return Running(run=Run(process=Process(pid=1, started=1, boot=""), target=target, port=0), since=0.0)


def tenant(name: str, database: str, plan: Plan = "free", databases: tuple[str, ...] | None = None) -> Tenant:
    settings = TenantSettings(package="shop", plan=plan, databases=databases)
    wish = Wish(seq=1, present=True, settings=settings)
    return Tenant(name=name, wish=wish, database=database, state=running(database))


def tenants(loads: Mapping[str, int]) -> list[Tenant]:
    return [tenant(f"{name}-{i}", name) for name, number in loads.items() for i in range(number)]


def way(loads: Mapping[str, int], weights: Mapping[str, float] = {}) -> tuple[str, str] | None:
    chosen = choose(known(loads, weights), dict.fromkeys(loads, 0.0), tenants(loads), AT)
    return (chosen.source, chosen.target) if chosen else None


@pytest.mark.parametrize(
    ("loads", "weights", "expected"),
    [
        ((0, 2), {}, ("db2", "db1")),
        ((0, 1), {}, None),
        ((4, 5), {}, None),
        ((4, 6), {}, ("db2", "db1")),
        ((1, 5, 9), {}, ("db3", "db1")),
        ((5, 1, 9), {}, ("db3", "db2")),
        ((200, 100), {"db1": 2.0}, None),
        ((199, 101), {"db1": 2.0}, ("db2", "db1")),
        ((202, 98), {"db1": 2.0}, ("db1", "db2")),
        ((0, 1), {"db1": 0.1, "db2": 0.1}, None),
    ],
)
def test_from_the_fullest_to_the_emptiest_while_that_evens_them_out(
    loads: tuple[int, ...], weights: Mapping[str, float], expected: tuple[str, str] | None
) -> None:
    assert way(dict(zip(NAMES, loads, strict=False)), weights) == expected


@given(
    loads=st.lists(st.integers(0, 12), min_size=2, max_size=3),
    weights=st.lists(st.sampled_from([0.1, 0.3, 1.0, 1.5, 7.0]), min_size=3, max_size=3),
)
def test_they_come_to_an_end_and_none_leaves_where_others_came(
    *, loads: list[int], weights: list[float]
) -> None:
    now = dict(zip(NAMES, loads, strict=False))
    weighs = dict(zip(NAMES, weights, strict=True))
    moves = 0
    while step := way(now, weighs):
        source, target = step
        now[source] -= 1
        now[target] += 1
        assert now[source] / weighs[source] >= now[target] / weighs[target]
        moves += 1
        assert moves <= sum(loads)


class TestWho:
    LOADS: Mapping[str, int] = {"db1": 0, "db2": 9}

    def chosen(self, *those: Tenant, at: float = AT, **status: Status) -> str:
        among = known(self.LOADS, status=status)
        back = Failback(MOVES)
        back.note(among, 0.0)
        chosen = back.take(among, those, at)
        return chosen.tenant if chosen else ""

    def test_free_ones_first(self) -> None:
        paid, free = tenant("a", "db2", "paid"), tenant("b", "db2")
        assert self.chosen(paid, free) == "b"
        assert self.chosen(paid) == "a"

    def test_only_those_who_may_use_it(self) -> None:
        assert self.chosen(tenant("a", "db2", databases=("db2",)), tenant("b", "db2")) == "b"
        assert self.chosen(tenant("a", "db2", databases=("db2", "db1")), tenant("b", "db2")) == "a"

    def test_nobody_who_is_busy_otherwise_or_cannot_stand_a_second_process(self) -> None:
        one = tenant("a", "db2")
        run = running("db2").run
        for busy in (
            structs.replace(one, state=Starting(run=run, since=0.0)),
            structs.replace(one, state=Replacing(old=running("db2"), new=Idle(), reason="")),
            structs.replace(one, leaving=Leaving(state=running("db1"), reason="")),
            structs.replace(one, state=running("db2", alone=True)),
            structs.replace(one, state=Idle()),
            structs.replace(one, wish=Wish()),
        ):
            assert self.chosen(busy) == ""

    def test_nobody_while_others_are_stuck_on_the_way(self) -> None:
        one = tenant("a", "db2")
        back = MayGoBack(tenant="b", source="db2", target="db1", reason="")
        stuck = structs.replace(one, name="b", back=back, state=Idle())
        assert self.chosen(one, stuck, stuck) == "a"
        assert self.chosen(one, stuck, stuck, stuck) == ""

    @pytest.mark.parametrize(
        "status", ["degraded", "behind", "unwritable", "down", "misconfigured", "unknown"]
    )
    def test_only_between_two_that_are_up(self, status: Status) -> None:
        one = tenant("a", "db2")
        assert self.chosen(one, db1=status) == self.chosen(one, db2=status) == ""

    def test_only_after_a_while(self) -> None:
        assert self.chosen(tenant("a", "db2"), at=299.9) == ""
        assert self.chosen(tenant("a", "db2"), at=300.0) == "a"

    def test_not_where_no_connections_are_left(self) -> None:
        among = known(self.LOADS)
        full = structs.replace(among, databases={**among.databases, "db1": Verdict(status="up", headroom=0)})
        assert choose(full, dict.fromkeys(self.LOADS, 0.0), [tenant("a", "db2")], AT) is None


class TestFailback:
    ONE: Mapping[str, int] = {"db1": 0, "db2": 9}

    def test_what_is_drained_is_not_up(self) -> None:
        back, among = Failback(MOVES), known(self.ONE)
        back.note(among, 0.0)
        back.note(structs.replace(among, drains={"db1": Drained(1, "ann")}), 100.0)
        back.note(structs.replace(among, drains={"db1": Drained(2, "")}), 200.0)
        assert back.take(among, [tenant("a", "db2")], 499.0) is None
        assert back.take(among, [tenant("a", "db2")], 500.0) == MayGoBack(
            tenant="a",
            source="db2",
            target="db1",
            reason="goes back: db1 is up since 300 s, 0 tenants there, 9 here",
        )

    def test_it_looks_at_its_rate_and_less_often_while_there_is_nobody(self) -> None:
        back, among = Failback(MOVES), known(self.ONE)
        back.note(among, 0.0)
        back.take(among, [tenant("a", "db2")], 400.0)
        assert back.next_at == 400.5
        back.take(among, [], 400.5)
        assert back.next_at == 401.5

    def test_by_default_nobody_goes(self) -> None:
        back, among = Failback(MoveSettings()), known(self.ONE)
        back.note(among, 0.0)
        assert back.take(among, [tenant("a", "db2")], AT) is None
        assert not back.on
