"""Which database: the best one, and of equally good ones the least loaded."""

from collections import Counter

import pytest
from msgspec import structs

from bus.events import (
    Ailment,
    DbDegraded,
    DbDown,
    DbDrainRequested,
    DbMisconfigured,
    DbUndrainRequested,
    DbUp,
)
from bus.sections import MoveSettings
from services.reactor.actions import DbVerdict
from services.reactor.placing import (
    Databases,
    Drained,
    Full,
    Load,
    Status,
    Verdict,
    Wanted,
    against,
    drain,
    judge,
    place,
)

BOTH = ("db1", "db2")


def known(db1: Status = "up", db2: Status = "up", loads: tuple[int, int] = (0, 0)) -> Databases:
    return Databases(
        databases={"db1": Verdict(status=db1, reason="as checked"), "db2": Verdict(status=db2)},
        loads={name: Load(there=number) for name, number in zip(BOTH, loads, strict=True)},
    )


def degraded(*kinds: Ailment, writable: bool = True) -> DbDegraded:
    return DbDegraded(database="db1", reason="", kinds=kinds, writable=writable, headroom=3)


def test_the_least_loaded_of_the_best() -> None:
    assert place(known(loads=(5, 4)), Wanted("acme", BOTH)) == "db2"
    assert place(known(loads=(4, 5)), Wanted("acme", BOTH)) == "db1"
    assert place(known(loads=(9, 1)), Wanted("acme", ("db1",))) == "db1"


def test_who_is_on_the_way_counts() -> None:
    loads = {"db1": Load(there=3), "db2": Load(there=1, coming=3)}
    both = Databases(databases=known().databases, loads=loads)
    assert place(both, Wanted("acme", BOTH)) == "db1"


def test_weights_divide_unevenly() -> None:
    loads: Counter[str] = Counter()
    for number in range(300):
        among = Databases(
            databases=known().databases,
            weights={"db1": 2.0},
            loads={name: Load(there=load) for name, load in loads.items()},
        )
        loads[str(place(among, Wanted(f"t{number}", BOTH)))] += 1
    assert loads == {"db1": 200, "db2": 100}


@pytest.mark.parametrize(
    ("db1", "db2", "new", "on_db1"),
    [
        ("up", "up", "db2", "db1"),
        ("unknown", "up", "db2", "db1"),
        ("misconfigured", "up", "db2", "db1"),
        ("degraded", "up", "db2", "db1"),
        ("unwritable", "up", "db2", "db2"),
        ("unwritable", "degraded", "db2", "db2"),
        ("unwritable", "behind", "db2", "db1"),
        ("behind", "up", "db2", "db1"),
        ("behind", "degraded", "db2", "db1"),
        ("down", "behind", "db2", "db2"),
        ("degraded", "unwritable", "db1", "db1"),
        ("unwritable", "down", "db1", "db1"),
        ("down", "up", "db2", "db2"),
        ("down", "degraded", "db2", "db2"),
        ("down", "unwritable", "db2", "db2"),
        ("down", "down", None, None),
        ("down", "unknown", None, None),
        ("misconfigured", "down", None, "db1"),
    ],
)
def test_new_ones_get_the_best_and_those_that_run_move_for_a_reason_only(
    db1: Status, db2: Status, new: str | None, on_db1: str | None
) -> None:
    among = known(db1, db2, loads=(5, 1))
    assert place(among, Wanted("acme", BOTH)) == new
    assert place(among, Wanted("acme", BOTH, held="db1", last="db1")) == on_db1


def test_who_is_on_the_way_goes_on_as_long_as_nothing_better_is_there() -> None:
    assert place(known("up", "up", loads=(1, 9)), Wanted("acme", BOTH, last="db2")) == "db2"
    assert place(known("up", "degraded"), Wanted("acme", BOTH, last="db2")) == "db1"


def test_what_is_not_allowed_is_left() -> None:
    assert place(known(), Wanted("acme", ("db2",), held="db1", last="db1")) == "db2"
    assert place(known(), Wanted("acme", (), held="db1", last="db1")) is None


