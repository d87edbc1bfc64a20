"""Whose start comes next."""

from bus.model import Plan, TenantSettings
from services.reactor.actions import Spawn
from services.reactor.pace import SLOT, Pace


def order(tenant: str, plan: Plan = "free", *, again: bool = False) -> Spawn:
    settings = TenantSettings(package="shop", plan=plan)
    return Spawn(tenant=tenant, release="shop-1", database="", settings=settings, stamp="", again=again)


def take_all(pace: Pace, at: float = 0.0) -> list[str]:
    taken = []
    while spawn := pace.take(at):
        taken.append(spawn.tenant)
    return taken


def test_again_before_anew_paid_before_free_then_by_name() -> None:
    pace = Pace(10)
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
    pace = Pace(2)
    for name in "abcd":
        pace.ask(order(name))
    assert take_all(pace) == ["a", "b"]
    pace.leave("z")
    assert take_all(pace) == []
    pace.leave("a")
    assert take_all(pace) == ["c"]


def test_one_that_hangs_gives_up_its_place() -> None:
    pace = Pace(1)
    pace.ask(order("a"))
    assert take_all(pace) == ["a"]
    assert pace.look_again_at() is None
    pace.ask(order("b"))
    assert pace.look_again_at() == SLOT
    assert take_all(pace, SLOT - 0.1) == []
    assert take_all(pace, SLOT) == ["b"]


def test_a_withdrawn_start_does_not_come() -> None:
    pace = Pace(1)
    pace.ask(order("a"))
    pace.ask(order("b"))
    assert pace.withdraw("a")
    assert not pace.withdraw("a")
    assert take_all(pace) == ["b"]
    assert not pace.withdraw("b")


def test_a_start_asked_for_again_comes_once_as_asked_last() -> None:
    pace = Pace(3)
    pace.ask(order("a"))
    pace.withdraw("a")
    pace.ask(order("a", "paid"))
    pace.ask(order("a"))
    taken = pace.take(0.0)
    assert taken
    assert taken.settings.plan == "free"
    assert pace.take(0.0) is None
