import pytest
from msgspec import structs

from bus.events import DbDegraded, DbDown, DbUp
from services.dbwatch.reading import Failure, Galera, Reading, Source
from services.dbwatch.verdict import DonorPolicy, Limits, judge

LIMITS = Limits(lag=10.0, headroom=0.1, slow=0.5, donor="degraded")
FINE = Reading(server="10.11", latency=0.002, connections=5, connections_max=100)
FOLLOWS = Source(place="h:3306", server=7, connected=True, applying=True, lag=0.0)
NODE = Galera(ready=True, status="Primary", state=4, comment="Synced", size=3)
DONOR = structs.replace(NODE, state=2, comment="Donor/Desynced")


def test_one_that_is_well() -> None:
    up = judge("db1", structs.replace(FINE, sources=(FOLLOWS,), galera=NODE), LIMITS)
    assert up == DbUp(
        database="db1",
        reason="10.11",
        latency=0.002,
        headroom=95,
        connections=5,
        replication="follows h:3306, behind 0 s",
        lag=0.0,
        galera="Primary, Synced, 3 nodes",
    )


@pytest.mark.parametrize(
    ("change", "kind", "writable", "reason"),
    [
        ({"read_only": "read_only"}, "read-only", False, "read_only is on"),
        ({"failure": Failure(kind="disk-full", reason="no room")}, "disk-full", False, "no room"),
        ({"failure": Failure(kind="locked", reason="waits")}, "locked", False, "waits"),
        ({"latency": 0.7}, "slow", True, "a check took 0.7 s"),
        ({"connections": 91}, "nearly-full", True, "9 of 100 connections are free"),
        ({"connections": 101}, "nearly-full", True, "0 of 100 connections are free"),
        ({"sources": (structs.replace(FOLLOWS, lag=11.0),)}, "lagging", True, "11 s behind h:3306"),
        (
            {"sources": (structs.replace(FOLLOWS, applying=False, error="duplicate key"),)},
            "replication-broken",
            True,
            "does not apply what h:3306 wrote: duplicate key",
        ),
        (
            {"sources": (FOLLOWS, structs.replace(FOLLOWS, connected=False, place="g:3306", server=8))},
            "replication-broken",
            True,
            "does not hear g:3306: stopped",
        ),
        ({"galera": DONOR}, "donor", True, "Galera: Primary, Donor/Desynced, 3 nodes"),
        (
            {"galera": structs.replace(NODE, state=3, comment="Joined")},
            "lagging",
            True,
            "Galera: Primary, Joined, 3 nodes, catching up",
        ),
    ],
)
def test_one_that_is_ill(change: dict[str, object], kind: str, reason: str, *, writable: bool) -> None:
    ill = judge("db1", structs.replace(FINE, **change), LIMITS)
    assert isinstance(ill, DbDegraded)
    assert (ill.kinds, ill.writable, ill.reason) == ((kind,), writable, reason)


def test_limits_belong_to_what_is_well() -> None:
    edge = structs.replace(FINE, latency=0.5, connections=90, sources=(structs.replace(FOLLOWS, lag=10.0),))
    assert isinstance(judge("db1", edge, LIMITS), DbUp)


def test_all_that_is_wrong_is_told_the_worst_first() -> None:
    ill = judge(
        "db1",
        structs.replace(FINE, read_only="read_only", latency=2.0, connections=99, galera=DONOR),
        LIMITS,
    )
    assert isinstance(ill, DbDegraded)
    assert ill.kinds == ("read-only", "donor", "nearly-full", "slow")
    assert ill.reason.startswith("read_only is on; Galera: ")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (structs.replace(NODE, ready=False), "Galera refuses queries: Primary, Synced, 3 nodes"),
        (
            Galera(ready=False, status="non-Primary", state=0, comment="Initialized", size=1),
            "Galera refuses queries: non-Primary, Initialized, 1 node",
        ),
        (
            structs.replace(NODE, status="non-Primary"),
            "Galera refuses queries: non-Primary, Synced, 3 nodes",
        ),
    ],
)
def test_node_that_refuses_queries(node: Galera, reason: str) -> None:
    down = judge("db1", structs.replace(FINE, galera=node), LIMITS)
    assert down == DbDown(database="db1", reason=reason, latency=0.002)


@pytest.mark.parametrize(("policy", "state"), [("up", DbUp), ("degraded", DbDegraded), ("down", DbDown)])
def test_donors_are_what_the_settings_say(policy: DonorPolicy, state: type) -> None:
    limits = structs.replace(LIMITS, donor=policy)
    assert type(judge("db1", structs.replace(FINE, galera=DONOR), limits)) is state


def test_source_that_is_down_is_no_fault_but_not_applying_is() -> None:
    lonely = structs.replace(FOLLOWS, connected=False, lag=None)
    alone = structs.replace(FINE, sources=(lonely,))
    assert isinstance(judge("db1", alone, LIMITS, {7}), DbUp)
    assert isinstance(judge("db1", alone, LIMITS, {8}), DbDegraded)
    stopped = structs.replace(FINE, sources=(structs.replace(lonely, applying=False),))
    assert isinstance(judge("db1", stopped, LIMITS, {7}), DbDegraded)


def test_what_may_not_be_asked_is_said_and_not_judged() -> None:
    up = judge("db1", structs.replace(FINE, sources=None, unwritten="not written to: denied"), LIMITS)
    assert isinstance(up, DbUp)
    assert up.replication.startswith("may not be asked")
    assert up.reason == "10.11; not written to: denied"


def test_nothing_is_made_of_what_is_not_known() -> None:
    up = judge("db1", Reading(server="SQLite 3"), LIMITS)
    assert up == DbUp(database="db1", reason="SQLite 3")
