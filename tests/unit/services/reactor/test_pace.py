"""Whose start comes next."""

from bus.model import Plan, TenantSettings
from bus.sections import MoveSettings
from services.reactor.actions import Process, Spawn, Switch
from services.reactor.pace import SLOT, Pace

MOVES = MoveSettings(rate=2.0, burst=3)


def order(tenant: str, plan: Plan = "free", *, again: bool = False, to: str = "") -> Spawn:
    settings = TenantSettings(package="shop", plan=plan)
    return Spawn(
        tenant=tenant,
        release="shop-1",
        database=to or "db0",
        settings=settings,
        stamp="",
        again=again,
        comes=bool(to),
    )


def take_all(pace: Pace, at: float = 0.0) -> list[str]:
    taken = []
    while spawn := pace.take(at):
        taken.append(spawn.tenant)
    return taken


def test_again_before_anew_paid_before_free_then_by_name() -> None:
    pace = Pace(10, MOVES)
    for spawn in (
        order("b"),
        order("a"),
        order("p", "paid"),
        order("x", again=True),
        order("w", "paid", again=True),
    ):
        pace.ask(spawn)
    assert take_all(pace) == ["w", "x", "p", "a", "b"]


def test_no_more_than_the_limit_until_one_leaves() -> None:
    pace = Pace(2, MOVES)
    for name in "abcd":
        pace.ask(order(name))
    assert take_all(pace) == ["a", "b"]
    pace.leave("z")
    assert take_all(pace) == []
    pace.leave("a")
    assert take_all(pace) == ["c"]


def test_one_that_hangs_gives_up_its_place() -> None:
    pace = Pace(1, MOVES)
    pace.ask(order("a"))
    assert take_all(pace) == ["a"]
    assert pace.look_again_at() is None
    pace.ask(order("b"))
    assert pace.look_again_at() == SLOT
    assert take_all(pace, SLOT - 0.1) == []
    assert take_all(pace, SLOT) == ["b"]


def test_a_withdrawn_start_does_not_come() -> None:
    pace = Pace(1, MOVES)
    pace.ask(order("a"))
    pace.ask(order("b"))
    assert pace.withdraw("a")
    assert not pace.withdraw("a")
    assert take_all(pace) == ["b"]
    assert not pace.withdraw("b")


def test_a_start_asked_for_again_comes_once_as_asked_last() -> None:
    pace = Pace(3, MOVES)
    pace.ask(order("a"))
    pace.withdraw("a")
    pace.ask(order("a", "paid"))
    pace.ask(order("a"))
    taken = pace.take(0.0)
    assert taken
    assert taken.settings.plan == "free"
    assert pace.take(0.0) is None


def test_those_who_come_to_a_database_are_paced_paid_first() -> None:
    pace = Pace(100, MOVES)
    for name in "abcdefg":
        pace.ask(order(name, "paid" if name > "d" else "free", to="db2"))
    assert take_all(pace) == ["e", "f", "g"]
    assert pace.look_again_at() == 0.5
    assert take_all(pace, 0.4) == []
    assert take_all(pace, 0.5) == ["a"]
    assert take_all(pace, 60.0) == ["b", "c", "d"]
    assert pace.look_again_at() is None


def test_a_database_that_is_stormed_holds_up_nobody_else() -> None:
    pace = Pace(100, MOVES)
    for name in "abcdef":
        pace.ask(order(name, again=True, to="db2"))
    assert take_all(pace) == ["a", "b", "c"]
    pace.ask(order("x"))
    pace.ask(order("y", to="db1"))
    assert take_all(pace) == ["x", "y"]
    assert pace.withdraw("d")
    assert take_all(pace, 0.5) == ["e"]


def test_who_has_a_token_to_come_needs_a_place_as_well() -> None:
    pace = Pace(1, MOVES)
    for name in "abcd":
        pace.ask(order(name, to="db2"))
    assert take_all(pace) == ["a"]
    assert pace.look_again_at() == SLOT
    pace.leave("a")
    assert take_all(pace) == ["b"]
    pace.leave("b")
    assert take_all(pace) == ["c"]
    pace.leave("c")
    assert pace.look_again_at() == 0.5
    assert take_all(pace) == []


def switch(tenant: str, to: str, plan: Plan = "free") -> Switch:
    settings = TenantSettings(package="shop", plan=plan)
    process = Process(pid=1, started=1, boot="b")
    return Switch(tenant=tenant, process=process, database=to, settings=settings)


def test_who_is_only_told_needs_a_token_and_no_place() -> None:
    pace = Pace(1, MOVES)
    pace.ask(order("a"))
    assert take_all(pace) == ["a"]
    pace.ask(order("b", to="db2"))
    for tenant in (switch("c", "db2"), switch("d", "db2", "paid"), switch("e", "db2"), switch("f", "db2")):
        pace.ask(tenant)
    assert take_all(pace) == ["d", "c", "e"]
    assert pace.look_again_at() == 0.5
    assert take_all(pace, 0.5) == ["f"]
    pace.leave("a")
    assert take_all(pace, 0.5) == []
    assert take_all(pace, 1.0) == ["b"]
