"""A session with a MySQL or MariaDB server; the only file of a service that imports pymysql."""

import errno
import socket
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from services.dbwatch.probe import DownError

PORT = 3306

NO_MYSQL = (AssertionError, LookupError, TypeError, ValueError, struct.error)
"""What PyMySQL raises when it is answered with bytes that are not its protocol, besides its own errors."""


class RefusedError(Exception):
    """The server answers with an error, of this number."""

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        super().__init__(f"{text} ({number})")


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


class Session:
    """What can be asked while connected."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.version = str(connection.get_server_info()).removeprefix("5.5.5-")  # type: ignore[no-untyped-call]
        """MariaDB 10 says "5.5.5-10.11.6-MariaDB", for the sake of old replicas."""

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Run a statement. Raises RefusedError when the server does not want to, DownError if it is gone."""
        with _translated(), self._connection.cursor(DictCursor) as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())


class Line:
    """A way to a server; `timeout` bounds each step, in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._cut = False

    @contextmanager
    def session(self, url: str) -> Iterator[Session]:
        """Connect, log in and select the schema. Raises RefusedError and DownError."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        connection = SharedTlsConnection(
            host=host,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")),
            autocommit=True,
            read_timeout=self._timeout,
            write_timeout=self._timeout,
            defer_connect=True,
        )
        with ExitStack() as stack:
            with _translated():
                connection.connect(stack.enter_context(self._connected(host, parts.port or PORT)))
            yield Session(stack.enter_context(connection))

    def cut(self) -> None:
        """End what waits for the server, for good; called from another thread."""
        with self._lock:
            self._cut = True
            if self._handle is not None:
                with suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _connected(self, host: str, port: int) -> Iterator[socket.socket]:
        """Connect to the first of the host's addresses that lets us."""
        failed = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as line, self._in_reach(line):
                try:
                    line.settimeout(self._timeout)
                    line.connect(address)
                except OSError as error:
                    failed = error
                    continue
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield line
                return
        raise failed

    @contextmanager
    def _in_reach(self, line: socket.socket) -> Iterator[None]:
        """Keep a second handle for `cut`: PyMySQL gives the first one away to TLS."""
        with self._lock:
            if self._cut:
                raise ConnectionAbortedError(errno.ECONNABORTED, "left behind")
            self._handle = line.dup()
        try:
            yield
        finally:
            with self._lock:
                self._handle.close()
                self._handle = None


@contextmanager
def _translated() -> Iterator[None]:
    """Tell apart what the server answers and what keeps it from answering."""
    try:
        yield
    except pymysql.err.MySQLError as error:
        raise _meaning(error) from error
    except OSError as error:
        raise DownError(error.strerror or str(error)) from error
    except NO_MYSQL as error:
        raise DownError(f"does not speak MySQL's protocol: {error}") from error


CONNECTION_ERRORS = range(2000, 2059)
"""Numbers that are the client's own; from 2059 on they are about a way to log in that it does not know."""


def _meaning(error: pymysql.err.MySQLError) -> DownError | RefusedError:
    number, text = (*error.args, "", "")[:2]
    cause = getattr(error, "original_exception", None)  # set where PyMySQL wraps what the socket said
    if isinstance(cause, OSError):
        return DownError(cause.strerror or str(cause))
    if isinstance(number, int) and number and number not in CONNECTION_ERRORS:
        return RefusedError(number, str(text))
    return DownError(f"{text} ({number})" if text else str(error))
