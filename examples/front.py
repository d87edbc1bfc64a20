"""A private nginx in front of the tenants, for the demo and the tests: deploy/nginx on a port of one's own.

Needs Debian's `nginx-light`, or anything else that brings nginx.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SERVER = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))

DEPLOY = Path(__file__).parents[1] / "deploy" / "nginx"

MAIN = """\
daemon off;
{user}worker_processes 2;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    map $status $failed {{ default ""; "~^5" 1; }}
    log_format failed '$time_iso8601 $status $upstream_status "$host" "$request"';
    access_log {directory}/failed.log failed if=$failed;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/tenantbus.conf;
}}
"""

POLL = 0.02

STOPPING = 10.0
"""Seconds that nginx has to end before it is killed."""


class FrontError(Exception):
    """nginx does not start; the message ends with what it says."""


class Front:
    """One nginx: configuration, pid and logs below `directory`, listening on 127.0.0.1."""

    def __init__(self, directory: Path, http: Path, port: int, user: str = "") -> None:
        self.directory = directory
        self.http = http
        """The directory of the tenants' sockets."""
        self.port = port
        self.user = user or pwd.getpwuid(os.getuid()).pw_name
        """Who the workers are, when we are root."""
        self.process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        """Tell whether this machine has what it takes."""
        return bool(SERVER)

    def configure(self) -> Path:
        """Write the configuration; gives its file."""
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        text = (DEPLOY / "tenantbus.conf").read_text(encoding="utf-8")
        for ours, yours in (
            ("/run/tenantbus/http;", f"{self.http};"),
            ("/usr/share/tenantbus/pages;", f"{DEPLOY / 'pages'};"),
            ("listen 127.0.0.1:8080;", f"listen 127.0.0.1:{self.port};"),
        ):
            before, found, after = text.partition(ours)
            if not found or ours in after:
                raise FrontError(f"{DEPLOY / 'tenantbus.conf'} does not have {ours!r} once")
            text = before + yours + after
        (self.directory / "tenantbus.conf").write_text(text, encoding="utf-8")
        main = self.directory / "nginx.conf"
        user = "" if os.getuid() else f"user {self.user};\n"
        main.write_text(MAIN.format(directory=self.directory, user=user), encoding="utf-8")
        return main

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have it run until the block ends; raises FrontError."""
        try:
            self._start()
            yield
        finally:
            self._stop()

    def revive(self) -> None:
        """Start it again when its master was killed, which leaves workers behind; raises FrontError, once."""
        if self.process and self.process.returncode is None and _has_ended(self.process):
            self._stop()
            self._start()

    def command(self, main: Path, *more: str) -> list[str]:
        log = str(self.directory / "error.log")
        return [SERVER or "nginx", "-p", str(self.directory), "-e", log, "-c", str(main), *more]

    def _start(self) -> None:
        setpriv = shutil.which("setpriv")
        command = [*([setpriv, "--pdeathsig=TERM", "--"] if setpriv else []), *self.command(self.configure())]
        with (self.directory / "output.log").open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C is for us: we stop it in our order
            )
        while not self._listens():
            if self.process.poll() is not None:
                raise FrontError(f"nginx: {self._last_words()}")
            time.sleep(POLL)

    def _listens(self) -> bool:
        """Tell whether it has written its pid, which it does once it listens."""
        with suppress(OSError, ValueError):
            if self.process and int((self.directory / "pid").read_text()) == self.process.pid:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return True
        return False

    def _last_words(self) -> str:
        said = (self.directory / "output.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line for line in said if "[emerg]" in line), "\n".join(said[-3:]))

    def _stop(self) -> None:
        """End the master, which ends its workers, and whatever is left of them.

        It is reaped last: until then no other process group can have its number.
        """
        process = self.process
        if process is None or process.returncode is not None:
            return
        os.kill(process.pid, signal.SIGTERM)
        end = time.monotonic() + STOPPING
        while not _has_ended(process) and time.monotonic() < end:
            time.sleep(POLL)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether a process that nobody has reaped is over, and do not reap it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
