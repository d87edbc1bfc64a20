"""One connection a thread to MariaDB or SQLite, and transactions on it; the two dialects meet here alone.

SQL is written with `?` for values. A write transaction excludes all others of the same tenant, by a lock on
the tenant's row in `shop` (MariaDB) or on the file (SQLite): it can look first and then act.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import pymysql

from invoicing.errors import UnavailableError

TIMEOUT = 5
"""Seconds that the database may take for one answer, or another transaction for its work."""

CONNECT_TIMEOUT = 2

PATIENCE = 2
"""Seconds that another database has to catch up with what we wrote to the one before."""

SQLITE = "sqlite:///"

Row = tuple[Any, ...]

LOST = (sqlite3.OperationalError, pymysql.err.OperationalError, pymysql.err.InterfaceError, OSError)
TAKEN = (sqlite3.IntegrityError, pymysql.err.IntegrityError)

TABLES = (
    "CREATE TABLE IF NOT EXISTS shop (tenant VARCHAR(63) NOT NULL PRIMARY KEY)",
    """CREATE TABLE IF NOT EXISTS product (
        tenant VARCHAR(63) NOT NULL, id CHAR(12) NOT NULL, name VARCHAR(100) NOT NULL, price BIGINT NOT NULL,
        PRIMARY KEY (tenant, id), UNIQUE (tenant, name))""",
    """CREATE TABLE IF NOT EXISTS invoice (
        tenant VARCHAR(63) NOT NULL, id CHAR(12) NOT NULL, number BIGINT NOT NULL, time BIGINT NOT NULL,
        customer VARCHAR(100) NOT NULL, PRIMARY KEY (tenant, id))""",
    """CREATE TABLE IF NOT EXISTS movement (
        tenant VARCHAR(63) NOT NULL, id CHAR(12) NOT NULL, product CHAR(12) NOT NULL, invoice CHAR(12),
        quantity BIGINT NOT NULL, price BIGINT NOT NULL, time BIGINT NOT NULL, PRIMARY KEY (tenant, id))""",
)
"""Stock is the sum of movements, and keys are random: so rows that two synchronized databases wrote while
they could not see one another come together without a conflict."""

INDEXES = (
    "CREATE INDEX IF NOT EXISTS movement_product ON movement (tenant, product, quantity)",
    "CREATE INDEX IF NOT EXISTS movement_invoice ON movement (tenant, invoice)",
    "CREATE INDEX IF NOT EXISTS invoice_number ON invoice (tenant, number)",
)


class Connection(Protocol):
    """What both dialects offer."""

    def prepare(self, tenant: str) -> None: ...
    def begin(self, tenant: str, *, write: bool) -> None: ...
    def run(self, sql: str, *values: object) -> list[Row]: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def position(self) -> str:
        """Tell where in the log of changes this connection's last commit is; "" when that is not known."""

    def catch_up(self, position: str) -> None:
        """Wait a while for changes that were made elsewhere."""

    def close(self) -> None: ...


class Sqlite:
    def __init__(self, path: str) -> None:
        # only its own thread uses it; another one closes it
        self._connection = sqlite3.connect(
            path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False
        )

    def prepare(self, tenant: str) -> None:
        for statement in TABLES + INDEXES:
            self.run(statement)
        self.run("INSERT OR IGNORE INTO shop VALUES (?)", tenant)

    def begin(self, tenant: str, *, write: bool) -> None:  # noqa: ARG002 (the file is locked as a whole)
        self.run("BEGIN IMMEDIATE" if write else "BEGIN")

    def run(self, sql: str, *values: object) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def commit(self) -> None:
        self.run("COMMIT")

    def rollback(self) -> None:
        self.run("ROLLBACK")

    def position(self) -> str:
        return ""

    def catch_up(self, position: str) -> None:
        """Nothing follows an SQLite file."""

    def close(self) -> None:
        self._connection.close()


