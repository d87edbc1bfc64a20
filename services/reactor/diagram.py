"""Draws the states of a tenant by trying: the picture shows what `decide` can be brought to do, no more."""

from collections.abc import Iterator
from typing import NamedTuple, get_args

from msgspec import structs

from bus.events import (
    DbCaughtUp,
    DbDown,
    DbUp,
    PackageReleased,
    PackageWithdrawn,
    ProcOversize,
    ProcReady,
    ProcStuck,
    RestartRequested,
    StartRequested,
    StopRequested,
    TenantIdle,
    UserAdded,
    UserDeleted,
    UserModified,
)
from bus.model import PackageSettings, TenantSettings
from services.reactor.actions import (
    BecameReady,
    Ended,
    Found,
    Heard,
    Input,
    Knocked,
    Process,
    Publish,
    SharedEvent,
    Spawned,
    SpawnFailed,
    TenantEvent,
    TimeCame,
    Withdrawn,
)
from services.reactor.adopt import label
from services.reactor.learn import learn
from services.reactor.placing import Verdict
from services.reactor.replace import deadline, step
from services.reactor.state import CatchingUp, Idle, Replacing, State, Target, Tenant
from services.reactor.steps import EXIT_NEVER
from services.reactor.wants import Shared, aim, share

NAME, BY = "acme", "somebody"
PROCESS = Process(pid=1, started=1, boot="")
SUCCESSOR = Process(pid=2, started=2, boot="")
SETTINGS = TenantSettings(package="shop")
OTHERS = TenantSettings(package="shop", env={"A": "1"}, start="on-demand")
PACKAGE = PackageReleased(
    release="shop-1", app="shop", version="1", path="", settings=PackageSettings(entry="shop:app"), stamp=""
)
MANY = 3
"""Failures in a row after which nothing new comes: at once, a pause, a longer pause."""

EVENTS: tuple[TenantEvent, ...] = (
    UserAdded(tenant=NAME, path="", settings=SETTINGS, stamp="1"),
    UserModified(tenant=NAME, path="", settings=OTHERS, stamp="2"),
    UserDeleted(tenant=NAME),
    StartRequested(tenant=NAME, by=BY),
    StopRequested(tenant=NAME, by=BY),
    RestartRequested(tenant=NAME, by=BY),
    ProcStuck(tenant=NAME, pid=PROCESS.pid, started=PROCESS.started),
    TenantIdle(tenant=NAME, pid=PROCESS.pid, started=PROCESS.started, idle_for=900.0, reason="idle"),
    ProcOversize(tenant=NAME, pid=PROCESS.pid, started=PROCESS.started),
)
SHARED_EVENTS: tuple[SharedEvent, ...] = (
    PACKAGE,
    PackageWithdrawn(release=PACKAGE.release),
    DbUp(database="db1", reason=""),
    DbDown(database="db1", reason=""),
    DbCaughtUp(source="db1", target="db2", caught_up=True, reason=""),
)


def _news(tenant: Tenant) -> Iterator[tuple[str, Input]]:
    """Tell what can be heard of processes: of the only one, or of one that comes or goes beside another."""
    both = isinstance(tenant.state, Replacing) or tenant.leaving
    yield "Spawned", Spawned(tenant=NAME, process=SUCCESSOR if both else PROCESS, port=0)
    yield "SpawnFailed", SpawnFailed(tenant=NAME, reason="no memory", never=False)
    yield "SpawnFailed for good", SpawnFailed(tenant=NAME, reason="no such entry", never=True)
    yield "Withdrawn", Withdrawn(tenant=NAME)
    yield "Knocked", Knocked(tenant=NAME)
    for process in (PROCESS, SUCCESSOR):
        yield "BecameReady", BecameReady(tenant=NAME, process=process)
        yield "Ended", Ended(tenant=NAME, process=process, code=1, signal="")
        yield "Ended with exit code 3", Ended(tenant=NAME, process=process, code=EXIT_NEVER, signal="")


class Place(NamedTuple):
    """A tenant, and the world around it."""

    tenant: Tenant
    shared: Shared
    at: float
    seq: int


class Edge(NamedTuple):
    """From a state to the next one, and what leads there."""

    source: str
    target: str
    why: str


def render() -> str:
    """Draw all states, and the ways between them, as a Mermaid state diagram."""
    ways: dict[tuple[str, str], list[str]] = {}
    for edge in sorted(set(_explore())):
        ways.setdefault((edge.source, edge.target), []).append(edge.why)
    lines = ["stateDiagram-v2"]
    lines += [f"    {_name(state)} : {_name(state)} ({state.shown})" for state in _states()]
    lines.append("    [*] --> Idle")
    lines += [f"    {source} --> {target} : {', '.join(why)}" for (source, target), why in ways.items()]
    return "\n".join(lines) + "\n"


