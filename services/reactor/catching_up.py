"""Whether a database has what another one had: a tenant that moves there should find what it wrote."""

from collections.abc import Mapping
from typing import NamedTuple

from bus.events import CaughtUp
from services.reactor.placing import LOST, Databases
from services.reactor.state import CatchingUp, Tenant

ANSWERS: Mapping[bool | None, CaughtUp] = {True: "yes", False: "no", None: "unknown"}


class Report(NamedTuple):
    """What is known when a tenant moves, and how long it has waited to know it."""

    caught_up: CaughtUp = ""
    waited: float = 0.0


def hold_back(tenant: Tenant, target: str, known: Databases, at: float) -> CatchingUp | Report:
    """Tell whether a tenant that comes from one database may use another one now; if not yet, until when.

    A database that is alive is left without waiting: nobody can tell what is still written to it meanwhile.
    """
    source, state = tenant.database, tenant.state
    if source in {"", target}:
        return Report()
    verdict = known.databases.get(source)
    if verdict is None or verdict.status not in LOST:
        return Report("unknown")
    sync = known.syncs.get((source, target))
    if sync and sync.seq < verdict.lost_at:  # said of an earlier outage
        sync = None
    since = state.since if isinstance(state, CatchingUp) and state.source == source else at
    until = since + known.moves.catch_up
    if (sync is None or sync.caught_up is False) and at < until:
        return CatchingUp(source=source, since=since, until=until)
    return Report(ANSWERS[sync.caught_up if sync else None], at - since)