class MariaDb:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path.strip("/"),
            charset="utf8mb4",
            collation="utf8mb4_bin",
            autocommit=True,
            # within the machine nobody listens, and a TLS context costs 30 ms of computing each time
            ssl_disabled=parts.hostname in {"127.0.0.1", "::1", "localhost"},
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=TIMEOUT,
            write_timeout=TIMEOUT,
        )

    def prepare(self, tenant: str) -> None:
        self.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self.run(f"SET SESSION innodb_lock_wait_timeout = {TIMEOUT - 1}")
        for table in TABLES:
            self.run(f"{table} ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        for index in INDEXES:
            self.run(index)
        self.run("INSERT IGNORE INTO shop VALUES (?)", tenant)

    def begin(self, tenant: str, *, write: bool) -> None:
        self._connection.begin()
        if write:
            self.run("SELECT tenant FROM shop WHERE tenant = ? FOR UPDATE", tenant)

    def run(self, sql: str, *values: object) -> list[Row]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.replace("?", "%s"), values)
            return list(cursor.fetchall())

    def commit(self) -> None:
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def position(self) -> str:
        return str(self.run("SELECT @@last_gtid")[0][0])

    def catch_up(self, position: str) -> None:
        self.run("SELECT MASTER_GTID_WAIT(?, ?)", position, PATIENCE)

    def close(self) -> None:
        with suppress(pymysql.err.Error):  # it was lost before
            self._connection.close()


class Held:
    """What one thread has: a connection while it works, and the lock that says when it does."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.url = ""
        """Where the connection leads to."""
        self.connection: Connection | None = None

    def drop(self) -> None:
        if self.connection:
            self.connection.close()
            self.connection = None


class Database:
    """Opens connections when they are first needed, one a thread, and anew when they were lost.

    `switch` may be called from any thread at any time: transactions that have begun go on where they are.
    """

    def __init__(self, url: str, tenant: str) -> None:
        self._url = url
        self._tenant = tenant
        self._own = threading.local()
        self._all: list[Held] = []
        self._written: tuple[str, str] = ("", "")
        """Where we wrote last, and the position of that."""

    @property
    def label(self) -> str:
        """Host, port and schema, or the file: what a page may show."""
        if self._url.startswith(SQLITE):
            return self._url.rpartition("/")[2]
        parts = urlsplit(self._url)
        return f"{parts.hostname}:{parts.port or 3306}{parts.path}"

    def switch(self, url: str) -> None:
        """Use another database for all that begins from now on; connections to the old one are closed."""
        self._url = url
        for held in self._all:
            if held.lock.acquire(blocking=False):  # one that works closes its own when it is done
                held.drop()
                held.lock.release()

    @contextmanager
    def transaction(self, *, write: bool) -> Iterator[Connection]:
        """Do all or nothing; raises UnavailableError when the database does not answer."""
        held = self._held()
        with held.lock:
            try:
                connection = self._begin(held, write=write)
                try:
                    yield connection
                    connection.commit()
                    if write:
                        self._written = (held.url, connection.position())
                except BaseException:
                    with suppress(*LOST):
                        connection.rollback()
                    raise
            except LOST as error:
                held.drop()
                raise UnavailableError(
                    "The database does not answer; please try again in a moment."
                ) from error
            finally:
                if held.url != self._url:
                    held.drop()

    def _held(self) -> Held:
        if not hasattr(self._own, "held"):
            self._own.held = Held()
            self._all.append(self._own.held)
        held: Held = self._own.held
        return held

    def _begin(self, held: Held, *, write: bool) -> Connection:
        """Begin on this thread's connection; when that was lost since its last use, on a new one."""
        if held.url != self._url:
            held.drop()
        if held.connection:
            try:
                held.connection.begin(self._tenant, write=write)
            except LOST:
                held.drop()
            else:
                return held.connection
        held.url = self._url
        held.connection = connection = self._open(held.url)
        self._find_what_we_wrote(held.url, connection)
        connection.prepare(self._tenant)
        connection.begin(self._tenant, write=write)
        return connection

    def _find_what_we_wrote(self, url: str, connection: Connection) -> None:
        """Wait, once, until another database has what we wrote last; go on when that takes long."""
        written = self._written
        where, position = written
        if position and where != url:
            connection.catch_up(position)
            if self._written is written:
                self._written = ("", "")

    @staticmethod
    def _open(url: str) -> Connection:
        return Sqlite(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else MariaDb(url)

    def close(self) -> None:
        """Close the connections of all threads, which must be idle."""
        for held in self._all:
            held.drop()
