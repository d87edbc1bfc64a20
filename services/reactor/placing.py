"""Which database a tenant gets: the best that it may use, and of equally good ones the least loaded."""

from collections.abc import Collection, Mapping
from hashlib import blake2s
from typing import Literal, NamedTuple, TypeAlias, assert_never

from msgspec import Struct

from bus.events import Ailment, DbCaughtUp, DbDegraded, DbDown, DbDrainRequested, DbMisconfigured, DbUp
from bus.sections import MoveSettings
from services.reactor.actions import DbVerdict, Drain

Status: TypeAlias = Literal["unknown", "up", "degraded", "behind", "unwritable", "down", "misconfigured"]
"""Degraded: answers, not as it should. Behind: lacks what others have. Unwritable: takes no writes."""

LACKS: frozenset[Ailment] = frozenset({"lagging", "replication-broken", "donor"})
"""What keeps a database from having what others have."""

UP, DEGRADED, BEHIND, DRAINED, UNWRITABLE, UNUSABLE = range(6)
"""How good a database is for a tenant; less is better."""

LOST: frozenset[Status] = frozenset({"down", "unwritable"})
"""What others are compared with, since nothing can be written there any more."""

RANKS: Mapping[Status, int] = {"up": UP, "degraded": DEGRADED, "behind": BEHIND, "unwritable": UNWRITABLE}


class Verdict(Struct, frozen=True, kw_only=True):
    """What dbwatch said last about a database."""

    seq: int = 0
    status: Status = "unknown"
    reason: str = ""
    headroom: int | None = None
    """Connections that it could take besides those that were open; None when that is not known."""
    there: int = 0
    """Tenants that it served at that moment."""
    lost_at: int = 0
    """seq of the verdict since which it is lost, 0 when it is not."""


class Load(NamedTuple):
    """How many tenants a database has."""

    there: int = 0
    """Those that it serves."""
    coming: int = 0
    """Those on their way."""

    @property
    def total(self) -> int:
        return self.there + self.coming


class Drained(NamedTuple):
    """What was asked for last about draining a database."""

    seq: int
    by: str
    """Who wants it without tenants; "" when that is over."""


class Sync(NamedTuple):
    """What dbwatch said last of a database that may have what another one had."""

    seq: int
    caught_up: bool | None


class Databases(Struct, frozen=True, kw_only=True):
    """What is known of all databases."""

    databases: Mapping[str, Verdict] = {}
    """Every configured database."""
    weights: Mapping[str, float] = {}
    """How many tenants each should have in comparison to the others; 1 when it is not named."""
    loads: Mapping[str, Load] = {}
    """Who leaves is counted where it goes to."""
    moves: MoveSettings = MoveSettings()
    drains: Mapping[str, Drained] = {}
    syncs: Mapping[tuple[str, str], Sync] = {}
    """Of each lost database and another one."""


def compare(
    known: Mapping[tuple[str, str], Sync], seq: int, event: DbCaughtUp
) -> Mapping[tuple[str, str], Sync]:
    """Take what dbwatch says of two databases; what newer words have overtaken changes nothing."""
    pair = event.source, event.target
    if pair in known and known[pair].seq >= seq:
        return known
    return {**known, pair: Sync(seq, event.caught_up)}


def drain(known: Mapping[str, Drained], seq: int, event: Drain) -> Mapping[str, Drained]:
    """Take what somebody asks for; what newer words have overtaken changes nothing."""
    if event.database in known and known[event.database].seq >= seq:
        return known
    return {**known, event.database: Drained(seq, event.by if isinstance(event, DbDrainRequested) else "")}


class Wanted(NamedTuple):
    """Who asks for a place."""

    tenant: str
    allowed: Collection[str]
    """Databases that are configured, and that the tenant may use."""
    held: str = ""
    """The one that its process uses; "" when it has none."""
    last: str = ""
    """The one that it used last, or is on its way to."""
    back: str = ""
    """The one that it may go back to, while that is as good as any; "" for none."""


