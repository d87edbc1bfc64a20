"""How databases are."""

from typing import ClassVar, Literal, TypeAlias

from bus import words
from bus.events.base import Event


class DbEvent(Event, frozen=True, kw_only=True):
    family: ClassVar[str] = "DB"
    speaker: ClassVar[str] = "dbwatch"
    subject_field: ClassVar[str] = "database"

    database: words.DatabaseName
    reason: words.Reason
    """What answered, or why it is not up."""
    latency: float = 0.0
    """Seconds that the check took."""
    since: float = 0.0
    """Wall clock, seconds since the epoch: when this state began; 0 when it did with this event."""


class DbAnswers(DbEvent, frozen=True, kw_only=True):
    """What a check read from a database that answers. Said again when `headroom` has changed much."""

    headroom: int | None = None
    """Connections that it can take besides those that are open; None when that is not known."""
    connections: int | None = None
    """Open connections; None when that is not known."""
    replication: str = ""
    """How it follows others, in words; "" when it follows nobody, or may not be asked."""
    lag: float | None = None
    """Seconds that it is behind; None when it follows nobody, or when nobody knows."""
    galera: str = ""
    """Its place in a Galera cluster, in words; "" when it is in none."""


class DbUp(DbAnswers, frozen=True, kw_only=True):
    """A database answers, and everything about it is as it should be."""


Ailment: TypeAlias = Literal[
    "read-only",
    "disk-full",
    "locked",
    "not-writable",
    "replication-broken",
    "lagging",
    "donor",
    "nearly-full",
    "slow",
]
"""What may be wrong with a database that answers."""


class DbDegraded(DbAnswers, frozen=True, kw_only=True):
    """A database answers, but not as it should."""

    kinds: tuple[Ailment, ...]
    """All that is wrong, the worst first; `reason` tells it in words."""
    writable: bool
    """False when nothing can be written to it."""


class DbDown(DbEvent, frozen=True, kw_only=True):
    """A database does not answer, or answers with an error of its own."""


class DbMisconfigured(DbEvent, frozen=True, kw_only=True):
    """The database refuses our settings (user, password, schema): a settings error, not an outage."""

    key: words.Key


class DbCaughtUp(Event, frozen=True, kw_only=True):
    """Whether a database has all that was last seen of one that went down; said again once it has."""

    family: ClassVar[str] = "SYNC"
    speaker: ClassVar[str] = "dbwatch"
    subject_field: ClassVar[str] = "source"

    source: words.DatabaseName
    """The database that went down."""
    target: words.DatabaseName
    """The one that may have everything."""
    caught_up: bool | None
    """None when it cannot be known: no GTIDs, not related, or nothing was seen of the source."""
    reason: words.Reason
    wanted: str = ""
    """Position of the source that was seen last: GTIDs, or the cluster's id and the last one committed."""
    reached: str = ""
    """Position of the target."""


OfDatabases: TypeAlias = DbUp | DbDegraded | DbDown | DbMisconfigured | DbCaughtUp
