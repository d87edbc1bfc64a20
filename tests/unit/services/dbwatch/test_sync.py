from bus.events import DbCaughtUp
from services.dbwatch.reading import Position, Reading, Source
from services.dbwatch.sync import WORDS_MAX, Sync, see, settle

NAMES = ("db1", "db2", "db3")


def reading(server: int, own: str = "", received: str = "", follows: tuple[int, ...] | None = ()) -> Reading:
    sources = None
    if follows is not None:
        sources = tuple(
            Source(place="h:3306", server=other, connected=True, applying=True, lag=0.0) for other in follows
        )
    position = Position(lineage="mariadb", server=server, own=own, received=received)
    return Reading(server="10.11", sources=sources, position=position)


def seen(**readings: Reading) -> Sync:
    sync = Sync(standings=dict.fromkeys(NAMES))
    for name, one in readings.items():
        sync = see(sync, name, one)
    return sync


def answers(events: list[DbCaughtUp]) -> list[tuple[str, str, bool | None]]:
    return [(event.source, event.target, event.caught_up) for event in events]


SOURCE = reading(1, own="1-1-100")


def test_nothing_is_said_while_nobody_is_lost() -> None:
    sync = seen(db1=SOURCE, db2=reading(2, received="1-1-100", follows=(1,)))
    assert settle(sync, set())[1] == []


def test_it_is_said_once_that_it_has_not_and_once_that_it_has() -> None:
    sync = seen(db1=SOURCE, db2=reading(2, received="1-1-98", follows=(1,)))
    sync, events = settle(sync, {"db1"})
    assert answers(events) == [("db1", "db2", False)]
    assert (events[0].wanted, events[0].reached) == ("1-1-100", "1-1-98")
    sync, events = settle(see(sync, "db2", reading(2, received="1-1-99", follows=(1,))), {"db1"})
    assert events == []
    sync, events = settle(see(sync, "db2", reading(2, received="1-1-100", follows=(1,))), {"db1"})
    assert answers(events) == [("db1", "db2", True)]
    sync, events = settle(see(sync, "db2", reading(2, received="1-1-100", follows=(1,))), {"db1"})
    assert events == []
    sync, _ = settle(sync, set())
    assert answers(settle(sync, {"db1"})[1]) == [("db1", "db2", True)], "a new outage"


def test_by_way_of_another_one_that_is_watched() -> None:
    far = reading(3, received="1-1-100", follows=(2,))
    near = reading(2, received="1-1-100", follows=(1,))
    sync = seen(db1=SOURCE, db2=near, db3=far)
    assert answers(settle(sync, {"db1"})[1]) == [("db1", "db2", True), ("db1", "db3", True)]


def test_equal_numbers_of_strangers_mean_nothing() -> None:
    sync = seen(db1=reading(1, own="0-1-100"), db2=reading(2, own="0-2-500"))
    _, events = settle(sync, {"db1"})
    assert answers(events) == [("db1", "db2", None)]
    assert events[0].reason == "db2 does not follow db1"


def test_what_may_not_be_asked_is_not_known() -> None:
    sync = seen(db1=SOURCE, db2=reading(2, received="1-1-100", follows=None))
    _, events = settle(sync, {"db1"})
    assert answers(events) == [("db1", "db2", None)]
    assert "SLAVE MONITOR" in events[0].reason


def test_what_was_never_seen_is_not_known() -> None:
    sync = seen(db2=reading(2))
    _, events = settle(sync, {"db1"})
    assert answers(events) == [("db1", "db2", None)], "and nothing of db3, of which nothing is known either"
    assert events[0].reason == "nothing was seen of db1 since dbwatch started"


def test_who_is_lost_as_well_is_no_target() -> None:
    sync = seen(db1=SOURCE, db2=reading(2, received="1-1-100", follows=(1,)))
    assert settle(sync, {"db1", "db2"})[1] == []


def test_circle_ends() -> None:
    sync = seen(
        db1=SOURCE,
        db2=reading(2, own="2-2-1", received="1-1-100", follows=(3,)),
        db3=reading(3, received="2-2-1", follows=(2,)),
    )
    assert {event.caught_up for event in settle(sync, {"db1"})[1]} == {None}


def test_long_positions_are_cut() -> None:
    long = ",".join(f"{domain}-1-1" for domain in range(200))
    sync = seen(db1=reading(1, own=long), db2=reading(2, received=long, follows=(1,)))
    _, (event,) = settle(sync, {"db1"})
    assert event.caught_up
    assert len(event.wanted) == WORDS_MAX
