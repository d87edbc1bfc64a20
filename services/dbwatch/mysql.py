"""Checks a MySQL or MariaDB database.

Each check is a connection of its own, since that is what a tenant needs: a connection that was kept goes on
working when new ones are refused (too many of them, user revoked, password changed).
"""

import time
from collections.abc import Callable

from msgspec import structs

from services.dbwatch.canary import Canary
from services.dbwatch.mysql_canary import write
from services.dbwatch.mysql_reading import read
from services.dbwatch.mysql_session import Line, RefusedError, Session
from services.dbwatch.probe import DownError, MisconfiguredError, Progress
from services.dbwatch.reading import Reading

PASSWORD_ERRORS = {
    1045,  # ER_ACCESS_DENIED_ERROR
    1133,  # ER_PASSWORD_NO_MATCH
    1698,  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1820,  # ER_MUST_CHANGE_PASSWORD
    1862,  # ER_MUST_CHANGE_PASSWORD_LOGIN
    2059,  # CR_AUTH_PLUGIN_CANNOT_LOAD
}
URL_ERRORS = {
    1044,  # ER_DBACCESS_DENIED_ERROR
    1049,  # ER_BAD_DB_ERROR
    1130,  # ER_HOST_NOT_PRIVILEGED
    4151,  # ER_ACCOUNT_HAS_BEEN_LOCKED
}
"""Numbers of the errors with which a server that works refuses what it was asked
(https://mariadb.com/kb/en/mariadb-error-codes/)."""


class MySql:
    """`url` gives the URL with the password, and is asked at each check, so that a corrected file counts.

    `password_key` names the setting that holds the password; a check that is left behind ends within
    `timeout` seconds for each step; `canary` is None when nothing is to be written.
    """

    def __init__(
        self, url: Callable[[], str], password_key: str, timeout: float, canary: Canary | None
    ) -> None:
        self._url = url
        self._password_key = password_key
        self._timeout = timeout
        self._canary = canary
        self._line = Line(2 * timeout)

    def check(self, reached: Progress) -> Reading:
        started = time.monotonic()
        try:
            with self._line.session(self._url()) as session:
                reading = structs.replace(read(session), latency=time.monotonic() - started)
                reading = self._write(session, reading, reached)
        except RefusedError as error:
            raise self._judged(error) from error
        if reading.failure:
            return reading  # how long a write waited in vain tells nothing about how fast it answers
        return structs.replace(reading, latency=time.monotonic() - started)

    def cut(self) -> None:
        self._line.cut()

    def _write(self, session: Session, reading: Reading, reached: Progress) -> Reading:
        canary = self._canary
        refuses = reading.galera is not None and not reading.galera.ready
        if canary is None or reading.read_only or reading.unwritten or refuses:
            return reading
        if not canary.due:
            return structs.replace(reading, unwritten=canary.unwritten)
        reached(reading)
        failure, unwritten = write(session, canary, self._timeout / 2)
        return structs.replace(reading, failure=failure, unwritten=unwritten)

    def _judged(self, error: RefusedError) -> DownError | MisconfiguredError:
        if error.number in PASSWORD_ERRORS:
            return MisconfiguredError(self._password_key, str(error))
        if error.number in URL_ERRORS:
            return MisconfiguredError("url", str(error))
        return DownError(str(error))
