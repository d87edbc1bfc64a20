"""What people ask for."""

from typing import ClassVar, TypeAlias

from bus import words
from bus.events.base import Event


class RequestEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "REQUEST"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "tenant"

    tenant: words.TenantName
    by: words.Asker
    reason: words.Reason = ""


class BrakeReleaseRequested(Event, frozen=True, kw_only=True):
    """Somebody wants tenants that do not work ended, however many they are."""

    family: ClassVar[str] = "BRAKE_REQUEST"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "service"

    service: words.ServiceName = "dispatcher"
    by: words.Asker


class StartRequested(RequestEvent, frozen=True, kw_only=True):
    """Somebody wants the tenant started; also releases it from FATAL."""


class StopRequested(RequestEvent, frozen=True, kw_only=True):
    """Somebody wants the tenant stopped, until it is started by hand again."""


class RestartRequested(RequestEvent, frozen=True, kw_only=True):
    """Somebody wants the tenant's process replaced; also releases it from FATAL."""


class DbRecheckRequested(Event, frozen=True, kw_only=True):
    """Somebody wants a database checked anew, by a new watchdog; answered by its state, said again."""

    family: ClassVar[str] = "RECHECK"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "database"

    database: words.DatabaseName
    by: words.Asker


class DrainEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "DRAIN"
    speaker: ClassVar[str] = "the command"
    subject_field: ClassVar[str] = "database"

    database: words.DatabaseName
    by: words.Asker


class DbDrainRequested(DrainEvent, frozen=True, kw_only=True):
    """Somebody wants a database without tenants: those on it move, no others come, until it is undrained."""


class DbUndrainRequested(DrainEvent, frozen=True, kw_only=True):
    """Somebody wants a database to be used again; nobody moves for that but by `failback_rate`."""


Asked: TypeAlias = (
    DbRecheckRequested
    | DbDrainRequested
    | DbUndrainRequested
    | StartRequested
    | StopRequested
    | RestartRequested
    | BrakeReleaseRequested
)