def _states() -> tuple[type[State], ...]:
    return get_args(State)


def _name(state: type) -> str:
    return state.__name__


def _explore() -> Iterator[Edge]:
    """Try everything everywhere, once in each kind of place."""
    places = [Place(Tenant(name=NAME), Shared(databases={"db1": Verdict()}), 0.0, 0), _after_a_restart()]
    places.append(_after_an_outage())
    seen: set[object] = set()
    while places:
        place = places.pop()
        if _kind(place) in seen:
            continue
        seen.add(_kind(place))
        for why, after in _try_all(place):
            edges, then = _settle(place, why, after)
            yield from edges
            if len(then.shared.databases) == 1 or isinstance(then.tenant.state, CatchingUp):
                places.append(then)


def _after_a_restart() -> Place:
    """Put together what a reactor knows when it starts again: nothing yet about processes."""
    shared = Shared(databases={"db1": Verdict()})
    for event in (PACKAGE, DbUp(database="db1", reason="")):
        shared = share(shared, 1, event)
    tenant = Tenant(name=NAME)
    said = ProcReady(tenant=NAME, pid=PROCESS.pid, started=PROCESS.started)
    for seq, heard in enumerate((EVENTS[0], said), 1):
        tenant = learn(tenant, Heard(seq=seq, event=heard), 0.0)
    return Place(tenant, shared, 0.0, 2)


def _after_an_outage() -> Place:
    """Put together what a reactor knows of a tenant whose database went down while it did not run."""
    shared = Shared(databases={"db1": Verdict(), "db2": Verdict()})
    shared = share(shared, 1, PACKAGE)
    shared = share(shared, 2, DbUp(database="db2", reason=""))
    shared = share(shared, 3, DbDown(database="db1", reason=""))
    return Place(Tenant(name=NAME, database="db1"), shared, 0.0, 3)


def _kind(place: Place) -> object:
    """Tell places apart as far as that may lead to other states."""
    tenant, shared = place.tenant, place.shared
    return (
        type(tenant.state),
        isinstance(tenant.state, Replacing) and type(tenant.state.new),
        tenant.leaving and type(tenant.leaving.state),
        tenant.wish.present,
        tenant.wish.stamp,
        tenant.wish.settings.start and tenant.awake,
        tenant.order.request and tenant.order.stop,
        min(len(tenant.record.failures), MANY),
        tenant.record.probation,
        bool(shared.newest),
        shared.databases["db1"].status,
        len(shared.databases),
        shared.ending,
    )


def _try_all(place: Place) -> Iterator[tuple[str, Place]]:
    """Let each thing happen that can be heard."""
    tenant, shared, at, seq = place
    seq += 1
    for event in EVENTS:
        heard = Heard(seq=seq, event=event)
        yield event.type, Place(learn(tenant, heard, at), shared, at, seq)
    for shared_event in SHARED_EVENTS:
        yield shared_event.type, Place(tenant, share(shared, seq, shared_event), at, seq)
    for why, news in _news(tenant):
        yield why, Place(learn(tenant, news, at), shared, at, seq)
    goal = aim(tenant, shared)
    if isinstance(goal, Target):
        yield "Found", Place(learn(tenant, _found(goal, ready=True), at), shared, at, seq)
        yield "Found", Place(learn(tenant, _found(goal, ready=False), at), shared, at, seq)
    later = deadline(tenant, shared)
    if later is not None:
        yield "time", Place(learn(tenant, TimeCame(tenant=NAME), later), shared, later, seq)
    yield "the product ends", Place(tenant, structs.replace(shared, ending=True), at, seq)


def _found(target: Target, *, ready: bool) -> Found:
    return Found(
        tenant=NAME,
        process=PROCESS,
        release=target.release,
        database=target.database,
        port=0,
        ready=ready,
        stamp=label(target),
    )


def _settle(before: Place, why: str, place: Place) -> tuple[list[Edge], Place]:
    """Take all steps that follow, as `settle` does, and note each."""
    edges: list[Edge] = []

    def note(source: State, target: State, reason: str) -> None:
        if type(source) is not type(target):
            edges.append(Edge(_name(type(source)), _name(type(target)), reason))

    note(before.tenant.state, place.tenant.state, why)
    tenant = place.tenant
    while True:
        state, leaving = tenant.state, tenant.leaving
        tenant, actions = step(tenant, place.shared, place.at)
        if (tenant.state, tenant.leaving) == (state, leaving):
            return edges, place._replace(tenant=tenant)
        verbs = " and ".join(type(action).__name__ for action in actions if not isinstance(action, Publish))
        anyway = edges or isinstance(state, Idle)  # whatever was heard
        reason = verbs if anyway else ": ".join(filter(None, (why, verbs)))
        note(state, tenant.state, reason or "at once")