def judge(known: Verdict, seq: int, event: DbVerdict, load: Load) -> Verdict:
    """Take what dbwatch says now."""
    status = _status(event)
    return Verdict(
        seq=seq,
        status=status,
        reason=known.reason if status == known.status else event.reason,  # the same again is no news
        headroom=event.headroom if isinstance(event, DbUp | DbDegraded) else None,
        there=load.there,
        lost_at=(known.lost_at or seq) if status in LOST else 0,
    )


def _status(event: DbVerdict) -> Status:
    match event:
        case DbUp():
            return "up"
        case DbDegraded(writable=False):
            return "unwritable"
        case DbDegraded():
            return "behind" if LACKS.intersection(event.kinds) else "degraded"
        case DbDown():
            return "down"
        case DbMisconfigured():
            return "misconfigured"
        case _:
            assert_never(event)


class Full(NamedTuple):
    """The databases that would do have no room for another tenant."""

    names: Collection[str]


def place(known: Databases, wanted: Wanted) -> str | Full | None:
    """Choose a database; None when none of them can be used."""
    ranks = {name: _rank(known, name) for name in wanted.allowed}
    best = min(ranks.values(), default=UNUSABLE)
    if ranks.get(wanted.back) == UP and (wanted.back == wanted.last or has_room(known, wanted.back)):
        return wanted.back
    if wanted.held in ranks and _may_stay(known, wanted.held, best):
        return wanted.held
    if best == UNUSABLE:
        return None
    if ranks.get(wanted.last) == best:
        return wanted.last
    usable = sorted((name for name in ranks if ranks[name] < UNUSABLE), key=ranks.__getitem__)
    roomy = [name for name in usable if name == wanted.last or has_room(known, name)]
    if not roomy:
        return Full(usable)
    best = ranks[roomy[0]]
    return min(
        (name for name in roomy if ranks[name] == best),
        key=lambda name: (_load_with_one_more(known, name), -chance(wanted.tenant, name)),
    )


def _rank(known: Databases, name: str) -> int:
    rank = RANKS.get(known.databases[name].status, UNUSABLE)
    return max(rank, DRAINED) if drained_by(known, name) else rank


def _may_stay(known: Databases, held: str, best: int) -> bool:
    """Tell whether a process stays on what it uses: nothing but an outage or a better one moves it."""
    status = known.databases[held].status
    leave = status == "unwritable" or drained_by(known, held)
    return status != "down" and not (leave and best <= DEGRADED)


def is_up(known: Databases, name: str) -> bool:
    """Tell whether nothing at all speaks against a database."""
    return name in known.databases and _rank(known, name) == UP


def has_room(known: Databases, name: str) -> bool:
    """Tell whether the connections that were free would do for all that came since, and one more."""
    verdict = known.databases[name]
    if verdict.headroom is None:
        return True
    came = max(0, load(known, name).total - verdict.there)
    return (came + 1) * known.moves.connections <= verdict.headroom


def _load_with_one_more(known: Databases, name: str) -> float:
    return (load(known, name).total + 1) / known.weights.get(name, 1.0)


def load(known: Databases, name: str) -> Load:
    """Tell how many tenants a database has."""
    return known.loads.get(name, Load())


def drained_by(known: Databases, database: str) -> str:
    """Tell who wants a database without tenants; "" when nobody does."""
    drained = known.drains.get(database)
    return drained.by if drained else ""


def against(known: Databases, database: str) -> str:
    """Say in words why a database cannot be used, or is not used any more."""
    verdict = known.databases.get(database)
    if verdict is None:
        return f"database {database} is not configured"
    if verdict.status == "unknown":
        return f"nothing is known about database {database} yet"
    if verdict.status in {"up", "degraded", "behind"}:
        by = drained_by(known, database)
        if by:
            return f"database {database} is drained by {by}"
        return f"database {database} is not allowed any more"
    return f"database {database} is {verdict.status}: {verdict.reason}"


def chance(*of: object) -> float:
    """Give a number from 0 up to 1 that looks like chance, and is the same each time for the same values."""
    digest = blake2s("\0".join(map(str, of)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
