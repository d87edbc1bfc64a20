"""Who goes back to a database that has returned, one by one, until each has its share again: pure.

A tenant goes only when the database that it leaves still has as many for its weight afterwards as the one
that it comes to. Each such move lowers the sum of tenants² / weight over all databases, so they come to an
end, and none undoes another, whatever the number of databases and their weights.
"""

from collections.abc import Iterable, Mapping
from itertools import permutations

from msgspec import structs

from bus.sections import MoveSettings
from services.reactor.actions import MayGoBack
from services.reactor.placing import Databases, has_room, is_up, load
from services.reactor.state import Replacing, Running, Tenant

IDLE = 1.0
"""Seconds between two looks while nobody can go."""

AT_ONCE = 3
"""Tenants that may be on their way back at once, however low the rate; while those are stuck, others stay."""


class Failback:
    """Remembers since when each database is up, and when the next tenant may go back to one."""

    def __init__(self, moves: MoveSettings) -> None:
        self._moves = moves
        self._since: Mapping[str, float] = {}
        self.next_at = 0.0
        """When to look next."""

    @property
    def on(self) -> bool:
        """Tell whether anybody ever goes back."""
        return self._moves.failback_rate > 0

    def note(self, known: Databases, at: float) -> None:
        """See which databases are up at this monotonic time, whenever anything changes about one."""
        self._since = {name: self._since.get(name, at) for name in known.databases if is_up(known, name)}

    def take(self, known: Databases, tenants: Iterable[Tenant], at: float) -> MayGoBack | None:
        """Tell who may go back now, once `next_at` has come."""
        chosen = choose(known, self._since, tenants, at) if self.on else None
        every = 1 / self._moves.failback_rate if self.on else IDLE
        self.next_at = at + (every if chosen else max(every, IDLE))
        return chosen


def choose(
    known: Databases, since: Mapping[str, float], tenants: Iterable[Tenant], at: float
) -> MayGoBack | None:
    """Choose who goes next, of those on the fullest database first, and where; None when nobody should."""
    steady = {name for name in since if at - since[name] >= known.moves.failback_after}
    pairs = [
        (source, target)
        for source, target in permutations(since, 2)
        if target in steady and _evens_out(known, source, target) and has_room(known, target)
    ]
    if not pairs:  # as almost always: nobody needs to be looked at
        return None
    free: dict[str, list[Tenant]] = {}
    going = 0
    for tenant in tenants:
        going += tenant.back is not None
        if _is_free(tenant):
            free.setdefault(tenant.database, []).append(tenant)
    if going >= max(AT_ONCE, known.moves.failback_rate):
        return None
    for source, target in sorted(pairs, key=lambda pair: (-_share(known, pair[0]), _share(known, pair[1]))):
        those = [tenant for tenant in free.get(source, ()) if _may_use(tenant, target)]
        if those:
            name = min(those, key=_risk).name
            reason = _words(known, source, target, at - since[target])
            return MayGoBack(tenant=name, source=source, target=target, reason=reason)
    return None


def _evens_out(known: Databases, source: str, target: str) -> bool:
    return _share(known, source, -1) >= _share(known, target, 1)


def _share(known: Databases, name: str, more: int = 0) -> float:
    return (load(known, name).total + more) / known.weights.get(name, 1.0)


def _is_free(tenant: Tenant) -> bool:
    """Tell whether a tenant does nothing but serve, and need not be interrupted to go somewhere else."""
    if tenant.leaving or not tenant.wish.present or not isinstance(tenant.state, Running):
        return False
    target = tenant.state.run.target
    return target.database == tenant.database and not target.alone


def _may_use(tenant: Tenant, database: str) -> bool:
    allowed = tenant.wish.settings.databases
    return not allowed or database in allowed


def _risk(tenant: Tenant) -> tuple[bool, str]:
    return tenant.wish.settings.plan == "paid", tenant.name


def _words(known: Databases, source: str, target: str, up_for: float) -> str:
    there, here = load(known, target).total, load(known, source).total
    tenants = "tenant" if there == 1 else "tenants"
    return f"goes back: {target} is up since {up_for:.0f} s, {there} {tenants} there, {here} here"


# ---------------------------------------------------------------- on the way


def go_on(tenant: Tenant, known: Databases) -> Tenant:
    """Let a tenant go on its way back only while both databases are up, else it has to wait anew."""
    back = tenant.back
    if back is None:
        return tenant
    both_up = is_up(known, back.source) and is_up(known, back.target)
    if both_up and isinstance(tenant.state, Running | Replacing):
        return tenant
    return structs.replace(tenant, back=None)


def arrive(tenant: Tenant) -> Tenant:
    """End the way back of a tenant that is there, or stays after all."""
    if tenant.back is None or isinstance(tenant.state, Replacing):
        return tenant
    return structs.replace(tenant, back=None)
