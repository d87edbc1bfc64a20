"""Which release and which database."""

from collections import Counter

import pytest
from msgspec import structs

from bus.events import DbDegraded, DbDown, DbMisconfigured, DbUp, PackageWithdrawn
from bus.model import TenantSettings
from services.reactor.actions import SharedEvent
from services.reactor.placing import Verdict
from services.reactor.state import Target, Tenant, Wish
from services.reactor.wants import Lacking, Shared, aim, share
from tests.unit.services.reactor.world import release


def shared(*events: SharedEvent, databases: tuple[str, ...] = ()) -> Shared:
    one = Shared(databases={name: Verdict() for name in databases})
    for seq, event in enumerate(events, 1):
        one = share(one, seq, event)
    return one


def tenant(package: str = "shop", databases: tuple[str, ...] | None = None, name: str = "acme") -> Tenant:
    settings = TenantSettings(package=package, databases=databases)
    return Tenant(name=name, wish=Wish(seq=1, present=True, settings=settings))


def target(release_name: str, database: str = "") -> Target:
    return Target(release=release_name, database=database, stamp="", build="s")


def chosen(of: Tenant, among: Shared, held: Target | None = None) -> Target:
    goal = aim(of, among, held)
    assert isinstance(goal, Target)
    return goal


def lacking(of: Tenant, among: Shared, held: Target | None = None) -> Lacking:
    goal = aim(of, among, held)
    assert isinstance(goal, Lacking)
    return goal


SLOW1 = DbDegraded(database="db1", reason="slow", kinds=("slow",), writable=True)
READ_ONLY1 = DbDegraded(database="db1", reason="read-only", kinds=("read-only",), writable=False)
UP1, UP2 = DbUp(database="db1", reason=""), DbUp(database="db2", reason="")
DOWN1 = DbDown(database="db1", reason="refused")
SPOILT1 = DbMisconfigured(database="db1", reason="access denied", key="")
BOTH = ("db1", "db2")


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (("1.9", "1.10"), "1.10"),
        (("1.10", "1.9"), "1.10"),
        (("2.0rc1", "2.0", "2.0.dev3"), "2.0"),
        (("nightly", "0.1"), "0.1"),
        (("a", "b"), "b"),
    ],
)
def test_the_newest_release(versions: tuple[str, ...], newest: str) -> None:
    releases = shared(*(release(version) for version in versions))
    assert chosen(tenant(), releases).release == f"shop-{newest}"


def test_releases_of_others_and_withdrawn_ones_do_not_count() -> None:
    releases = shared(
        release("1.0"), release("2.0", app="shop-pro"), release("1.1"), PackageWithdrawn(release="shop-1.1")
    )
    assert chosen(tenant(), releases).release == "shop-1.0"


def test_a_pin_is_taken_at_its_word() -> None:
    releases = shared(release("1.0"), release("2.0"))
    assert chosen(tenant("shop==1.0"), releases).release == "shop-1.0"
    assert lacking(tenant("shop==1.5"), releases).reason == "no valid release of shop==1.5 in packages"


@pytest.mark.parametrize(
    ("package", "held", "release_name"),
    [
        ("shop", "shop-1.0", "shop-1.0"),
        ("shop==1.0", "shop-1.0", "shop-1.0"),
        ("shop==2.0", "shop-1.0", "shop-2.0"),
        ("shop", "shop-pro-1.0", "shop-2.0"),
        ("shop", "other-1.0", "shop-2.0"),
        ("shop", "shop-0.1", "shop-0.1"),  # withdrawn
    ],
)
def test_what_runs_stays_on_its_release_as_long_as_the_settings_allow(
    package: str, held: str, release_name: str
) -> None:
    releases = shared(release("1.0"), release("2.0"), release("1.0", app="shop-pro"))
    assert chosen(tenant(package), releases, target(held)).release == release_name


