"""Judges what a check has read; pure."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from bus.events import Ailment, DbDegraded, DbDown, DbMisconfigured, DbUp
from services.dbwatch.reading import Galera, Reading, Source

Finding: TypeAlias = DbUp | DbDegraded | DbDown | DbMisconfigured
"""What one check found; the same types are what is said."""

DONOR, JOINED = 2, 3
UNWRITABLE: AbstractSet[Ailment] = {"read-only", "disk-full", "not-writable", "locked"}

DonorPolicy: TypeAlias = Literal["up", "degraded", "down"]


class Limits(Struct, frozen=True, kw_only=True):
    """Where good ends, of one database."""

    lag: float
    """Seconds that it may be behind."""
    headroom: float
    """Share of its connections that should be free."""
    slow: float
    """Seconds that a check should take at most."""
    donor: DonorPolicy
    """What a Galera node is while it feeds another one."""


class Ill(NamedTuple):
    kind: Ailment
    reason: str


def judge(database: str, reading: Reading, limits: Limits, away: AbstractSet[int] = frozenset()) -> Finding:
    """Tell what a reading means.

    `away` holds the server_id of databases that are known to be down: that they cannot be followed is their
    trouble.
    """
    refusal = _refusal(reading.galera, limits)
    if refusal:
        return DbDown(database=database, reason=refusal, latency=reading.latency)
    ills = list(_ills(reading, limits, away))
    facts: dict[str, Any] = {
        "database": database,
        "latency": reading.latency,
        "headroom": _headroom(reading),
        "connections": reading.connections,
        "replication": _replication(reading.sources),
        "lag": max((each.lag for each in reading.sources or () if each.lag is not None), default=None),
        "galera": _galera(reading.galera),
    }
    if not ills:
        reason = "; ".join(filter(None, (reading.server, reading.unwritten)))
        return DbUp(reason=reason, **facts)
    return DbDegraded(
        reason="; ".join(ill.reason for ill in ills),
        kinds=tuple(ill.kind for ill in ills),
        writable=UNWRITABLE.isdisjoint(ill.kind for ill in ills),
        **facts,
    )


def _refusal(galera: Galera | None, limits: Limits) -> str:
    """Say why a node of a cluster takes no queries, or should get none."""
    if galera is None:
        return ""
    if not galera.ready or galera.status != "Primary":
        return f"Galera refuses queries: {_galera(galera)}"
    if galera.state == DONOR and limits.donor == "down":
        return f'Galera: {_galera(galera)}, and donor = "down"'
    return ""


def _ills(reading: Reading, limits: Limits, away: AbstractSet[int]) -> Iterator[Ill]:
    """Tell all that is wrong, the worst first."""
    if reading.read_only:
        yield Ill("read-only", f"{reading.read_only} is on")
    elif reading.failure:
        yield Ill(reading.failure.kind, reading.failure.reason)
    for source in reading.sources or ():
        if not source.applying or not (source.connected or source.server in away):
            yield Ill("replication-broken", _broken(source))
    galera = reading.galera
    if galera and galera.state == DONOR and limits.donor == "degraded":
        yield Ill("donor", f"Galera: {_galera(galera)}")
    yield from _late(reading, limits)
    headroom = _headroom(reading)
    if headroom is not None and headroom < limits.headroom * (reading.connections_max or 0):
        yield Ill("nearly-full", f"{headroom} of {reading.connections_max} connections are free")
    if reading.latency > limits.slow:
        yield Ill("slow", f"a check took {reading.latency:.2g} s")


def _late(reading: Reading, limits: Limits) -> Iterator[Ill]:
    if reading.galera and reading.galera.state == JOINED:
        yield Ill("lagging", f"Galera: {_galera(reading.galera)}, catching up")
    for source in reading.sources or ():
        if source.lag is not None and source.lag > limits.lag:
            yield Ill("lagging", f"{source.lag:g} s behind {source.place}")


def _headroom(reading: Reading) -> int | None:
    if reading.connections is None or reading.connections_max is None:
        return None
    return max(0, reading.connections_max - reading.connections)


def _broken(source: Source) -> str:
    if not source.applying:
        return f"does not apply what {source.place} wrote: {source.error or 'stopped'}"
    return f"does not hear {source.place}: {source.error or 'stopped'}"


def _replication(sources: tuple[Source, ...] | None) -> str:
    if sources is None:
        return "may not be asked: the user lacks the privilege SLAVE MONITOR"
    return ", ".join(map(_following, sources))


def _following(source: Source) -> str:
    if not source.applying:
        return f"follows {source.place}, stopped"
    if not source.connected:
        return f"follows {source.place}, not connected"
    behind = "unknown" if source.lag is None else f"{source.lag:g} s"
    return f"follows {source.place}, behind {behind}"


def _galera(galera: Galera | None) -> str:
    if galera is None:
        return ""
    nodes = "1 node" if galera.size == 1 else f"{galera.size} nodes"
    return f"{galera.status}, {galera.comment or galera.state}, {nodes}"
