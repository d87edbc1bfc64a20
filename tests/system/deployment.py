"""A whole tenantbus in a directory of its own, as a person would set it up: `bus init`, `bus up`."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from services.score import Slot
from tests.harness import DEADLINE, Program, eventually, free_port, short_directory

BUS = [str(Path(sys.executable).parent / "bus")]


class Deployment:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "tenantbus.toml"
        self.up: Program | None = None

    @classmethod
    @contextmanager
    def made(cls) -> Iterator[Self]:
        """Make one by `bus init`, on free ports; stop what was started in it."""
        with short_directory() as parent:
            directory = parent / "d"
            subprocess.run([*BUS, "init", str(directory)], check=True, capture_output=True, timeout=DEADLINE)
            deployment = cls(directory)
            deployment._move_ports()
            try:
                yield deployment
            finally:
                deployment.stop()

    def _move_ports(self) -> None:
        first = free_port()
        lines = [
            f"port_range = [{first}, {min(first + 400, 65535)}]" if line.startswith("port_range") else line
            for line in self.config.read_text().splitlines()
        ]
        self.config.write_text("\n".join(lines) + "\n")

    # ------------------------------------------------------------ what a person does

    def start(self) -> None:
        self.up = Program(*BUS, "up", cwd=self.directory, log=self.directory / "up.log")
        eventually(lambda: self.states() and set(self.states().values()) == {"RUNNING"})

    def stop(self) -> None:
        if self.up and self.up.process.poll() is None:
            self.up.signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.up.process.wait(DEADLINE)
            self.up.kill()
        for pid in self.leftovers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def leftovers(self) -> list[int]:
        """Processes that still work in or for this directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    cwd = (entry / "cwd").readlink()
                    words = (entry / "cmdline").read_bytes()
                    if cwd.is_relative_to(self.directory) or str(self.directory).encode() in words:
                        found.append(int(entry.name))
        return found

    def fork_servers(self) -> list[int]:
        """Processes that tenants are forked from: those that work in a release's directory."""
        return self._working_in(self.directory / "packages")

    def processes(self, tenant: str) -> list[int]:
        """All that works for a tenant."""
        return self._working_in(self.directory / "tenants" / tenant)

    def _working_in(self, directory: Path) -> list[int]:
        found = []
        for pid in self.leftovers():
            with suppress(OSError):
                if Path(f"/proc/{pid}/cwd").readlink().is_relative_to(directory):
                    found.append(pid)
        return found

    def score(self, tenant: str, slot: Slot) -> int:
        """Read a number from the tenant's score page."""
        page = (self.directory / "var" / "run" / "score" / tenant).read_bytes()
        return memoryview(page).cast("Q")[slot]

    def bus(self, *arguments: str, code: int | None = 0) -> str:
        done = subprocess.run(
            [*BUS, *arguments], cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert code is None or done.returncode == code, (arguments, done)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def add(self, *names: str, text: str = 'package = "hello"\n') -> None:
        for name in names:
            directory = self.directory / "tenants" / name
            directory.mkdir()
            (directory / "tenant.toml").write_text(text)

    # ------------------------------------------------------------ what a person sees

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.bus(*arguments, "--json", code=None) or "[]")
        return rows

    def ps(self) -> dict[str, dict[str, Any]]:
        return {row["tenant"]: row for row in self.rows("ps")}

    def services(self) -> dict[str, dict[str, Any]]:
        return {row["service"]: row for row in self.rows("services")}

    def states(self) -> dict[str, str]:
        return {name: row["state"] for name, row in self.services().items()}

    def pids(self) -> dict[str, int]:
        """The process behind each running tenant."""
        return {name: row["pid"] for name, row in self.ps().items() if row["state"] == "RUNNING"}

    def ready(self, *names: str, within: float = DEADLINE) -> dict[str, int]:
        """Wait until these tenants, and no others, run and answer; gives their pids."""

        def all_serve() -> dict[str, int] | None:
            pids = self.pids()
            answers = all(self.get(name) == 200 for name in names)
            return pids if set(pids) == set(names) and answers else None

        found = eventually(all_serve, within=within, every=0.1)
        assert found
        return found

    def get(self, tenant: str, path: str = "/healthz") -> int:
        """Ask a tenant over its unix socket with a new connection; gives the status."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
            plain.settimeout(DEADLINE)
            plain.connect(str(self.directory / "var" / "run" / "http" / f"{tenant}.sock"))
            connection = http.client.HTTPConnection("localhost")
            connection.sock = plain
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().status