@pytest.mark.parametrize(
    ("event", "status", "headroom"),
    [
        (DbUp(database="db1", reason="", headroom=7), "up", 7),
        (DbUp(database="db1", reason=""), "up", None),
        (degraded("slow"), "degraded", 3),
        (degraded("slow", "lagging"), "behind", 3),
        (degraded("replication-broken"), "behind", 3),
        (degraded("read-only", writable=False), "unwritable", 3),
        (DbDown(database="db1", reason=""), "down", None),
        (DbMisconfigured(database="db1", reason="", key=""), "misconfigured", None),
    ],
)
def test_what_dbwatch_says_is_judged(event: DbVerdict, status: Status, headroom: int | None) -> None:
    verdict = judge(Verdict(), 9, event, Load(there=4, coming=2))
    assert (verdict.status, verdict.headroom, verdict.there) == (status, headroom, 4)


class TestRoom:
    def known(self, headroom: int | None, coming: int, connections: int = 1) -> Databases:
        return Databases(
            databases={
                "db1": Verdict(status="down"),
                "db2": Verdict(status="up", headroom=headroom, there=10),
                "db3": Verdict(status="degraded"),
            },
            loads={"db2": Load(there=10, coming=coming)},
            moves=MoveSettings(connections=connections),
        )

    @pytest.mark.parametrize(
        ("headroom", "coming", "connections", "fits"),
        [
            (None, 1000, 1, True),
            (5, 4, 1, True),
            (5, 5, 1, False),
            (5, 2, 2, False),
            (6, 2, 2, True),
            (0, 0, 1, False),
        ],
    )
    def test_nobody_is_sent_where_no_connections_are_left(
        self, headroom: int | None, coming: int, connections: int, *, fits: bool
    ) -> None:
        among = self.known(headroom, coming, connections)
        assert place(among, Wanted("acme", BOTH, "db1", "db1")) == ("db2" if fits else Full(["db2"]))
        assert place(among, Wanted("acme", (*BOTH, "db3"))) == ("db2" if fits else "db3")

    def test_who_has_a_place_keeps_it(self) -> None:
        assert place(self.known(0, 9), Wanted("acme", BOTH, last="db2")) == "db2"
        assert place(self.known(0, 9), Wanted("acme", BOTH, "db2", "db2")) == "db2"


def test_the_reason_is_told_in_words() -> None:
    assert against(known("down"), "db1") == "database db1 is down: as checked"
    assert against(known("unwritable"), "db1") == "database db1 is unwritable: as checked"
    assert against(known(), "db1") == "database db1 is not allowed any more"
    assert against(known(), "db9") == "database db9 is not configured"


class TestDrain:
    def known(self, db1: Status = "up", db2: Status = "up", drained: tuple[str, ...] = ("db1",)) -> Databases:
        drains = {name: Drained(seq=1, by="ann") for name in drained}
        return structs.replace(known(db1, db2), drains=drains)

    @pytest.mark.parametrize(
        ("db1", "db2", "new", "on_db1"),
        [
            ("up", "up", "db2", "db2"),
            ("up", "degraded", "db2", "db2"),
            ("up", "behind", "db2", "db1"),
            ("up", "unwritable", "db1", "db1"),
            ("up", "down", "db1", "db1"),
            ("unwritable", "degraded", "db2", "db2"),
            ("down", "unwritable", "db2", "db2"),
        ],
    )
    def test_all_leave_it_for_one_that_is_as_good_and_it_is_the_last_resort(
        self, db1: Status, db2: Status, new: str, on_db1: str
    ) -> None:
        among = self.known(db1, db2)
        assert place(among, Wanted("acme", BOTH)) == new
        assert place(among, Wanted("acme", BOTH, held="db1", last="db1")) == on_db1

    def test_nobody_moves_between_two_that_are_drained(self) -> None:
        among = self.known(drained=BOTH)
        for name in BOTH:
            assert place(among, Wanted("acme", BOTH, held=name, last=name)) == name

    def test_the_newest_word_counts(self) -> None:
        begun = drain({}, 5, DbDrainRequested(database="db1", by="ann"))
        assert begun == {"db1": Drained(5, "ann")}
        ended = drain(begun, 7, DbUndrainRequested(database="db1", by="bob"))
        assert drain(ended, 6, DbDrainRequested(database="db1", by="ann")) == ended == {"db1": Drained(7, "")}

    def test_the_reason_is_told(self) -> None:
        assert against(self.known(), "db1") == "database db1 is drained by ann"
        assert against(self.known("down"), "db1") == "database db1 is down: as checked"
