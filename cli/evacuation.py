"""Tells from events who still uses a database that is to be left by all: pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from bus.events import (
    DbDrainRequested,
    Envelope,
    ProcBackoff,
    ProcEvent,
    ProcExited,
    ProcFatal,
    ProcReady,
    ProcReplaceFailed,
    ProcStarted,
    ProcStopped,
    ProcWaiting,
)
from bus.model import TenantSettings
from cli.describe import outcome
from cli.view import ALIVE, DatabaseRow, TenantRow

NOWHERE = "may use no other database"
NOT_YET = "no other database takes it yet, see `bus db`"


class Departure(NamedTuple):
    """What became of a tenant that used the database."""

    tenant: str
    state: str
    """MOVED, or ENDED when it does not run any more, or STAYS."""
    database: str
    """The one that it uses now."""
    reason: str = ""


class Evacuation:
    """Follows all tenants that use a database, until none of their processes does."""

    def __init__(self, database: str, rows: Iterable[TenantRow]) -> None:
        self.left: dict[str, set[int]] = {
            row.tenant: {row.pid or 0} for row in rows if row.database == database and row.state in ALIVE
        }
        """Who uses it, and by which processes."""
        self._database = database
        self._serves: dict[str, str] = {}
        self._why: dict[str, str] = {}

    def hear(self, envelope: Envelope) -> Departure | None:
        """Take in what was said after the request; gives who has left with that."""
        event = envelope.event
        if not isinstance(event, ProcEvent):
            return None
        used = event.tenant in self.left
        pids = self.left.setdefault(event.tenant, set())
        self._follow(event, pids)
        if pids:
            return None
        del self.left[event.tenant]
        if not used:
            return None
        now = self._serves.get(event.tenant, "")
        return Departure(event.tenant, "MOVED" if now else "ENDED", now, self._why.get(event.tenant, ""))

    def _follow(self, event: ProcEvent, pids: set[int]) -> None:
        match event:
            case ProcStarted() | ProcReady():
                (pids.add if event.database == self._database else pids.discard)(event.pid)
                if isinstance(event, ProcReady):
                    self._serves[event.tenant] = event.database
                    self._why.pop(event.tenant, None)
            case ProcExited():
                pids.discard(event.pid)
            case ProcStopped() | ProcWaiting():
                pids.clear()
            case _:
                pass
        if isinstance(event, ProcBackoff | ProcFatal | ProcReplaceFailed | ProcWaiting):
            self._why[event.tenant] = outcome(event)

    def stays(self, tenant: str, why: str = "") -> Departure:
        """Tell that a tenant has not left, and why as far as that is known."""
        return Departure(tenant, "STAYS", self._database, why or self._why.get(tenant, NOT_YET))


def cannot_leave(
    database: str, settings: Mapping[str, TenantSettings], known: Collection[str], drained: Collection[str]
) -> set[str]:
    """Tell which tenants may use no database but this one, or others that are to be left as well."""
    others = set(known) - {database} - set(drained)
    return {name for name, each in settings.items() if others.isdisjoint(each.databases or known)}


def drained(events: Iterable[Envelope]) -> dict[str, str]:
    """Fold the newest DB_DRAIN_REQUESTED and DB_UNDRAIN_REQUESTED into: which databases, and for whom."""
    asked = [each.event for each in events if isinstance(each.event, DbDrainRequested)]
    return {event.database: event.by for event in asked}


def mark(rows: Iterable[DatabaseRow], by: Mapping[str, str]) -> list[DatabaseRow]:
    """Say which databases are to be left."""
    return [
        row._replace(reason=f"draining, asked by {by[row.database]}; {row.reason}")
        if row.database in by
        else row
        for row in rows
    ]
