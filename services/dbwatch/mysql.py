"""Checks a MySQL or MariaDB database; the only file of a service that imports pymysql.

Each check is a connection of its own, since that is what a tenant needs: a connection that was kept goes on
working when new ones are refused (too many of them, user revoked, password changed).
"""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CR, ER

from services.dbwatch.probe import DownError, MisconfiguredError

PORT = 3306

PASSWORD_ERRORS = {
    ER.ACCESS_DENIED_ERROR,
    ER.PASSWORD_NO_MATCH,
    1698,  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1820,  # ER_MUST_CHANGE_PASSWORD
    1862,  # ER_MUST_CHANGE_PASSWORD_LOGIN
    CR.CR_AUTH_PLUGIN_CANNOT_LOAD,
}
URL_ERRORS = {
    ER.DBACCESS_DENIED_ERROR,
    ER.BAD_DB_ERROR,
    ER.HOST_NOT_PRIVILEGED,
    4151,  # ER_ACCOUNT_HAS_BEEN_LOCKED
}
"""Numbers of the errors with which a server that works refuses what it was asked
(https://mariadb.com/kb/en/mariadb-error-codes/, PyMySQL's constants name the older ones)."""

NO_MYSQL = (AssertionError, LookupError, TypeError, ValueError, struct.error)
"""What PyMySQL raises when it is answered with bytes that are not its protocol, besides its own errors."""


def _tls() -> ssl.SSLContext:
    """Encrypt when the server offers it and believe any certificate, as clients do by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


TLS = _tls()


class SharedTlsConnection(Connection):
    """Spares the TLS context that PyMySQL makes for each connection: 20 ms of CPU, 100 times the rest."""

    def _create_ssl_ctx(self, sslp: Mapping[str, object]) -> ssl.SSLContext:  # noqa: ARG002 - empty: no TLS settings
        return TLS


class MySql:
    """`url` gives the URL with the password, and is asked at each check, so that a corrected file counts.

    `password_key` names the setting that holds the password; `timeout` bounds each step, in seconds.
    """

    def __init__(self, url: Callable[[], str], password_key: str, timeout: float) -> None:
        self._url = url
        self._password_key = password_key
        self._timeout = timeout
        self._lock = threading.Lock()
        self._line: socket.socket | None = None

    def check(self) -> str:
        parts = urlsplit(self._url())
        host = parts.hostname or ""
        connection = SharedTlsConnection(
            host=host,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")),
            autocommit=None,
            read_timeout=self._timeout,
            write_timeout=self._timeout,
            defer_connect=True,
        )
        try:
            with self._connected(host, parts.port or PORT) as line:
                connection.connect(line)
                with connection, connection.cursor() as cursor:
                    cursor.execute("SELECT VERSION()")
                    row = cursor.fetchone()
        except pymysql.err.MySQLError as error:
            raise self._judged(error) from error
        except OSError as error:
            raise DownError(error.strerror or str(error)) from error
        except NO_MYSQL as error:
            raise DownError(f"does not speak MySQL's protocol: {error}") from error
        return str(row[0]) if row else ""

    def cut(self) -> None:
        with self._lock:
            if self._line is not None:
                with suppress(OSError):
                    self._line.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _connected(self, host: str, port: int) -> Iterator[socket.socket]:
        """Connect, and keep a second handle on the connection (PyMySQL gives the first one away to TLS)."""
        with socket.create_connection((host, port), self._timeout) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._line = line.dup()
            try:
                yield line
            finally:
                with self._lock:
                    self._line.close()
                    self._line = None

    def _judged(self, error: pymysql.err.MySQLError) -> DownError | MisconfiguredError:
        number, text = (*error.args, "", "")[:2]
        cause = getattr(error, "original_exception", None)  # set where PyMySQL wraps what the socket said
        if isinstance(cause, OSError):
            return DownError(cause.strerror or str(cause))
        reason = f"{text} ({number})" if text else str(error)
        if number in PASSWORD_ERRORS:
            return MisconfiguredError(self._password_key, reason)
        if number in URL_ERRORS:
            return MisconfiguredError("url", reason)
        return DownError(reason)
