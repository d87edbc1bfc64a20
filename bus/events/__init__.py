"""Every event there is: the protocol between the services. Read this first.

Each class is one fact, said by one speaker, about one subject. Its name on the wire is the class name in
capitals (`UserAdded` is USER_ADDED). `family` groups the events of which only the newest per subject tells
the present (see `Bus.latest`). Adding a class to the union at the end of its file is all it takes to add an
event; everything is imported from here.
"""

from typing import TypeAlias, get_args

from msgspec import Struct

from bus import words
from bus.events.base import *
from bus.events.databases import *
from bus.events.disk import *
from bus.events.processes import *
from bus.events.requests import *
from bus.events.services import *

AnyEvent: TypeAlias = OnDisk | OfDatabases | OfProcesses | OfServices | Asked

BY_TYPE: dict[str, type[Event]] = {wire_name(cls.__name__): cls for cls in get_args(AnyEvent)}
"""The closed registry: name on the wire -> class."""


class Envelope(Struct, frozen=True, kw_only=True):
    """One journaled event with what the bus knows about it."""

    seq: int
    """Position in the journal; strictly increasing, without gaps within one journal."""
    id: str
    """The publisher's own name for it, "instance:number": what makes sending twice harmless."""
    time: float
    """Wall clock at the broker, seconds since the epoch; for people, never for decisions."""
    type: words.TypeName
    subject: words.Subject
    node: words.Node
    source: words.Source
    cause: int
    """seq of the event that led to this one; 0 when nothing on the bus did."""
    event: AnyEvent