def test_overtaken_news_changes_nothing() -> None:
    one = shared(release("1.0"), UP1, databases=BOTH)
    assert share(one, 1, PackageWithdrawn(release="shop-1.0")) == one
    assert share(one, 2, DOWN1) == one
    assert share(one, 9, DbUp(database="nobody's", reason="")) == one


def test_the_same_verdict_again_keeps_its_reason() -> None:
    one = share(shared(DOWN1, databases=BOTH), 9, structs.replace(DOWN1, reason="another"))
    assert one.databases["db1"] == Verdict(seq=9, status="down", reason="refused", lost_at=1)


def test_without_databases_none_is_used() -> None:
    assert chosen(tenant(), shared(release("1.0"))).database == ""
    assert (
        lacking(tenant(databases=("db9",)), shared(release("1.0"))).reason == "database db9 is not configured"
    )


def test_tenants_are_spread_evenly_and_stay_where_they_are() -> None:
    both = shared(release("1.0"), UP1, UP2, databases=BOTH)
    counts = Counter(chosen(tenant(name=f"t{n}"), both).database for n in range(1000))
    assert min(counts.values()) > 400
    for database in BOTH:
        assert chosen(structs.replace(tenant(), database=database), both).database == database
        assert chosen(tenant(), both, target("shop-1.0", database)).database == database


@pytest.mark.parametrize(
    ("verdict", "database"),
    [(None, "db1"), (UP1, "db1"), (SLOW1, "db1"), (READ_ONLY1, "db2"), (DOWN1, "db2"), (SPOILT1, "db1")],
)
def test_only_an_outage_moves_what_runs(verdict: SharedEvent | None, database: str) -> None:
    events = [release("1.0"), UP2, *([verdict] if verdict else [])]
    among = shared(*events, databases=BOTH)
    assert chosen(tenant(), among, target("shop-1.0", "db1")).database == database
    if verdict != UP1:
        assert chosen(structs.replace(tenant(), database="db1"), among).database == "db2"


@pytest.mark.parametrize("ill", [SLOW1, READ_ONLY1])
def test_a_degraded_database_is_used_for_want_of_another(ill: SharedEvent) -> None:
    for other in ([], [structs.replace(DOWN1, database="db2")]):
        among = shared(release("1.0"), ill, *other, databases=BOTH)
        assert chosen(tenant(), among).database == "db1"
        assert chosen(tenant(), among, target("shop-1.0", "db1")).database == "db1"


def test_of_two_degraded_databases_the_one_that_takes_writes_is_used() -> None:
    among = shared(release("1.0"), READ_ONLY1, structs.replace(SLOW1, database="db2"), databases=BOTH)
    assert chosen(tenant(), among, target("shop-1.0", "db1")).database == "db2"


def test_a_database_that_is_not_allowed_any_more_is_left() -> None:
    among = shared(release("1.0"), UP1, UP2, databases=BOTH)
    assert chosen(tenant(databases=("db2",)), among, target("shop-1.0", "db1")).database == "db2"


def test_what_is_missing_is_said_in_words() -> None:
    among = shared(release("1.0"), DOWN1, databases=BOTH)
    assert lacking(tenant(), among).reason == (
        "database db1 is down: refused; nothing is known about database db2 yet"
    )
    assert not lacking(tenant(), among).quiet
    assert lacking(tenant(), structs.replace(among, patient=True)).quiet
    assert not lacking(tenant(databases=("db1",)), structs.replace(among, patient=True)).quiet


def test_who_has_no_database_yet_chooses_when_all_have_been_heard_of() -> None:
    one = shared(release("1.0"), UP2, databases=BOTH)
    begun = structs.replace(one, patient=True)
    assert lacking(tenant(), begun).quiet
    assert chosen(tenant(databases=("db2",)), begun).database == "db2"
    assert chosen(structs.replace(tenant(), database="db2"), begun).database == "db2"
    assert chosen(tenant(), one).database == "db2"
    assert chosen(tenant(), share(begun, 9, DOWN1)).database == "db2"
