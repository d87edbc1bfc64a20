"""What one check reads from a database that answers; values only."""

from typing import Literal, TypeAlias

from msgspec import Struct

from bus.events import Ailment

Lineage: TypeAlias = Literal["", "mariadb", "mysql", "galera"]
"""By what rules positions are compared; "" when there is nothing to compare."""


WORDS_MAX = 300
"""Characters that are kept of what a server says."""


def tidy(text: str) -> str:
    """Make one short line of what some server has said: it goes to journals and terminals."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:WORDS_MAX])


class Source(Struct, frozen=True, kw_only=True):
    """A server that the database follows."""

    place: str
    """Host and port."""
    server: int = 0
    """Its server_id; 0 when it was never reached."""
    connected: bool
    """False while its log cannot be read."""
    applying: bool
    """False while what was read is not applied."""
    lag: float | None
    """Seconds that we are behind, None when nobody knows."""
    error: str = ""
    """The last one, of either thread; never what was written, which is the customers'."""


class Galera(Struct, frozen=True, kw_only=True):
    """Where a node stands in its cluster (https://mariadb.com/kb/en/galera-cluster-status-variables/)."""

    ready: bool
    """False when the node refuses queries."""
    status: str
    """Primary, or non-Primary without a majority."""
    state: int
    """1 Joining, 2 Donor/Desynced, 3 Joined, 4 Synced."""
    comment: str
    """The state in the server's words."""
    size: int
    """Nodes that it sees, itself included."""


class Position(Struct, frozen=True, kw_only=True):
    """What a database has, as far as that can be compared with another one."""

    lineage: Lineage = ""
    server: int = 0
    """server_id."""
    cluster: str = ""
    """The Galera cluster's id."""
    own: str = ""
    """What is in its own log: gtid_binlog_pos, gtid_executed, wsrep_last_committed."""
    received: str = ""
    """What it applied of others, gtid_slave_pos."""


class Failure(Struct, frozen=True, kw_only=True):
    """Why a write did not succeed."""

    kind: Ailment
    reason: str


class Reading(Struct, frozen=True, kw_only=True):
    """One check of a database that answered."""

    server: str
    """Who answered, in its own words."""
    latency: float = 0.0
    """Seconds from the first to the last word."""
    read_only: str = ""
    """The switch that keeps others from writing; "" when there is none."""
    connections: int | None = None
    connections_max: int | None = None
    sources: tuple[Source, ...] | None = ()
    """None when our user may not ask."""
    galera: Galera | None = None
    position: Position = Position()
    failure: Failure | None = None
    """Of the write, when one was tried."""
    unwritten: str = ""
    """Why no write is ever tried, where that is not by our own settings."""
