"""Who has left a database, and who may not."""

import pytest

from bus.events import (
    AnyEvent,
    DbDrainRequested,
    DbUndrainRequested,
    DbUp,
    ProcBackoff,
    ProcExited,
    ProcMoved,
    ProcReady,
    ProcReplaceFailed,
    ProcStarted,
    ProcStopped,
    ProcStopping,
    ProcWaiting,
)
from bus.model import TenantSettings
from cli.evacuation import NOT_YET, Departure, Evacuation, cannot_leave, drained, mark
from cli.view import DatabaseRow, TenantRow
from tests.unit.cli.envelopes import envelope


def row(tenant: str = "acme", state: str = "RUNNING", database: str = "db1") -> TenantRow:
    return TenantRow(tenant, state, 7, "shop-1.0", database, None, None, 0, "")


def left(*events: AnyEvent, rows: tuple[TenantRow, ...] = (row(),)) -> tuple[list[Departure], set[str]]:
    evacuation = Evacuation("db1", rows)
    departures = [evacuation.hear(envelope(seq, event)) for seq, event in enumerate(events, 1)]
    return [each for each in departures if each], set(evacuation.left)


MOVED = ProcMoved(tenant="acme", pid=7, source="db1", target="db2", serving=7)
NEW_STARTED = ProcStarted(tenant="acme", pid=8, database="db2", serving=7)
NEW_READY = ProcReady(tenant="acme", pid=8, database="db2")
OLD_STOPPING = ProcStopping(tenant="acme", pid=7, database="db1", serving=8)
OLD_EXITED = ProcExited(tenant="acme", pid=7, database="db1", serving=8)
REPLACED = (MOVED, NEW_STARTED, NEW_READY, OLD_STOPPING, OLD_EXITED)


def test_who_is_replaced_has_left_when_the_old_process_has_ended() -> None:
    assert left(*REPLACED) == ([Departure("acme", "MOVED", "db2")], set())
    assert left(*REPLACED[:-1]) == ([], {"acme"})


def test_who_is_told_has_left_when_the_same_process_serves_from_the_other() -> None:
    told = ProcReady(tenant="acme", pid=7, database="db2")
    assert left(MOVED, told) == ([Departure("acme", "MOVED", "db2")], set())


@pytest.mark.parametrize("end", [ProcStopped(tenant="acme"), ProcWaiting(tenant="acme", reason="no release")])
def test_who_does_not_run_any_more_has_left_as_well(end: AnyEvent) -> None:
    departures, still = left(OLD_STOPPING, end)
    assert (departures[0].state, still) == ("ENDED", set())


def test_who_comes_back_counts_again() -> None:
    back = ProcReady(tenant="acme", pid=9, database="db1")
    backoff = ProcBackoff(tenant="acme", database="db1", reason="boom")
    departures, still = left(OLD_EXITED, backoff, back)
    assert (departures, still) == ([Departure("acme", "ENDED", "")], {"acme"})


def test_only_those_on_it_are_followed() -> None:
    others = (row("bolt", database="db2"), row("cups", state="STOPPED"))
    assert left(ProcReady(tenant="dart", pid=3, database="db2"), rows=others) == ([], set())
    assert left(DbUp(database="db1", reason=""), ProcReady(tenant="dart", pid=3, database="db1"))[1] == {
        "acme",
        "dart",
    }


def test_who_stays_has_a_reason() -> None:
    evacuation = Evacuation("db1", [row()])
    assert evacuation.stays("acme") == Departure("acme", "STAYS", "db1", NOT_YET)
    evacuation.hear(envelope(1, ProcReplaceFailed(tenant="acme", serving=7, reason="no room", retry_in=1.0)))
    assert evacuation.stays("acme") == Departure("acme", "STAYS", "db1", "no room; next try after 1 s")
    assert evacuation.stays("acme", "because") == Departure("acme", "STAYS", "db1", "because")


@pytest.mark.parametrize(
    ("drained_too", "staying"),
    [((), {"one"}), (("db2",), {"one", "two"}), (("db2", "db3"), {"one", "two", "all"})],
)
def test_who_may_use_no_other_database(drained_too: tuple[str, ...], staying: set[str]) -> None:
    settings = {
        "one": TenantSettings(package="shop", databases=("db1",)),
        "two": TenantSettings(package="shop", databases=("db1", "db2")),
        "all": TenantSettings(package="shop"),
    }
    assert cannot_leave("db1", settings, ("db1", "db2", "db3"), ("db1", *drained_too)) == staying


def test_what_is_drained_is_marked() -> None:
    rows = [DatabaseRow(name, "UP", None, 3, None, None, "", "answers") for name in ("db1", "db2")]
    by = drained(
        [
            envelope(1, DbDrainRequested(database="db1", by="ann")),
            envelope(2, DbUndrainRequested(database="db2", by="ann")),
        ]
    )
    assert [each.reason for each in mark(rows, by)] == ["draining, asked by ann; answers", "answers"]
