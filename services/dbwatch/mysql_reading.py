"""Asks a MySQL or MariaDB server about itself. Everybody may ask all but whom it follows."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from services.dbwatch.mysql_session import RefusedError, Session
from services.dbwatch.reading import Galera, Position, Reading, Source, tidy

Values: TypeAlias = Mapping[str, str]

SWITCHES = ("super_read_only", "read_only", "innodb_read_only")
VARIABLES = (
    *SWITCHES,
    "max_connections",
    "server_id",
    "gtid_domain_id",
    "gtid_binlog_pos",
    "gtid_slave_pos",
    "gtid_mode",
    "gtid_executed",
    "wsrep_provider",
)
STATUS = (
    "Threads_connected",
    "wsrep_ready",
    "wsrep_cluster_status",
    "wsrep_cluster_size",
    "wsrep_cluster_state_uuid",
    "wsrep_local_state",
    "wsrep_local_state_comment",
    "wsrep_last_committed",
)

MAY_NOT_ASK = 1227  # ER_SPECIFIC_ACCESS_DENIED_ERROR
NO_SUCH_SYNTAX = 1064  # ER_PARSE_ERROR


def read(session: Session) -> Reading:
    """Ask for everything but the latency. Raises RefusedError and DownError."""
    values = _values(session)
    galera = _galera(values)
    sources = () if galera and not galera.ready else _sources(session)
    connections = values.get("threads_connected")
    return Reading(
        server=tidy(session.version),
        read_only=next((name for name in SWITCHES if values.get(name, "OFF") not in {"OFF", "0"}), ""),
        connections=int(connections) - 1 if connections else None,  # but for ours
        connections_max=int(values["max_connections"]) if "max_connections" in values else None,
        sources=sources,
        galera=galera,
        position=_position(values, galera),
        unwritten=_unwritten(values, sources),
    )


def _values(session: Session) -> Values:
    """Read variables and status; the server leaves out what it does not know."""
    rows = [
        *session.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN %s", [VARIABLES]),
        *session.rows("SHOW GLOBAL STATUS WHERE Variable_name IN %s", [STATUS]),
    ]
    return {str(row["Variable_name"]).lower(): str(row["Value"]) for row in rows}


def _galera(values: Values) -> Galera | None:
    if values.get("wsrep_provider", "none") in {"none", ""}:
        return None
    return Galera(
        ready=values.get("wsrep_ready") == "ON",
        status=values.get("wsrep_cluster_status", ""),
        state=int(values.get("wsrep_local_state", 0)),
        comment=values.get("wsrep_local_state_comment", ""),
        size=int(values.get("wsrep_cluster_size", 0)),
    )


def _position(values: Values, galera: Galera | None) -> Position:
    server = int(values.get("server_id", 0))
    if galera:
        cluster, committed = (
            values.get("wsrep_cluster_state_uuid", ""),
            values.get("wsrep_last_committed", ""),
        )
        return Position(lineage="galera", server=server, cluster=cluster, own=committed)
    if values.get("gtid_mode", "OFF").startswith("ON") and values.get("gtid_executed"):
        return Position(lineage="mysql", server=server, own=values["gtid_executed"])
    own, received = values.get("gtid_binlog_pos", ""), values.get("gtid_slave_pos", "")
    return Position(lineage="mariadb" if own or received else "", server=server, own=own, received=received)


def _unwritten(values: Values, sources: tuple[Source, ...] | None) -> str:
    """Say why a write of ours could do harm: it would count on where another server counts."""
    if sources is not None and not sources:
        return ""
    domain, server = values.get("gtid_domain_id"), values.get("server_id")
    for gtid in values.get("gtid_slave_pos", "").split(","):
        if gtid.split("-")[:1] == [domain] and gtid.split("-")[1] != server:
            return "not written to: it follows another server in its own GTID domain"
    if "gtid_executed" in values and sources:
        return "not written to: it follows another server"
    return ""


def _sources(session: Session) -> tuple[Source, ...] | None:
    try:
        return tuple(map(source, _followed(session)))
    except RefusedError as error:
        if error.number == MAY_NOT_ASK:
            return None
        raise


def _followed(session: Session) -> list[dict[str, Any]]:
    if "MariaDB" in session.version:
        return session.rows("SHOW ALL SLAVES STATUS")
    try:
        return session.rows("SHOW REPLICA STATUS")
    except RefusedError as error:
        if error.number != NO_SUCH_SYNTAX:
            raise
        return session.rows("SHOW SLAVE STATUS")  # before MySQL 8.0.22


def source(row: Mapping[str, Any]) -> Source:
    """Read one row of the status; MySQL renamed its columns in 8.0.22."""
    known = {name.replace("Slave_", "Replica_").replace("Master", "Source"): row[name] for name in row}
    behind = known.get("Seconds_Behind_Source")
    return Source(
        place=f"{known['Source_Host']}:{known['Source_Port']}",
        server=int(known.get("Source_Server_Id") or 0),
        connected=known["Replica_IO_Running"] == "Yes",
        applying=known["Replica_SQL_Running"] == "Yes",
        lag=None if behind is None else float(behind),
        error=_error(known),
    )


def _error(row: Mapping[str, Any]) -> str:
    """Tell the last error. Of applying only the number: its text quotes what was to be written."""
    if row.get("Last_SQL_Errno"):
        return f"error {row['Last_SQL_Errno']}, the server's log tells more"
    return tidy(row.get("Last_IO_Error") or "")
