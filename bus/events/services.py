"""What becomes of our own processes, and of the journal."""

from typing import ClassVar, TypeAlias

from bus import words
from bus.events.base import Event


class ServiceEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "SERVICE"
    speaker: ClassVar[str] = "every service"
    subject_field: ClassVar[str] = "service"

    service: words.ServiceName
    pid: words.Pid


class ServiceUp(ServiceEvent, frozen=True, kw_only=True):
    """A service is ready."""

    version: str
    """Of tenantbus."""


class ServiceDown(ServiceEvent, frozen=True, kw_only=True):
    """A service ended: said by itself on a clean stop, by `bus up` after a crash."""

    reason: words.Reason


class JournalEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "JOURNAL"
    speaker: ClassVar[str] = "broker"
    subject_field: ClassVar[str] = "journal"

    journal: words.File
    reason: words.Reason


class JournalReset(JournalEvent, frozen=True, kw_only=True):
    """The journal could not be read; it was put aside and a new one begun. Services say everything again."""


class JournalDegraded(JournalEvent, frozen=True, kw_only=True):
    """The journal cannot be written; events are sent on without it."""


class JournalRestored(JournalEvent, frozen=True, kw_only=True):
    """The journal can be written again."""


OfServices: TypeAlias = ServiceUp | ServiceDown | JournalReset | JournalDegraded | JournalRestored
