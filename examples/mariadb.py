"""A private MariaDB instance in its own directory, for the demo and the tests; two of them can synchronize.

Needs Debian's `mariadb-server`, or anything else that brings mariadbd and mariadb-install-db.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

SERVER = "mariadbd"
INSTALLER = "mariadb-install-db"
SYSTEM_USER = "mysql"

SMALL = (
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--innodb-log-buffer-size=2M",
    "--innodb-use-native-aio=OFF",  # what containers often forbid
    "--aria-pagecache-buffer-size=1M",
    "--key-buffer-size=64K",
    "--query-cache-size=0",
)
"""Settings with which two instances fit on a laptop."""

POLL = 0.05


class InstanceError(Exception):
    """A private instance cannot be made or started; the message ends with what its log says."""


class MariaDb:
    """One mariadbd: data, unix socket and log below `directory`, and a port on 127.0.0.1.

    It ends with the thread that started it. `through` is a command that runs the server, in another network
    namespace for example. Administration goes through the socket, as the account
    of whoever runs this, without a password. `number` (1, 2, ...) tells synchronized instances apart.
    """

    def __init__(
        self,
        directory: Path,
        port: int,
        number: int = 1,
        options: Iterable[str] = (),
        through: Iterable[str] = (),
    ) -> None:
        self.directory = directory
        self.port = port
        self.number = number
        self.options = tuple(options)
        self.through = tuple(through)
        self.data = directory / "data"
        self.socket = directory / "sock"
        self.log = directory / "log"
        self.temporary = directory / "tmp"
        """Of its own: a server that starts clears its directory of other servers' temporary tables."""
        self.process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        """Tell whether this machine has what it takes."""
        return bool(shutil.which(SERVER) and shutil.which(INSTALLER))

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def create(self) -> None:
        """Make the data directory, about a second; harmless when there is one. Raises InstanceError."""
        if (self.data / "mysql").is_dir():
            return
        owner = _owner_for(self.directory)
        for directory in (self.directory, self.temporary):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        # made elsewhere and renamed: an interrupted installation is never taken for a finished one
        unfinished = self.directory / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        installer = (
            INSTALLER,
            "--no-defaults",
            f"--datadir={unfinished}",
            f"--tmpdir={self.temporary}",
            f"--user={owner.pw_name}",
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={_me()}",
            "--skip-test-db",
            *SMALL,
        )
        with self.log.open("ab") as log:
            code = subprocess.run(installer, stdout=log, stderr=log, check=False).returncode
        if code:
            raise InstanceError(f"{INSTALLER} ended with {code}: {self._log_tail()}")
        unfinished.rename(self.data)

    def launch(self) -> None:
        """Start the server and do not wait for it."""
        command = (
            *self.through,
            *_as_owner(self.directory),
            shutil.which(SERVER) or SERVER,
            "--no-defaults",
            f"--user={self.directory.owner()}",
            f"--datadir={self.data}",
            f"--tmpdir={self.temporary}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--pid-file={self.directory / 'pid'}",
            *SMALL,
            *self._synchronizable(),
            *self.options,
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us: we stop it in our order
            )

    def wait_ready(self, within: float = 30.0) -> None:
        """Wait until the server answers; raises InstanceError when it ends, or is not ready `within` s."""
        end = time.monotonic() + within
        while True:
            try:
                self.sql("SELECT 1")
            except (OSError, pymysql.err.OperationalError) as error:
                if not self.running:
                    raise InstanceError(f"{SERVER} on port {self.port} ended: {self._log_tail()}") from error
                if time.monotonic() > end:
                    raise InstanceError(f"{SERVER} on port {self.port}: not ready in {within:g} s") from error
                time.sleep(POLL)
            else:
                return

    def start(self) -> None:
        """Make what is missing, start the server, wait until it answers. Raises InstanceError."""
        self.create()
        self.launch()
        self.wait_ready()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP: then it accepts connections and never answers."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self, within: float = 20.0) -> None:
        """Let the server end in order, insist after `within` s; harmless when it does not run."""
        if self.process is None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in one session, as administrator; gives the rows of the last one."""
        with self.session() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    @contextmanager
    def session(self) -> Iterator[pymysql.cursors.Cursor]:
        """Open an administrator's session."""
        with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL leaves its own socket open when this fails
            probe.connect(str(self.socket))
        connection = pymysql.connect(
            unix_socket=str(self.socket),
            user=_me(),
            autocommit=True,
            ssl_disabled=True,
            connect_timeout=5,
            read_timeout=10,
            write_timeout=10,
        )
        with connection, connection.cursor() as cursor:
            yield cursor

    def make_schema(self, schema: str, user: str, password: str) -> None:
        """Make a schema and a user who may do everything in it, on this instance alone; may be repeated.

        The user may also ask how far replication is, so that dbwatch can see it.
        """
        with self.session() as cursor:
            cursor.execute("SET sql_log_bin = 0")
            cursor.execute(
                f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            )
            cursor.execute("CREATE USER IF NOT EXISTS %s@'%%'", (user,))
            cursor.execute("ALTER USER %s@'%%' IDENTIFIED BY %s", (user, password))
            cursor.execute(f"GRANT ALL ON `{schema}`.* TO %s@'%%'", (user,))
            cursor.execute("GRANT SLAVE MONITOR ON *.* TO %s@'%%'", (user,))

    def follow(self, other: "MariaDb") -> None:
        """Replicate everything from `other`, from the beginning or from where we were."""
        password = secrets.token_hex(16)
        with other.session() as cursor:
            cursor.execute("SET sql_log_bin = 0")
            cursor.execute("CREATE OR REPLACE USER replication@'%%' IDENTIFIED BY %s", (password,))
            cursor.execute("GRANT REPLICATION SLAVE ON *.* TO replication@'%'")
        with self.session() as cursor:
            cursor.execute("STOP SLAVE")
            cursor.execute(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = 'replication',"
                " MASTER_PASSWORD = %s, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
                (other.port, password),
            )
            cursor.execute("START SLAVE")

    def _synchronizable(self) -> tuple[str, ...]:
        """Each instance writes a log in a GTID domain of its own and generates keys that no other one does.

        A row that both wrote while they could not see one another is taken over instead of ending the
        replication (slave_exec_mode).
        """
        return (
            f"--server-id={self.number}",
            f"--gtid-domain-id={self.number}",
            "--log-bin=binlog",
            "--binlog-format=ROW",
            "--relay-log=relay",
            "--relay-log-recovery=ON",
            "--slave-exec-mode=IDEMPOTENT",
            "--slave-net-timeout=10",
            "--auto-increment-increment=2",
            f"--auto-increment-offset={self.number}",
        )

    def _log_tail(self) -> str:
        return " / ".join(self.log.read_text(errors="replace").splitlines()[-5:])


def synchronize(one: MariaDb, other: MariaDb) -> None:
    """Make two running instances, numbered 1 and 2, replicate one another; may be repeated."""
    one.follow(other)
    other.follow(one)


def _me() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _owner_for(directory: Path) -> pwd.struct_passwd:
    """Who is to run an instance: the system user when we are root and it can get there, else ourselves."""
    me = pwd.getpwuid(os.geteuid())
    if me.pw_uid:
        return me
    try:
        system_user = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return me
    above = [parent for parent in directory.absolute().parents if parent.exists()]
    return system_user if all(parent.stat().st_mode & stat.S_IXOTH for parent in above) else me


def _as_owner(directory: Path) -> tuple[str, ...]:
    """Change to the directory's owner before the server does: its own change would lose the death signal."""
    setpriv = shutil.which("setpriv")
    if not setpriv:
        return ()
    status = directory.stat()
    identity = (f"--reuid={status.st_uid}", f"--regid={status.st_gid}", "--clear-groups")
    return (setpriv, "--pdeathsig=TERM", *(() if os.geteuid() else identity), "--")
