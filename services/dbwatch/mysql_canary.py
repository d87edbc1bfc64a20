"""Writes the canary of a MySQL or MariaDB database."""

import time
from collections.abc import Sequence

from bus.events import Ailment
from services.dbwatch.canary import KEY_MAX, TABLE, Canary
from services.dbwatch.mysql_session import RefusedError, Session
from services.dbwatch.reading import Failure, tidy

CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} ("
    f"watcher VARCHAR({KEY_MAX}) CHARACTER SET ascii NOT NULL PRIMARY KEY, beat BIGINT UNSIGNED NOT NULL"
    ") ENGINE=InnoDB COMMENT 'tenantbus writes here to see whether it can'"
)
WRITE = f"INSERT INTO {TABLE} (watcher, beat) VALUES (%s, %s) ON DUPLICATE KEY UPDATE beat = VALUES(beat)"  # noqa: S608
NO_SPACE = "Waiting for someone to free space"
"""What MariaDB says of a write when the disk below its binary log is full; it tries again once a minute."""

NO_SUCH_TABLE = 1146
DEADLOCK = 1213
TRIES = 3
"""How often a write that lost against another one is sent: the nodes of a Galera cluster may all make the
table at the same time, and each that does ends what the others write there."""

MAY_NOT = {1142, 1143, 1044}
"""A command on a table, on a column, or in a schema that is denied."""
NOT_OURS = {
    1054,  # ER_BAD_FIELD_ERROR
    1264,  # ER_WARN_DATA_OUT_OF_RANGE
    1286,  # ER_UNKNOWN_STORAGE_ENGINE
    1288,  # ER_NON_UPDATABLE_TABLE
    1364,  # ER_NO_DEFAULT_FOR_FIELD
    1366,  # ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
    1406,  # ER_DATA_TOO_LONG
    1471,  # ER_NON_INSERTABLE_TABLE
    3819,  # ER_CHECK_CONSTRAINT_VIOLATED
    4025,  # ER_CONSTRAINT_FAILED
}
"""The table is another than the one that we make, or a view: tenants can write all the same."""

KINDS: dict[int, Ailment] = {
    1036: "read-only",  # ER_OPEN_AS_READONLY
    1290: "read-only",  # ER_OPTION_PREVENTS_STATEMENT
    1792: "read-only",  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    1874: "read-only",  # ER_INNODB_READ_ONLY
    3: "disk-full",  # EE_WRITE
    1021: "disk-full",  # ER_DISK_FULL
    1026: "disk-full",  # ER_ERROR_ON_WRITE
    1114: "disk-full",  # ER_RECORD_FILE_FULL
    1205: "locked",  # ER_LOCK_WAIT_TIMEOUT
    DEADLOCK: "locked",  # ER_LOCK_DEADLOCK: in a Galera cluster, another node was faster
    1223: "locked",  # ER_CANT_UPDATE_WITH_READLOCK
    1969: "locked",  # ER_STATEMENT_TIMEOUT
}
"""What it means when a write is refused with this number."""


def write(session: Session, canary: Canary, within: float) -> tuple[Failure | None, str]:
    """Write, and make the table when it is not there; gives what failed, and why we may not.

    A MariaDB ends what takes longer than `within` seconds by itself.
    """
    waiting = _waiting(session, canary)
    if waiting:
        return waiting, ""
    canary.begin()
    failure, unwritten = _write(session, canary.watcher, within)
    canary.end(failure, unwritten)
    return failure, unwritten


def _waiting(session: Session, canary: Canary) -> Failure | None:
    """Look whether an earlier write still waits: another one would only wait behind it, and so on."""
    if canary.waiting is None:
        return None
    # no table of information_schema: that needs room on a disk that may be full
    for row in session.rows("SHOW FULL PROCESSLIST"):
        if TABLE in str(row["Info"]) and canary.watcher in str(row["Info"]):
            return _hanging(str(row["State"]), canary.waiting)
    return None


def _hanging(state: str, seconds: float) -> Failure:
    kind: Ailment = "disk-full" if state == NO_SPACE else "locked"
    return Failure(kind=kind, reason=tidy(f"a write has been waiting for {seconds:.0f} s: {state}"))


def _write(session: Session, watcher: str, within: float) -> tuple[Failure | None, str]:
    limit = f"SET STATEMENT max_statement_time={within:.3f} FOR " if "MariaDB" in session.version else ""
    values = watcher, int(time.time() * 1000)
    try:
        try:
            _persist(session, limit + WRITE, values)
        except RefusedError as error:
            if error.number != NO_SUCH_TABLE:
                raise
            _persist(session, limit + CREATE)
            _persist(session, limit + WRITE, values)
    except RefusedError as error:
        if error.number in MAY_NOT | NOT_OURS:
            return None, tidy(f"not written to: {error}")
        reason = tidy(f"a write failed: {error}")
        return Failure(kind=KINDS.get(error.number, "not-writable"), reason=reason), ""
    return None, ""


def _persist(session: Session, statement: str, values: Sequence[object] = ()) -> None:
    """Run a statement, again when it lost against another one: that says nothing of the next."""
    for _ in range(TRIES - 1):
        try:
            session.rows(statement, values)
        except RefusedError as error:
            if error.number != DEADLOCK:
                raise
        else:
            return
    session.rows(statement, values)
